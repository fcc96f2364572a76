// From the operator's `postern enrol` to a program's first request: the client library, `postern
// token` and `postern exec`, against a gate in production mode.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, fileStorage, memoryStorage } from '../../src/client/client.ts'
import { type CommandEnd, start } from '../support/binary.ts'
import {
  anthropicScene,
  asked,
  type DeviceScene,
  freePort,
  messages,
} from '../support/anthropic.ts'

let on: DeviceScene
let home: string
beforeAll(async () => {
  const port = String(await freePort())
  on = await anthropicScene({ env: { PORT: port, PROXY_BASE_URL: `http://127.0.0.1:${port}` } })
})
afterAll(() => on.close())
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'postern-home-'))
  on.upstream.seen.length = 0
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

/** As on the machine of a device: a home of its own, and no setting of the gate's. */
function onDevice(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<CommandEnd> {
  const own = { HOME: home, PATH: process.env['PATH'] ?? '', POSTERN_GATE: on.gate.url }
  const blank = { DATABASE_URL: '', IDENTITY_HASH_KEY: '' }
  return on.command(args, { ...blank, ...own, ...env })
}

describe('the client library', () => {
  test('takes the code, and a program asks with its environment', async () => {
    const client = await connect({
      baseUrl: on.gate.url,
      enrollment: await on.code('--models', 'claude-*'),
      storage: fileStorage(join(home, 'kept')),
      appVersion: '1.2.3',
      background: false,
    })
    expect(client.status.state).toBe('ready')
    const environment = await client.environment()
    if (!environment.ok) throw new Error(environment.problem.message)
    const { ANTHROPIC_BASE_URL: url, ANTHROPIC_AUTH_TOKEN: token } = environment.value
    expect(url).toBe(on.gate.url)
    expect((await messages({ url }, token)).status).toBe(200)
    expect(on.upstream.seen[0]?.body.toString()).toBe(JSON.stringify(asked))

    const renewed = await client.refreshNow()
    expect(renewed.ok && renewed.value !== token).toBe(true)
    expect(renewed.ok && (await messages({ url }, renewed.value)).status).toBe(200)
    client.stop()
    for (const name of readdirSync(join(home, 'kept'))) {
      expect(statSync(join(home, 'kept', name)).mode & 0o077).toBe(0)
    }
  })

  test('tells the app that the code is used up, expired or missing', async () => {
    const code = await on.code()
    const connected = (enrollment: string | undefined) =>
      connect({
        baseUrl: on.gate.url,
        ...(enrollment !== undefined && { enrollment }),
        storage: memoryStorage(),
        background: false,
      })
    expect((await connected(code)).status.state).toBe('ready')
    for (const each of [code, 'postern-code-nothing', undefined]) {
      const { status } = await connected(each)
      expect(status).toMatchObject({
        state: 'unavailable',
        problem: { code: 'enrollment_refused' },
      })
    }
  })

  test('enrols again by itself after a revocation, if it may', async () => {
    const codes = [await on.code(), await on.code()]
    const client = await connect({
      baseUrl: on.gate.url,
      enrollment: () => codes.shift() ?? '',
      storage: memoryStorage(),
      background: false,
    })
    const first = await client.token()
    const deviceId = await client.deviceId()
    if (!first.ok || !deviceId.ok) throw new Error('no token')
    await on.command(['revoke', deviceId.value])
    await Bun.sleep(500)
    expect((await messages(on.gate, first.value)).status).toBe(401)
    const second = await client.refreshNow()
    expect(second.ok && (await messages(on.gate, second.value)).status).toBe(200)
    client.stop()
  })
})

describe('postern token', () => {
  test('enrols with POSTERN_CODE, prints the token alone, and the same one the next time', async () => {
    const env = { POSTERN_CODE: await on.code() }
    const first = await onDevice(['token'], env)
    expect(first).toMatchObject({ exitCode: 0, stderr: '' })
    expect(first.stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/)
    expect((await messages(on.gate, first.stdout.trim())).status).toBe(200)
    expect((await onDevice(['token'], env)).stdout).toBe(first.stdout)
    const newer = await onDevice(['token', '--refresh'])
    expect(newer.exitCode).toBe(0)
    expect(newer.stdout).not.toBe(first.stdout)
    expect((await onDevice(['token'])).stdout).toBe(newer.stdout)
  })

  test('is 77 if the gate does not enrol, 69 without a gate, 64 on a mistake', async () => {
    const code = await on.code()
    const cases: [readonly string[], Record<string, string>, number][] = [
      [['token'], {}, 77],
      [['token'], { POSTERN_CODE: 'wrong' }, 77],
      [['token', '--gate', `http://127.0.0.1:${await freePort()}`], { POSTERN_CODE: code }, 69],
      [['token', '--gate', 'http://gate.example.test'], { POSTERN_CODE: code }, 64],
      [['token', '--nonsense'], {}, 64],
      [['token', 'word'], {}, 64],
    ]
    for (const [args, env, exitCode] of cases) {
      const done = await onDevice(args, env)
      expect([args, done.exitCode, done.stdout]).toEqual([args, exitCode, ''])
      expect(done.stderr).not.toContain(code)
    }
    expect((await onDevice(['token', '--help'])).exitCode).toBe(0)
  })
})

describe('postern exec', () => {
  test('gives a command the token and the address, and takes the code away', async () => {
    const script =
      'test -n "$ANTHROPIC_AUTH_TOKEN" && test -z "$POSTERN_CODE$ANTHROPIC_API_KEY" && echo "$ANTHROPIC_BASE_URL"'
    const env = { POSTERN_CODE: await on.code(), ANTHROPIC_API_KEY: 'sk-ant-own' }
    const done = await onDevice(['exec', '--', 'sh', '-c', script], env)
    expect(done).toEqual({ exitCode: 0, stdout: `${on.gate.url}\n`, stderr: '' })
  })

  test('the command gets its arguments', async () => {
    const script = `curl -sS "$ANTHROPIC_BASE_URL/v1/messages" -H "Authorization: Bearer $ANTHROPIC_AUTH_TOKEN" -d '{"x":1}'`
    const env = { POSTERN_CODE: await on.code() }
    const done = await onDevice(['exec', '--', 'sh', '-c', script], env)
    expect(done).toEqual({ exitCode: 0, stdout: '{"ok":true}', stderr: '' })
    expect(on.upstream.seen[0]?.body.toString()).toBe('{"x":1}')
  })

  test("ends as the command ends; its own ends are a shell's and sysexits'", async () => {
    const env = { POSTERN_CODE: await on.code() }
    const codeOf = async (...args: string[]): Promise<number> =>
      (await onDevice(['exec', ...args], env)).exitCode
    expect(await codeOf('--', 'sh', '-c', 'exit 37')).toBe(37)
    expect(await codeOf('--', 'sh', '-c', 'kill -TERM $$')).toBe(143)
    expect(await codeOf('--', 'no-such-command-here')).toBe(127)
    expect(await codeOf('--', home)).toBe(126)
    expect(await codeOf()).toBe(64)
    // Flags behind the command are its own, with or without the dashes between.
    expect(await codeOf('sh', '-c', 'exit 5', '--gate')).toBe(5)
    expect(await codeOf('--gate', 'http://gate.example.test', '--', 'true')).toBe(64)
  })

  test('enrols again if the gate no longer knows its device', async () => {
    const port = String(await freePort())
    const dev = () => start({ PORT: port }, { args: ['--dev-mode'] })
    const script =
      'curl -sf "$ANTHROPIC_BASE_URL/admin/stats" -H "x-api-key: $ANTHROPIC_AUTH_TOKEN"'
    for (let run = 0; run < 2; run += 1) {
      const gate = await dev()
      const end = await onDevice(['exec', '--', 'sh', '-c', script], { POSTERN_GATE: gate.url })
      expect([end.exitCode, end.stderr]).toEqual([0, ''])
      await gate.stop()
    }
  })

  test('starts nothing if the gate does not enrol', async () => {
    const done = await onDevice(['exec', '--', 'sh', '-c', 'echo started'])
    expect(done.exitCode).toBe(77)
    expect(done.stdout).toBe('')
  })
})

describe('postern enrol', () => {
  test('prints the code alone on stdout; it is stored hashed, and listed without', async () => {
    const done = await on.command([
      'enrol',
      '--label',
      'the label',
      '--models',
      'claude-*',
      '--uses',
      '2',
    ])
    expect(done.exitCode).toBe(0)
    expect(done.stdout).toMatch(/^postern-code-[\w-]{32}\n$/)
    expect(done.stderr).not.toContain(done.stdout.trim())
    const list = await on.command(['enrol', '--list'])
    expect(list.stdout).toContain('the label')
    expect(list.stdout).not.toContain(done.stdout.trim())
    const bytes = ['', '-wal'].map((end) => readFileSync(on.databaseFile + end).toString('latin1'))
    expect(bytes.join('')).not.toContain(done.stdout.trim())
  })

  test('names every mistake at once, and makes nothing', async () => {
    const args = [
      'enrol',
      '--models',
      'a b',
      '--rate-limit',
      '0',
      '--spend-cap',
      '-1',
      '--uses',
      'x',
      '--expires',
      'never',
    ]
    const done = await on.command(args)
    expect(done.exitCode).toBe(64)
    expect(done.stdout).toBe('')
    for (const flag of ['--models', '--rate-limit', '--spend-cap', '--uses', '--expires']) {
      expect(done.stderr).toContain(flag)
    }
  })
})
