// Claude Code with a plain key, and what it shows once that is revoked: offline and with a clean home.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type CommandEnd, endOf, type Running, runToEnd, start } from '../support/binary.ts'
import { claude, isWithoutClaude } from '../support/claude-code.ts'
import { eventually } from '../support/sink.ts'

const TIMEOUT_MS = 300_000

describe.skipIf(isWithoutClaude)('Claude Code', () => {
  let gate: Running
  let home: string
  let database: { readonly DATABASE_URL: string }
  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'postern-claude-'))
    mkdirSync(join(home, 'work'))
    database = { DATABASE_URL: `sqlite:${join(home, 'postern.db')}` }
    gate = await start(database, { args: ['--dev-mode'] })
  })
  afterAll(async () => {
    await gate.stop()
    rmSync(home, { recursive: true, force: true })
  })

  const key = (...args: string[]): Promise<CommandEnd> => runToEnd(['key', ...args], database)
  const run = (credentials: Readonly<Record<string, string>>): Promise<CommandEnd> =>
    endOf(
      Bun.spawn([claude ?? '', '-p', 'say hi'], {
        cwd: join(home, 'work'),
        env: {
          HOME: home,
          PATH: `${dirname(claude ?? '')}:${process.env['PATH'] ?? ''}`,
          ANTHROPIC_BASE_URL: gate.url,
          CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
          DISABLE_AUTOUPDATER: '1',
          ...credentials,
        },
        stdin: 'ignore',
        stdout: 'pipe',
        stderr: 'pipe',
      }),
      TIMEOUT_MS - 5000,
    )

  test(
    "is answered, and learns of the key's revocation",
    async () => {
      const made = (await key('add', 'laptop')).stdout.trim()
      const models = (): Promise<Response> =>
        fetch(`${gate.url}/v1/models`, {
          headers: { 'x-api-key': made, 'anthropic-version': '2023-06-01' },
        })
      await eventually(async () => (await models()).ok)
      // The other name is tried below.
      const done = await run({ ANTHROPIC_AUTH_TOKEN: made })
      expect([done.exitCode, done.stdout]).toEqual([0, expect.stringContaining('say hi')])
      const lines = await gate.relayed('/v1/messages')
      expect(lines.at(-1)).toMatchObject({ status: 200, end: 'complete', usage: 'exact' })
      expect((await key('revoke', 'laptop')).exitCode).toBe(0)
      await eventually(async () => !(await models()).ok)
      const refused = await run({ ANTHROPIC_API_KEY: made })
      expect(refused.exitCode).toBe(1)
      expect(refused.stdout + refused.stderr).toContain('the API key was revoked')
    },
    TIMEOUT_MS,
  )
})
