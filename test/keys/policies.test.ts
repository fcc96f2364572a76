// Keys under the policies of a document that changes, over the compiled binary: what was decided of a key
// by policies of before holds for no request after a reload.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { anthropicScene, type DeviceScene, messages } from '../support/anthropic.ts'
import { until } from '../support/binary.ts'
import { bearer, eventually } from '../support/sink.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-key-policies-'))
const config = join(folder, 'postern.yaml')
const FIRST = `
policies:
  - { name: ci, models: [claude-sonnet-*] }
  - { name: staff }
rules:
  - { kind: key, organisation: acme, policy: staff }
keys: { policy: ci, max_lifetime: 30d }
`
let on: DeviceScene

/** As editors do: beside it, and then in its place. */
function put(text: string): void {
  writeFileSync(`${config}.new`, text, { mode: 0o600 })
  renameSync(`${config}.new`, config)
}
const said = (): number =>
  on.gate.lines().filter(({ msg }) => /settings (?:reloaded|have)/.test(String(msg))).length
/** What the gate goes by; the same again is no news, and not told. */
let taken = FIRST
async function reloaded(text: string): Promise<void> {
  const before = said()
  put(text)
  if (text !== taken) await until(() => said() > before)
  taken = text
}
const key = (...args: string[]) => on.command(['key', ...args], { POSTERN_CONFIG: config })
async function added(...args: string[]): Promise<string> {
  const { stdout, stderr, exitCode } = await key('add', ...args)
  if (exitCode !== 0) throw new Error(stderr)
  const made = stdout.trim()
  const about = (): Promise<Response> =>
    fetch(`${on.gate.url}/v1/models`, { headers: bearer(made) })
  await eventually(async () => (await about()).status !== 401)
  return made
}
async function refusal(response: Response): Promise<[number, string | undefined]> {
  const text = await response.text()
  const { error } = JSON.parse(text) as { error?: { code?: string } }
  return [response.status, error?.code]
}

beforeAll(async () => {
  put(FIRST)
  on = await anthropicScene({ env: { POSTERN_CONFIG: config } })
})
afterAll(async () => {
  await on.close()
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(() => reloaded(FIRST))

describe('postern key add', () => {
  test('takes the policy and the lifetime of the document', async () => {
    const made = await added('usual')
    expect((await messages(on.gate, made)).status).toBe(200)
    const listed = JSON.parse((await key('list', '--json')).stdout) as Record<string, unknown>[]
    const row = listed.find(({ name }) => name === 'usual')
    expect(row).toMatchObject({ policy: 'ci', policy_known: true })
    const lives = Date.parse(String(row?.['expires_at'])) - Date.parse(String(row?.['created_at']))
    expect(lives).toBe(30 * 86_400_000)
  })

  test.each([
    [['--policy', 'stuff'], '--policy names a policy that the document does not have'],
    [['--expires', '31d'], '--expires is later than KEY_MAX_LIFETIME lets a key live'],
    [['--expires', 'never'], '--expires is later than KEY_MAX_LIFETIME lets a key live'],
  ])('%p is 64, and makes nothing', async (flags, words) => {
    const done = await key('add', 'wrong', ...flags)
    expect([done.exitCode, done.stdout]).toEqual([64, ''])
    expect(done.stderr).toContain(words)
    expect((await key('list')).stdout).not.toContain('wrong')
  })

  test('and postern enrol take no policy that the document does not have', async () => {
    const done = await on.command(['enrol', '--policy', 'stuff'], { POSTERN_CONFIG: config })
    expect([done.exitCode, done.stdout]).toEqual([64, ''])
    expect(done.stderr).toContain('did you mean staff?')
  })
})

test.each(['enrol', 'key add wrong'])(
  'postern %s takes its document by --config too',
  async (words) => {
    const done = await on.command([...words.split(' '), '--policy', 'stuff', '--config', config])
    expect([done.exitCode, done.stdout]).toEqual([64, ''])
    expect(done.stderr).toContain('did you mean staff?')
  },
)

test('a document that is not there ends a report', async () => {
  const done = await on.command(['usage', '--config', `${config}.gone`])
  expect([done.exitCode, done.stdout]).toEqual([78, ''])
})

describe('a reload', () => {
  const NARROW = FIRST.replace('claude-sonnet-*', 'claude-haiku-*')
  const GONE = FIRST.replace('  - { name: ci, models: [claude-sonnet-*] }\n', '').replace(
    'policy: ci, ',
    '',
  )

  test('that changes the policy of a key holds for its next request', async () => {
    const made = await added('changed')
    expect((await messages(on.gate, made)).status).toBe(200)
    await reloaded(NARROW)
    expect((await refusal(await messages(on.gate, made)))[0]).toBe(404)
    await reloaded(FIRST)
    expect((await messages(on.gate, made)).status).toBe(200)
  })

  test('that takes the policy away refuses its keys, and falls back to no other', async () => {
    const made = await added('lost', '--org', 'acme')
    expect((await messages(on.gate, made)).status).toBe(200)
    await reloaded(GONE)
    expect(await refusal(await messages(on.gate, made))).toEqual([403, 'policy_unknown'])
    const warned = on.gate
      .lines()
      .findLast(({ msg }) => String(msg).startsWith('keys name policies'))
    expect(warned).toMatchObject({ policies: 'ci' })
    const keys = JSON.parse((await key('list', '--json')).stdout) as Record<string, unknown>[]
    const identity = keys.find(({ name }) => name === 'lost')?.['identity']
    await eventually(async () => on.gate.lines().some(({ reason }) => reason === `key ${identity}`))
    const listed = await key('list')
    expect(listed.stdout).toContain('ci (gone)')
    expect(listed.stderr).toContain('a gate refuses the key')
    const rotated = await key('rotate', 'lost')
    expect([rotated.exitCode, rotated.stdout]).toEqual([1, ''])
    await reloaded(FIRST)
    expect((await messages(on.gate, made)).status).toBe(200)
  })

  test('that takes a policy away which keys default to changes nothing', async () => {
    const made = await added('kept')
    const before = on.gate.lines().length
    put(FIRST.replace('  - { name: ci, models: [claude-sonnet-*] }\n', ''))
    const told = (): boolean =>
      on.gate
        .lines()
        .slice(before)
        .some(({ msg }) => String(msg).includes('keys.policy names'))
    await until(told)
    expect((await messages(on.gate, made)).status).toBe(200)
  })

  test('while a stream runs lets it end, and the next request is refused', async () => {
    const made = await added('streaming')
    const { promise, resolve: finish } = Promise.withResolvers<void>()
    on.upstream.respond(async (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('event: ping\ndata: {"type":"ping"}\n\n')
      await promise
      response.end('event: message_stop\ndata: {"type":"message_stop"}\n\n')
    })
    const stream = await messages(on.gate, made)
    await reloaded(GONE)
    await key('revoke', 'streaming')
    await eventually(async () => (await messages(on.gate, made)).status === 401)
    finish()
    expect(await stream.text()).toContain('message_stop')
    on.upstream.respond((_request, response) => void response.end('{}'))
  })
})
