// Claude Code itself through the compiled binary in development mode, offline and with a clean home.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { anthropicScene, freePort } from '../support/anthropic.ts'
import {
  binary,
  type CommandEnd,
  endOf,
  type LogLine,
  type Running,
  start,
} from '../support/binary.ts'
import { claude, isWithoutClaude } from '../support/claude-code.ts'

const TIMEOUT_MS = 300_000

describe.skipIf(isWithoutClaude)('Claude Code', () => {
  let gate: Running
  let postern: string
  let home: string
  beforeAll(async () => {
    postern = await binary()
    // What Claude Code is given as its base must be known before the gate listens.
    gate = await start(
      { PORT: String(await freePort()), DEVICE_MODELS: 'claude-*', DEVICE_SPEND_CAP: '20' },
      { args: ['--dev-mode'] },
    )
  })
  afterAll(() => gate.stop())
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'postern-claude-'))
    mkdirSync(join(home, 'work'))
  })
  afterEach(() => rmSync(home, { recursive: true, force: true }))

  async function run(
    command: readonly string[],
    on = gate,
    env: Readonly<Record<string, string>> = {},
  ): Promise<CommandEnd> {
    const child = Bun.spawn([...command], {
      cwd: join(home, 'work'),
      env: {
        HOME: home,
        PATH: `${dirname(claude ?? '')}:${process.env['PATH'] ?? ''}`,
        POSTERN_GATE: on.url,
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
        DISABLE_AUTOUPDATER: '1',
        ...env,
      },
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
    })
    return endOf(child, TIMEOUT_MS - 5000)
  }

  const relayed = (since: number): LogLine[] =>
    gate
      .lines()
      .slice(since)
      .filter(({ route }) => route === '/v1/messages')

  test(
    '`postern exec -- claude -p "say hi"` is answered, under a list of models and a cap',
    async () => {
      const since = gate.lines().length
      const done = await run([postern, 'exec', '--', claude ?? '', '-p', 'say hi'])
      expect(done.exitCode).toBe(0)
      expect(done.stdout).toContain('say hi')
      const lines = relayed(since)
      expect(lines.length).toBeGreaterThan(0)
      expect(lines.at(-1)).toMatchObject({ status: 200, end: 'complete', usage: 'exact' })
    },
    TIMEOUT_MS,
  )

  test(
    'exec goes to its own gate, whatever gate, helper, key or cloud the settings name',
    async () => {
      mkdirSync(join(home, '.claude'))
      const settings = {
        env: {
          ANTHROPIC_BASE_URL: 'http://127.0.0.1:1',
          ANTHROPIC_API_KEY: 'sk-another',
          CLAUDE_CODE_USE_BEDROCK: '1',
        },
        apiKeyHelper: 'echo another',
      }
      writeFileSync(join(home, '.claude', 'settings.json'), JSON.stringify(settings))
      const since = gate.lines().length
      const done = await run([postern, 'exec', '--', claude ?? '', '-p', 'say hi'])
      expect(done.exitCode).toBe(0)
      expect(done.stdout).toContain('say hi')
      expect(done.stderr).toContain(`for this run ${gate.url} overrides`)
      expect(relayed(since).at(-1)).toMatchObject({ status: 200, end: 'complete', usage: 'exact' })
    },
    TIMEOUT_MS,
  )

  test(
    '`postern setup claude-code` and then plain `claude`: its apiKeyHelper is `postern token`',
    async () => {
      const setup = await run([postern, 'setup', 'claude-code', '--yes'])
      expect(setup.exitCode).toBe(0)
      const settings = readFileSync(join(home, '.claude', 'settings.json'), 'utf8')
      expect(JSON.parse(settings)).toMatchObject({ apiKeyHelper: expect.stringContaining('token') })
      expect(settings).not.toContain('eyJ')
      const since = gate.lines().length
      const done = await run([claude ?? '', '-p', 'say hi'])
      expect(done.exitCode).toBe(0)
      expect(done.stdout).toContain('say hi')
      expect(relayed(since).at(-1)).toMatchObject({ status: 200, end: 'complete', usage: 'exact' })
    },
    TIMEOUT_MS,
  )

  test(
    'a model that is not allowed is reported as such, not as a failed sign-in',
    async () => {
      const listed = await start(
        { PORT: String(await freePort()), DEVICE_MODELS: 'claude-nothing-*' },
        { args: ['--dev-mode'] },
      )
      try {
        const done = await run([postern, 'exec', '--', claude ?? '', '-p', 'say hi'], listed)
        expect(done.stdout).toContain('issue with the selected model')
        expect(done.stdout).not.toContain('authenticate')
      } finally {
        await listed.stop()
      }
    },
    TIMEOUT_MS,
  )

  test(
    'while a circuit is open it asks once and reports it, instead of retrying in silence',
    async () => {
      const on = await anthropicScene({ env: { ANTHROPIC_BASE_URL: 'http://127.0.0.1:1' } })
      try {
        const token = await on.device()
        const ask = (): Promise<Response> =>
          fetch(`${on.gate.url}/v1/messages`, {
            method: 'POST',
            headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
            body: '{"model":"claude-haiku-4-5","max_tokens":1,"messages":[]}',
          })
        for (let each = 0; each < 5; each += 1) expect((await ask()).status).toBe(502)
        const credentials = { ANTHROPIC_BASE_URL: on.gate.url, ANTHROPIC_AUTH_TOKEN: token }
        const done = await run([claude ?? '', '-p', 'say hi'], on.gate, credentials)
        expect(done.exitCode).toBe(1)
        expect(done.stdout).toContain('API Error: 503 the upstream is failing; try again later')
        const asked = (await on.gate.relayed('/v1/messages')).slice(5)
        expect(asked.map(({ code }) => code)).toEqual(['circuit_open'])
      } finally {
        await on.close()
      }
    },
    TIMEOUT_MS,
  )
})
