// Runs before every test file. A fresh clone has no node_modules, and `bun test` alone must do.

import { existsSync } from 'node:fs'

const root = new URL('..', import.meta.url).pathname
if (!existsSync(`${root}node_modules/elysia`)) {
  const { exitCode, stderr } = Bun.spawnSync(
    [process.execPath, 'install', '--frozen-lockfile', '--silent'],
    { cwd: root },
  )
  if (exitCode !== 0) throw new Error(`bun install failed: ${stderr.toString()}`)
}
