// What a person sees in Claude Code itself where the upstream refuses: words, after one request, and
// not a minute of silence.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { anthropicScene, type DeviceScene } from '../support/anthropic.ts'
import { type CommandEnd, endOf } from '../support/binary.ts'
import { claude, isWithoutClaude } from '../support/claude-code.ts'
import { LONG } from '../support/long.ts'

const TIMEOUT_MS = 300_000

describe.skipIf(isWithoutClaude)('Claude Code shows at once', () => {
  let on: DeviceScene
  let token: string
  let home: string
  beforeAll(async () => {
    on = await anthropicScene()
    token = await on.device()
    home = mkdtempSync(join(tmpdir(), 'postern-claude-'))
  })
  afterAll(async () => {
    await on.close()
    rmSync(home, { recursive: true, force: true })
  })
  beforeEach(() => {
    on.upstream.seen.length = 0
  })

  const sayHi = (): Promise<CommandEnd> =>
    endOf(
      Bun.spawn([claude ?? '', '-p', 'say hi'], {
        cwd: home,
        env: {
          HOME: home,
          PATH: `${dirname(claude ?? '')}:${process.env['PATH'] ?? ''}`,
          ANTHROPIC_BASE_URL: on.gate.url,
          ANTHROPIC_API_KEY: token,
          CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
          DISABLE_AUTOUPDATER: '1',
        },
        stdin: 'ignore',
        stdout: 'pipe',
        stderr: 'pipe',
      }),
      TIMEOUT_MS - 5000,
    )
  const error = (type: string, message: string): string =>
    JSON.stringify({ type: 'error', error: { type, message } })

  for (const [what, status, body, words, always] of [
    [
      'a key that is refused',
      401,
      error('authentication_error', 'no'),
      'refused the credentials',
      true,
    ],
    ['a page that blocks us', 403, '<html>blocked</html>', 'refused the credentials', LONG],
    [
      'a model that the key may not use',
      403,
      error('permission_error', 'Your API key does not have permission to use the model m.'),
      'permission to use the model m.',
      true,
    ],
  ] as const) {
    test.if(always)(
      what,
      async () => {
        on.upstream.respond((_request, response) => void response.writeHead(status).end(body))
        const { exitCode, stdout } = await sayHi()
        expect(stdout).toContain(words)
        expect(exitCode).toBe(1)
        const asked = on.upstream.seen.filter(({ method }) => method === 'POST')
        expect(asked).toHaveLength(1)
      },
      TIMEOUT_MS,
    )
  }
})
