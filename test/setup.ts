// Runs before every test file. A fresh clone has no node_modules, and `bun test` alone must do. And
// what gates of tests keep for as long as they run is gone when all tests have.

import { afterAll, setDefaultTimeout } from 'bun:test'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// For what hangs: a busy machine is no failure (support/patience.ts).
setDefaultTimeout(120_000)

const root = new URL('..', import.meta.url).pathname
if (!existsSync(`${root}node_modules/elysia`)) {
  const { exitCode, stderr } = Bun.spawnSync(
    [process.execPath, 'install', '--frozen-lockfile', '--silent'],
    { cwd: root },
  )
  if (exitCode !== 0) throw new Error(`bun install failed: ${stderr.toString()}`)
}

const folder = mkdtempSync(join(tmpdir(), 'postern-test-'))
process.env['POSTERN_TEST_FOLDER'] = folder
afterAll(() => rmSync(folder, { recursive: true, force: true }))
