// `just clients`: the clients that people use, at exact versions, through the compiled binary in
// development mode. They are installed into a folder that goes with the run.

import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type LogLine, type Running, start } from '../support/binary.ts'

const PACKAGES = [
  'ai@6.0.326',
  '@ai-sdk/openai@3.0.141',
  '@ai-sdk/openai-compatible@2.0.92',
  '@ai-sdk/anthropic@3.0.140',
  '@langchain/core@1.4.0',
  '@langchain/openai@1.5.8',
  '@langchain/anthropic@1.5.11',
  'zod@4.6.7',
  '@openai/codex@0.171.0',
]
const CODEX_MS = 120_000

const folder = mkdtempSync(join(tmpdir(), 'postern-clients-'))
const gate = await start({ DEV_MODE: 'true', RATE_LIMIT_RPM: '0', PUBLIC_RATE_LIMIT_RPM: '0' })
try {
  writeFileSync(join(folder, 'package.json'), '{"private":true}')
  await run(['npm', 'install', '--save-exact', '--no-audit', '--no-fund', ...PACKAGES], {})
  const user = /^export TOKEN=(\S+)$/m.exec(gate.output())?.[1] ?? ''
  copyFileSync(join(import.meta.dirname, 'drive.mjs'), join(folder, 'drive.mjs'))
  const driven = await run(['node', 'drive.mjs', gate.url, user, await deviceToken(gate)], {})
  const asked = await codex(user)
  const lacking = unmetered(gate.lines())
  for (const line of lacking) console.log('no  the usage of this request is not exact:', line)
  process.exitCode = driven && asked && lacking.length === 0 ? 0 : 1
} finally {
  await gate.stop()
  rmSync(folder, { recursive: true })
}

async function run(command: readonly string[], env: Readonly<Record<string, string>>) {
  const child = Bun.spawn([...command], {
    cwd: folder,
    env: { ...process.env, ...env },
    stdin: 'ignore',
    stdout: 'inherit',
    stderr: 'inherit',
    timeout: 10 * CODEX_MS,
  })
  return (await child.exited) === 0
}

async function deviceToken({ url }: Running): Promise<string> {
  const answer = await fetch(`${url}/bootstrap`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"device_id":"clients"}',
  })
  return ((await answer.json()) as { wrapper_token: string }).wrapper_token
}

/** The stand-in asks for the prompt to be run as a command, and repeats what that has said. */
async function codex(token: string): Promise<boolean> {
  const home = join(folder, 'codex')
  mkdirSync(home)
  writeFileSync(
    join(home, 'config.toml'),
    `model = "gpt-4o-mini"
model_provider = "postern"

[model_providers.postern]
name = "postern"
base_url = "${gate.url}/v1"
env_key = "POSTERN_KEY"
wire_api = "responses"
`,
  )
  const child = Bun.spawn(
    ['node', 'node_modules/.bin/codex', 'exec', '--skip-git-repo-check', 'echo hel""lo'],
    {
      cwd: folder,
      env: { ...process.env, CODEX_HOME: home, POSTERN_KEY: token },
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
      timeout: CODEX_MS,
    },
  )
  const said = await new Response(child.stdout).text()
  const isGood = (await child.exited) === 0 && said.includes('hello')
  console.log(`${isGood ? 'ok' : 'no'}  Codex: a command is run and its output sent back`)
  if (!isGood) console.log(said, await new Response(child.stderr).text())
  return isGood
}

/** Codex leaves after the last event, and one stream is aborted: neither is complete. */
function unmetered(lines: readonly LogLine[]): readonly LogLine[] {
  return lines.filter(
    ({ status, end, usage, route }) =>
      status === 200 && end === 'complete' && usage !== 'exact' && route !== '/bootstrap',
  )
}
