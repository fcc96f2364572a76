// Runs before every test file. A fresh clone has no node_modules, and `bun test` alone must do. And
// what gates of tests keep for as long as they run is gone when all tests have.

import { plugin } from 'bun'
import { afterAll } from 'bun:test'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// A test that hangs ends, and one on a busy machine does not (support/patience.ts). Each file has to
// set this anew, and Bun has neither a setting nor a flag in bunfig.toml for it.
const PATIENT = "import { setDefaultTimeout as __patience } from 'bun:test'; __patience(120_000); "
plugin({
  name: 'patience',
  setup(build) {
    build.onLoad({ filter: /\/test\/.*\.ts$/ }, ({ path }) => ({
      contents: PATIENT + readFileSync(path, 'utf8'),
      loader: 'ts',
    }))
  },
})

const root = new URL('..', import.meta.url).pathname
if (!existsSync(`${root}node_modules/elysia`)) {
  const { exitCode, stderr } = Bun.spawnSync(
    [process.execPath, 'install', '--frozen-lockfile', '--silent'],
    { cwd: root },
  )
  if (exitCode !== 0) throw new Error(`bun install failed: ${stderr.toString()}`)
}

// Every `tmpdir()` of a test is in a folder of its file's own, so that one that fails leaves nothing in
// /tmp either. The environment outlives the file: the next one in this process begins where this did.
const outside = (process.env['POSTERN_OUTSIDE'] ??= tmpdir())
const folder = mkdtempSync(join(outside, 'postern-test-'))
process.env['TMPDIR'] = folder
afterAll(() => rmSync(folder, { recursive: true, force: true }))
