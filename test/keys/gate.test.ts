// Keys on the compiled gate, made and ended by another process: who is admitted, how soon that is heard,
// and that no key is left anywhere.

import SDK from '@anthropic-ai/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeKey } from '../../src/keys/format.ts'
import {
  ADMIN_TOKEN,
  anthropicScene,
  asked,
  type DeviceScene,
  IDENTITY_KEY,
  messages,
  VERSION,
} from '../support/anthropic.ts'
import { start } from '../support/binary.ts'
import { devicesOf } from '../support/settings.ts'
import { bearer, eventually } from '../support/sink.ts'

let on: DeviceScene
beforeAll(async () => {
  on = await anthropicScene({ env: { ADMIN_TOKEN, LOG_LEVEL: 'debug' }, users: true })
})
afterAll(() => on.close())

const printed: string[] = []
const otherOutput: string[] = []

async function command(...args: string[]): Promise<string> {
  const done = await on.command(['key', ...args])
  if (done.exitCode !== 0) throw new Error(`${args.join(' ')}: ${done.stderr}`)
  const isKey = args[0] === 'add' || args[0] === 'rotate'
  if (isKey) printed.push(done.stdout.trim())
  otherOutput.push(done.stderr, isKey ? '' : done.stdout)
  return done.stdout.trim()
}

const status = async (key: string): Promise<number> => (await messages(on.gate, key)).status
const heard = (key: string, expected: number): Promise<unknown> =>
  eventually(async () => (await status(key)) === expected)

async function added(name: string, ...flags: string[]): Promise<string> {
  const key = await command('add', name, ...flags)
  await heard(key, 200)
  return key
}

/** Status, type and code of a refusal. */
async function refusal(response: Response): Promise<string> {
  const { error } = (await response.json()) as { error: { type: string; code?: string } }
  return `${response.status} ${error.type} ${error.code ?? ''}`
}
const ask = (headers: Record<string, string>, path = '/v1/messages'): Promise<Response> =>
  fetch(on.gate.url + path, {
    method: 'POST',
    headers: { ...VERSION, 'content-type': 'application/json', ...headers },
    body: JSON.stringify(asked),
  })

describe('a key is a credential', () => {
  let key: string
  beforeAll(async () => {
    key = await added('server', '--org', 'acme')
  })

  test('in either header, in both, and behind the prefix; the upstream never sees it', async () => {
    const ways: Record<string, string>[] = [
      { authorization: `Bearer ${key}` },
      { authorization: `bearer ${key}` },
      { 'x-api-key': key },
      { 'x-api-key': `sk-ant-proxy-${key}` },
      { authorization: `Bearer ${key}`, 'x-api-key': key },
    ]
    on.upstream.seen.length = 0
    for (const headers of ways) expect((await ask(headers)).status).toBe(200)
    expect(on.upstream.seen).toHaveLength(ways.length)
    expect(JSON.stringify(on.upstream.seen.map(({ headers }) => headers))).not.toContain(
      key.slice(3, 33),
    )
  })

  test('attack: guessed, changed, folded, cut, in a query, or with another credential', async () => {
    const cases: [Record<string, string>, string, string][] = [
      ...Array.from({ length: 20 }, (): [Record<string, string>, string, string] => [
        { 'x-api-key': makeKey() },
        '',
        '401 authentication_error invalid_token',
      ]),
      ...[
        key.slice(0, -1) + (key.endsWith('a') ? 'b' : 'a'),
        `${key.slice(0, 3)}${key[3] === 'a' ? 'b' : 'a'}${key.slice(4)}`,
        key.toLowerCase(),
        key.toUpperCase(),
        key.slice(0, -1),
        `${key}a`,
        'pk_',
        `pk_${'0'.repeat(9000)}`,
      ].map((text): [Record<string, string>, string, string] => [
        { authorization: `Bearer ${text}` },
        '',
        '401 authentication_error invalid_token',
      ]),
      [{}, `?api_key=${key}`, '401 authentication_error '],
      [{}, `?key=${key}`, '401 authentication_error '],
      [{}, `?x-api-key=${key}`, '401 authentication_error '],
      [{}, `?access_token=${key}`, '401 authentication_error '],
      [{ cookie: `x-api-key=${key}` }, '', '401 authentication_error '],
      [
        { authorization: `Bearer ${key}`, 'x-api-key': makeKey() },
        '',
        '400 invalid_request_error ',
      ],
      [{ 'x-api-key': `${key}, ${key}` }, '', '400 invalid_request_error '],
    ]
    on.upstream.seen.length = 0
    for (const [headers, query, expected] of cases) {
      const answer = await ask(headers, `/v1/messages${query}`)
      // Claude Code would try again for minutes, in silence.
      const sent = headers['x-api-key'] ?? headers['authorization'] ?? ''
      const isKey = /^(?:Bearer )?pk_.{0,100}$/.test(sent)
      if (answer.status === 401 && isKey) expect(answer.headers.get('x-should-retry')).toBe('false')
      const said = await refusal(answer)
      expect([Object.keys(headers), query.slice(0, 5), said]).toEqual([
        Object.keys(headers),
        query.slice(0, 5),
        expected,
      ])
    }
    expect(on.upstream.seen).toEqual([])
  })

  test('its identity is in the log and the ledger, and its own usage is its own', async () => {
    const id = crypto.randomUUID()
    await (await ask({ 'x-api-key': key, 'x-request-id': id })).text()
    const line = await on.gate.logged(id)
    const listed = JSON.parse(await command('list', '--json')) as {
      name: string
      identity: string
    }[]
    const identity = listed.find(({ name }) => name === 'server')?.identity
    expect(line).toMatchObject({ identity, org: 'acme' })
    await added('another')
    const usage = async (): Promise<{ metrics: { identity: string; org: string }[] }> => {
      const answer = await fetch(`${on.gate.url}/admin/usage`, { headers: bearer(key) })
      return (await answer.json()) as never
    }
    await eventually(async () => (await usage()).metrics.length > 0)
    const { metrics } = await usage()
    expect(new Set(metrics.map((each) => each.identity))).toEqual(new Set([identity ?? '']))
    expect(new Set(metrics.map((each) => each.org))).toEqual(new Set(['acme']))
    const stats = await fetch(`${on.gate.url}/admin/stats`, { headers: { 'x-api-key': key } })
    expect(stats.status).toBe(200)
    for (const path of ['/admin/devices', '/admin/circuit-breaker']) {
      const answer = await fetch(on.gate.url + path, { headers: bearer(key) })
      expect(await refusal(answer)).toStartWith('403 permission_error')
    }
    const by = async (group: string): Promise<string> =>
      (await on.command(['usage', '--by', group, '--json'])).stdout
    for (const group of ['device', 'user']) expect(await by(group)).toContain('"key:server"')
    const debit = ['spend', 'key:server', '--debit', '1', '--reason', 'x', '--json']
    expect(JSON.parse((await on.command(debit)).stdout)).toMatchObject({
      spending: [
        { name: identity, label: 'key:server', orgId: 'acme', creditedMicroUsd: -1_000_000 },
      ],
    })
    expect((await on.command(['spend', 'key:none'])).exitCode).toBe(1)
    expect((await on.command(['devices', '--json', '--all'])).stdout).not.toContain(`${identity}`)
  })

  test('GET /device shows its name, policy and expiry', async () => {
    const about = async (of: string) =>
      (await fetch(`${on.gate.url}/device`, { headers: { 'x-api-key': of } })).json() as Promise<
        Record<string, unknown>
      >
    const listed = async (name: string): Promise<Record<string, unknown>> =>
      (JSON.parse(await command('list', '--json', '--all')) as Record<string, unknown>[]).find(
        (each) => each['name'] === name,
      ) ?? {}
    const own = await listed('server')
    expect(await about(key)).toMatchObject({
      kind: 'key',
      identity: own['identity'],
      name: 'server',
      org_id: 'acme',
      device: null,
      family: null,
      user_id: null,
      issued_at: own['created_at'],
      expires_at: own['expires_at'],
      refreshable_until: null,
      replaced: false,
      policy: { name: 'keys', models: null, spend_cap: null, spend_cap_day: null },
      caps: [],
    })
    const old = await added('turned', '--expires', '30d')
    const next = await command('rotate', 'turned', '--overlap', '1h')
    await heard(next, 200)
    const [before, after] = [await about(old), await about(next)]
    expect([before['replaced'], after['replaced']]).toEqual([true, false])
    expect(before['identity']).toBe(after['identity'])
    const left = Date.parse(String(before['expires_at'])) - Date.now()
    expect(left).toBeGreaterThan(0)
    expect(left).toBeLessThanOrEqual(3_600_000)
  })

  test('it is no device, no operator, no user, and each says so', async () => {
    expect((await on.refresh(key)).status).toBe(401)
    const chat = await fetch(`${on.gate.url}/v1/chat/completions`, {
      method: 'POST',
      headers: bearer(key),
      body: '{}',
    })
    expect(chat.status).toBe(401)
    expect(await chat.text()).toContain("this API key is good, but this route takes a user's token")
  })
})

test('attack: a key whose policy the gate does not have may do nothing', async () => {
  const key = await command('add', 'named', '--policy', 'no-such-policy')
  await heard(key, 403)
  const said = await messages(on.gate, key)
  expect(await said.text()).toContain('names a policy that this gate does not have')
  const usage = await fetch(`${on.gate.url}/admin/usage`, { headers: bearer(key) })
  expect(usage.status).toBe(403)
  await command('revoke', 'named')
  await heard(key, 401)
})

describe('changes of another process are applied', () => {
  test('a revocation, and a rotation with its overlap', async () => {
    const first = await added('turning')
    const second = await command('rotate', 'turning', '--overlap', '1h')
    await heard(second, 200)
    expect(await status(first)).toBe(200)
    const third = await command('rotate', 'turning', '--overlap', '0')
    await heard(second, 401)
    expect(await refusal(await messages(on.gate, second))).toBe(
      '401 authentication_error key_revoked',
    )
    expect([await status(first), await status(third)]).toEqual([200, 200])
    await command('revoke', 'turning')
    for (const key of [first, third]) await heard(key, 401)
    expect(await refusal(await messages(on.gate, third))).toBe(
      '401 authentication_error key_revoked',
    )
  })

  test('a gate that starts later knows every change and expiry', async () => {
    const [kept, revoked] = [await added('kept'), await added('ended')]
    const soon = new Date(Date.now() + 2000).toISOString().replace(/\.\d+Z/, 'Z')
    const short = await command('add', 'short', '--expires', soon)
    await command('revoke', 'ended')
    await eventually(async () => {
      const answer = await messages(on.gate, short)
      return !answer.ok && (await refusal(answer)).endsWith('key_expired')
    })
    const other = await start({
      DATABASE_URL: `sqlite:${on.databaseFile}`,
      IDENTITY_HASH_KEY: IDENTITY_KEY,
      ...devicesOf(on.upstream.url),
    })
    expect((await messages(other, kept)).status).toBe(200)
    expect(await refusal(await messages(other, revoked))).toEndWith('key_revoked')
    expect(await refusal(await messages(other, short))).toEndWith('key_expired')
    await other.stop()
  })
})

test("Anthropic's SDK and a plain key, and its own errors", async () => {
  const apiKey = await added('sdk')
  const client = new SDK({ baseURL: on.gate.url, apiKey, maxRetries: 0, logLevel: 'off' })
  const question = {
    model: 'claude-opus-5-5',
    max_tokens: 10,
    messages: [{ role: 'user' as const, content: 'Hello!' }],
  }
  on.upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(
      JSON.stringify({
        type: 'message',
        role: 'assistant',
        model: question.model,
        content: [{ type: 'text', text: 'Good day.' }],
        usage: { input_tokens: 1, output_tokens: 2 },
      }),
    )
  })
  const answer = await client.messages.create(question)
  expect(answer.content[0]).toMatchObject({ type: 'text', text: 'Good day.' })
  await command('revoke', 'sdk')
  await heard(apiKey, 401)
  const failed = await client.messages.create(question).catch((error: unknown) => error)
  expect(failed).toBeInstanceOf(SDK.AuthenticationError)
  expect(failed).toHaveProperty('message', expect.stringContaining('the API key was revoked'))
})

test('no key is left in log, answer or file; only its caller has it', async () => {
  const last = crypto.randomUUID()
  await fetch(`${on.gate.url}/nowhere`, { headers: { 'x-request-id': last } })
  await on.gate.logged(last)
  expect(printed.length).toBeGreaterThan(5)
  const files = readdirSync(on.folder)
  const bytes = files.map((name) => readFileSync(join(on.folder, name)).toString('latin1')).join('')
  const secrets = printed.flatMap((key) => [
    key,
    key.slice(3, 33),
    key.slice(0, 16),
    Buffer.from(key).toString('base64').slice(0, 40),
    Buffer.from(key).toString('hex'),
  ])
  for (const text of [bytes, on.gate.output(), otherOutput.join('\n')]) {
    expect(text.length).toBeGreaterThan(500)
    expect(secrets.filter((secret) => text.includes(secret))).toEqual([])
  }
  // And that the search would have found them: the hash is there.
  const hash = new Bun.CryptoHasher('sha256').update(printed[0] ?? '').digest('hex')
  expect(bytes).toContain(hash)
  expect(on.gate.output()).not.toContain(hash)
})
