// Portkey's gateway from npm, on Node, as its own start script runs it. It authenticates nobody. It
// is installed outside the repository, once, and its scripts are not run.

import { mkdirSync, existsSync, realpathSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, startChild } from './children.ts'
import { firstToken, type Missing, probe, type Subject, whenReady } from './subject.ts'

const NAME = '@portkey-ai/gateway'
const VERSION = '1.15.2'
const INSTALL_TIMEOUT_MS = 120_000

export async function portkey(): Promise<Subject | Missing> {
  const missing = (why: string): Missing => ({ name: 'portkey', why })
  const node = Bun.which('node')
  const npm = Bun.which('npm')
  if (node === null || npm === null) return missing('node and npm are not installed')
  const cache = process.env['BENCH_CACHE'] ?? join(tmpdir(), 'postern-bench-cache')
  const folder = join(cache, `portkey-${VERSION}`)
  const program = join(folder, 'node_modules', NAME, 'build', 'start-server.js')
  if (!existsSync(program)) {
    console.log(`installing ${NAME}@${VERSION} into ${folder}`)
    mkdirSync(folder, { recursive: true })
    await Bun.write(join(folder, 'package.json'), '{"private":true}')
    const quiet = ['--ignore-scripts', '--no-audit', '--no-fund']
    const done = Bun.spawnSync([npm, 'install', ...quiet, `${NAME}@${VERSION}`], {
      cwd: folder,
      timeout: INSTALL_TIMEOUT_MS,
      stdout: 'ignore',
      stderr: 'pipe',
    })
    if (!done.success || !existsSync(program)) return missing('npm could not install it')
  }
  const nodeVersion = Bun.spawnSync([node, '--version']).stdout.toString().trim()
  const headers: Subject['headers'] = ({ upstreamPort }) => ({
    'x-portkey-provider': 'openai',
    'x-portkey-custom-host': `http://127.0.0.1:${upstreamPort}/v1`,
  })
  return {
    name: 'portkey',
    title: `Portkey ${VERSION} on Node ${nodeVersion}, no authentication`,
    // Node itself is part of what has to be there.
    sizeBytes: folderBytes(join(folder, 'node_modules')) + statSync(realpathSync(node)).size,
    headers,
    async start(setting) {
      const port = await freePort()
      const start = () =>
        startChild([node, program, '--headless', `--port=${port}`], {
          cwd: setting.folder,
          env: { NODE_ENV: 'production' },
          logFile: join(setting.folder, 'access.log'),
          errorFile: join(setting.folder, 'stderr'),
        })
      const token = firstToken(setting.credentials.knownFile)
      return whenReady(start, port, { passed: probe(token, headers(setting)) })
    },
  }
}

function folderBytes(folder: string): number {
  const glob = new Bun.Glob('**/*')
  const files = [...glob.scanSync({ cwd: folder, dot: true, followSymlinks: false })]
  return files.reduce((sum, file) => sum + statSync(join(folder, file)).size, 0)
}
