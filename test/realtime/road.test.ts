// Realtime sessions over the compiled binary: what admits one, what passes it, and what ends it.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startIssuer } from '../../src/dev/issuer.ts'
import { CLOCK_SKEW_SECONDS } from '../../src/token/compact.ts'
import { put, told } from '../process/reload-scene.ts'
import { type Running, runToEnd, start, until } from '../support/binary.ts'
import { soon } from '../support/patience.ts'
import { openRealtime } from '../support/realtime-client.ts'
import { startRealtimeUpstream, UPSTREAM_KEY, USAGE } from '../support/realtime-upstream.ts'
import { HASH_KEY, UNLIMITED } from '../support/settings.ts'
import { eventually } from '../support/sink.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-realtime-'))
const path = join(folder, 'postern.yaml')
const issuer = await startIssuer()
const upstream = startRealtimeUpstream()
writeFileSync(
  path,
  `issuers:
  - issuer: ${issuer.issuer}
    jwks_url: ${issuer.jwksUrl}
    audiences: [${issuer.audience}]
    groups_claim: groups
upstreams:
  - kind: openai
    name: talk
    base_url: ${upstream.url}
    api_key: ${UPSTREAM_KEY}
    routes: [models, chat, realtime]
  - kind: openai
    name: mute
    base_url: ${upstream.url}
    api_key: ${UPSTREAM_KEY}
    routes: [models, chat]
policies:
  - { name: capped, usd_per_day: 10, routes: [realtime] }
  - { name: spent, usd_per_day: 0.5, routes: [realtime] }
  - { name: unnamed }
  - { name: told, tell_upstream: true, routes: [realtime] }
  - { name: models, models: [gpt-realtime*], routes: [realtime] }
  - { name: slow, requests_per_minute: 3, burst: 3, routes: [realtime] }
  - { name: single, concurrency: 1, routes: [realtime] }
  - { name: talkers, routes: [chat, realtime] }
rules:
  - { kind: user, group: capped, policy: capped }
  - { kind: user, group: spent, policy: spent }
  - { kind: user, group: unnamed, policy: unnamed }
  - { kind: user, group: told, policy: told }
  - { kind: user, group: models, policy: models }
  - { kind: user, group: slow, policy: slow }
  - { kind: user, group: single, policy: single }
  - { kind: user, policy: talkers }
  - { kind: key, policy: talkers }
listen: { cors_origins: [https://app.example.com] }
ledger:
  database_url: sqlite:${join(folder, 'postern.db')}
  identity_hash_key: ${HASH_KEY}
log: { format: json }
`,
  { mode: 0o600 },
)
const ENV = { ...UNLIMITED, POSTERN_CONFIG: path, DATABASE_URL: '' }

let gate: Running
let token: string
beforeAll(async () => {
  gate = await start(ENV)
  token = await issuer.token()
})
beforeEach(() => {
  upstream.handshakes.length = 0
  upstream.messages.length = 0
  upstream.closes.length = 0
  upstream.refuse(undefined)
  upstream.usage = USAGE
  upstream.hangs = false
})
afterAll(async () => {
  await gate.stop()
  await upstream.stop()
  await issuer.close()
  rmSync(folder, { recursive: true })
})

const MODEL = '/v1/realtime?model=gpt-realtime'
let ids = 0
const newId = (): string => `rt-${(ids += 1)}`
const bearer = (of: string, id = newId()) => ({ authorization: `Bearer ${of}`, 'x-request-id': id })
const inGroup = (group: string): Promise<string> =>
  issuer.token({ groups: [group], sub: `${group}-${newId()}` })
const open = (options: Parameters<typeof openRealtime>[1] = { headers: bearer(token) }) =>
  openRealtime(gate.url + MODEL, options)

/** A handshake by hand, for its HTTP answer. */
async function handshake(target: string, headers: Record<string, string> = {}) {
  const response = await fetch(gate.url + target, {
    headers: {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      ...headers,
    },
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, text, error: errorIn(text) }
}
const errorIn = (text: string): Record<string, unknown> =>
  text.startsWith('{') ? JSON.parse(text).error : {}

/** Lines of a connection: of its responses, and last of itself. */
const linesOf = (id: string) => gate.lines().filter((line) => line['request_id'] === id)
const ended = (id: string) => until(() => linesOf(id).find(({ status }) => status !== 200))

describe('what passes', () => {
  test('messages of both kinds, pings, pongs, the close code and its reason arrive as sent', async () => {
    const id = newId()
    const client = await open({ headers: bearer(token, id) })
    await client.event('session.created')
    const texts = ['é€🐤 \ufeff\0', '', 'x'.repeat(70_000)]
    for (const text of texts) {
      client.socket.send(text)
      expect(await client.next()).toBe(text)
    }
    const bytes = Buffer.from([0, 1, 2, 255, 254])
    client.socket.send(bytes)
    expect(Buffer.from((await client.next()) as Buffer).equals(bytes)).toBe(true)
    ;(client.socket as never as { ping(data: string): void }).ping('are you there')
    await until(() => client.pongs.includes('are you there'))
    for (const socket of upstream.sockets) socket.ping('and you')
    await until(() => client.pings.includes('and you'))
    client.socket.close(4123, 'fertig, ja')
    await until(() => upstream.closes.length === 1)
    expect(upstream.closes).toEqual([[4123, 'fertig, ja']])
    expect(await client.closed).toEqual([4123, 'fertig, ja'])
    expect(await ended(id)).toMatchObject({ status: 101, end: 'complete', route: '/v1/realtime' })
  })

  test("the upstream's close code and reason reach the client, after all that it sent", async () => {
    const client = await open()
    await client.event('session.created')
    const [socket] = upstream.sockets
    for (let at = 0; at < 50; at += 1) socket?.send('z'.repeat(100_000))
    socket?.close(4001, 'out of words')
    expect(await soon(client.closed, 'a close')).toEqual([4001, 'out of words'])
    expect(client.messages.length).toBe(51)
  })

  test('the key goes up in the place of the token, and nothing of the client but what may pass', async () => {
    const client = await open({
      headers: { ...bearer(token), cookie: 'a=b', 'openai-beta': 'realtime=v1', 'x-mine': '1' },
      protocols: ['realtime'],
    })
    expect(client.socket.protocol).toBe('realtime')
    const [{ target, headers }] = upstream.handshakes as [never] as typeof upstream.handshakes as [
      (typeof upstream.handshakes)[0],
    ]
    expect(target).toBe(MODEL)
    expect(headers.get('authorization')).toBe(`Bearer ${UPSTREAM_KEY}`)
    expect(headers.get('openai-beta')).toBe('realtime=v1')
    expect(headers.get('cookie') ?? headers.get('x-mine')).toBe(null)
    expect(headers.get('sec-websocket-extensions')).toBe(null)
    client.socket.close()
  })
})

describe('a credential in a sub-protocol', () => {
  test('admits, and is neither answered, logged nor sent on', async () => {
    const protocols = ['realtime', `openai-insecure-api-key.${token}`, 'openai-beta.realtime-v1']
    const client = await open({ protocols })
    expect(client.socket.protocol).toBe('realtime')
    const [seen] = upstream.handshakes
    expect(seen?.headers.get('sec-websocket-protocol')).toBe('realtime')
    expect(seen?.headers.get('openai-beta')).toBe('realtime=v1')
    expect(JSON.stringify([...(seen?.headers ?? [])])).not.toContain(token.slice(-20))
    client.socket.close()
    await client.closed
    expect(gate.output()).not.toContain(token.slice(-20))
  })

  test('beside another one is ambiguous, and a wrong one is 401 without being quoted', async () => {
    const both = await handshake(MODEL, {
      ...bearer(token),
      'sec-websocket-protocol': `realtime, openai-insecure-api-key.${token}`,
    })
    expect([both.status, both.error['code']]).toEqual([400, 'ambiguous_credentials'])
    const wrong = await handshake(MODEL, {
      'sec-websocket-protocol': 'realtime, openai-insecure-api-key.sk-wrong-canary',
    })
    expect(wrong.status).toBe(401)
    expect(wrong.text + JSON.stringify([...wrong.headers])).not.toContain('canary')
    expect(gate.output()).not.toContain('wrong-canary')
    expect(upstream.handshakes).toEqual([])
  })
})

describe('what is refused before the upgrade', () => {
  test.each([
    ['no credential', MODEL, {}, 401, 'missing_authorization'],
    ['no upgrade', MODEL, { upgrade: 'h2c' }, 426, 'upgrade_required'],
    ['a page of another origin', MODEL, { origin: 'https://evil.example' }, 403, 'foreign_origin'],
    ['no model', '/v1/realtime', { own: '' }, 400, 'invalid_model'],
    ['two models', `${MODEL}&model=b`, { own: '' }, 400, 'bad_request'],
    ["somebody's call", '/v1/realtime?call_id=rtc_1', { own: '' }, 400, 'bad_request'],
    ['a key in the query', `${MODEL}&api-key=abc`, { own: '' }, 400, 'bad_request'],
  ])('%s', async (_, target, { own, ...headers }: Record<string, string>, status, code) => {
    const sent = { ...headers, ...(own !== undefined && bearer(token)) } as Record<string, string>
    const refused = await handshake(target, sent)
    expect([refused.status, refused.error['code']]).toEqual([status, code])
    expect(upstream.handshakes).toEqual([])
  })

  test.each([
    ['unnamed', MODEL, 403, 'route_not_allowed'],
    ['models', '/v1/realtime?model=gpt-4o', 404, 'model_not_found'],
    ['models', '/v1/realtime?intent=transcription', 400, 'invalid_model'],
    ['capped', '/v1/realtime?intent=transcription', 400, 'invalid_model'],
    ['capped', '/v1/realtime?model=nobody-knows', 400, 'model_not_priced'],
    ['spent', MODEL, 429, 'spend_cap_reached'],
  ])('by the policy %s: %s', async (group, target, status, code) => {
    const refused = await handshake(target, bearer(await inGroup(group)))
    expect([refused.status, refused.error['code']]).toEqual([status, code])
    expect(upstream.handshakes).toEqual([])
  })

  test('by the upstream: its words pass, those about our key do not', async () => {
    upstream.refuse(() =>
      Response.json(
        { error: { message: 'no such model', code: 'model_not_found' } },
        { status: 404 },
      ),
    )
    const unknown = await handshake(MODEL, bearer(token))
    expect([unknown.status, unknown.error['message']]).toEqual([404, 'no such model'])
    upstream.refuse(() => Response.json({ error: { message: UPSTREAM_KEY } }, { status: 400 }))
    const quoting = await handshake(MODEL, bearer(token))
    expect([quoting.status, quoting.error['code']]).toEqual([502, 'upstream_invalid'])
    upstream.refuse(() => Response.json({ error: { message: 'bad key' } }, { status: 401 }))
    const denied = await handshake(MODEL, bearer(token))
    expect([denied.status, denied.error['code']]).toEqual([502, 'upstream_auth'])
    upstream.refuse(() => new Response('hello'))
    const plain = await handshake(MODEL, bearer(token))
    expect([plain.status, plain.error['code']]).toEqual([502, 'upstream_invalid'])
    for (const { text } of [unknown, quoting, denied, plain]) expect(text).not.toContain('canary')
  })

  test('one slot is held for as long as the connection lasts', async () => {
    const one = await inGroup('single')
    const client = await open({ headers: bearer(one) })
    const second = await handshake(MODEL, bearer(one))
    expect([second.status, second.error['code']]).toEqual([429, 'identity_concurrency_limit'])
    client.socket.close()
    await client.closed
    const third = await open({ headers: bearer(one) })
    third.socket.close()
  })
})

describe('pages', () => {
  test.each(['https://app.example.com', 'own'])('%s may open one', async (origin) => {
    const from = origin === 'own' ? gate.url : origin
    const client = await open({ headers: { ...bearer(token), origin: from } })
    client.socket.close()
  })
})

describe('what is used', () => {
  test('each response is metered and priced as it is done, under the id of the connection', async () => {
    const id = newId()
    const client = await open({ headers: bearer(token, id) })
    for (let at = 0; at < 2; at += 1) {
      client.socket.send('{"type":"response.create"}')
      await client.event('response.done')
    }
    await until(() => linesOf(id).length === 2)
    const counted = { usage: 'exact', input_tokens: 80, output_tokens: 50, cache_read_tokens: 20 }
    const named = { status: 200, upstream: 'talk', model: 'gpt-realtime' }
    // 60 heard at $32, 20 read at $4, 20 cached at $0.50; 40 said at $64, 10 written at $16.
    for (const line of linesOf(id)) {
      expect(line).toMatchObject({ ...counted, ...named, cost_micro_usd: 4730 })
    }
    client.socket.close()
    expect(await ended(id)).toMatchObject({ status: 101, end: 'complete', bytes_in: 52 })
  })

  test('a response that is cut is estimated', async () => {
    upstream.hangs = true
    const id = newId()
    const client = await open({ headers: bearer(token, id) })
    client.socket.send('{"type":"response.create"}')
    await client.event('response.output_text.delta')
    client.socket.terminate()
    await ended(id)
    expect(linesOf(id)[0]).toMatchObject({ status: 200, end: 'client_gone', model: 'gpt-realtime' })
    expect(Number(linesOf(id)[0]?.['estimated_cost_micro_usd'])).toBeGreaterThan(0)
  })

  test('a cap that is used up ends the connection with 1008 and says why', async () => {
    const id = newId()
    const client = await open({ headers: bearer(await inGroup('capped'), id) })
    const heard = { input_token_details: { audio_tokens: 300_000 } }
    upstream.usage = { ...USAGE, ...heard, input_tokens: 300_000, total_tokens: 300_050 }
    client.socket.send('{"type":"response.create","event_id":"mine"}')
    const error = await client.event('error')
    expect(error).toMatchObject({ error: { code: 'spend_cap_reached', type: 'rate_limit_error' } })
    expect(await client.closed).toEqual([1008, 'spend_cap_reached'])
    expect(client.messages.some((each) => String(each).includes('response.done'))).toBe(true)
    expect(await ended(id)).toMatchObject({ end: 'refused', code: 'spend_cap_reached' })
    await until(() => upstream.sockets.size === 0)
  })
})

describe('events of a limited caller', () => {
  const refused = async (group: string, event: string | Buffer) => {
    const client = await open({ headers: bearer(await inGroup(group)) })
    await client.event('session.created')
    client.socket.send(event)
    const error = (await client.event('error')) as unknown as {
      error: { code: string; event_id: string | null }
    }
    client.socket.close()
    await client.closed
    expect(upstream.messages).toEqual([])
    return error.error
  }

  test.each([
    ['another model', '{"type":"session.update","session":{"model":"gpt-4o"}}', 'model_not_found'],
    [
      'a transcription by a model that is not on the list',
      '{"type":"session.update","session":{"audio":{"input":{"transcription":{"model":"whisper-1"}}}}}',
      'model_not_found',
    ],
    [
      'the same in other spellings',
      '{"type":"session.update","session":{"audio":{"input":{"transcription":{"Model":"whisper-1"}}}}}',
      'model_not_found',
    ],
    ['a type that is there twice', '{"type":"echo","type":"response.create"}', 'ambiguous_body'],
    ['an unknown event', '{"type":"response.branch"}', 'unknown_cost'],
    [
      'a stored prompt',
      '{"type":"response.create","response":{"prompt":{"id":"pmpt_1"}}}',
      'unknown_cost',
    ],
    ['no JSON', 'hello', 'ambiguous_body'],
  ])('%s is refused and not sent on', async (_, event, code) => {
    expect(await refused('models', event)).toMatchObject({ code })
  })

  test('an event in a binary message counts as one', async () => {
    const event = Buffer.from(
      ' {"type":"session.update","session":{"model":"gpt-4o"},"event_id":"e"}',
    )
    expect(await refused('models', event)).toMatchObject({ code: 'model_not_found', event_id: 'e' })
  })

  test('a response that is asked for counts as a request of the rate', async () => {
    const client = await open({ headers: bearer(await inGroup('slow')) })
    for (let at = 0; at < 3; at += 1) {
      client.socket.send(`{"type":"response.create","event_id":"r${at}"}`)
    }
    const error = await client.event('error')
    expect(error).toMatchObject({ error: { code: 'rate_limit_exceeded', event_id: 'r2' } })
    expect(upstream.messages.length).toBe(2)
    client.socket.send('{"type":"input_audio_buffer.append","audio":"AAAA"}')
    await until(() => upstream.messages.length === 3)
    client.socket.close()
  })
})

describe('what ends a connection', () => {
  test('its client is gone: the upstream is, too', async () => {
    const id = newId()
    const client = await open({ headers: bearer(token, id) })
    await client.event('session.created')
    client.socket.terminate()
    await until(() => upstream.sockets.size === 0)
    expect(await ended(id)).toMatchObject({ status: 101, end: 'client_gone' })
  })

  test('its upstream is gone: the client gets all that came, and 1011', async () => {
    const id = newId()
    const client = await open({ headers: bearer(token, id) })
    await client.event('session.created')
    for (const socket of upstream.sockets) socket.terminate()
    expect((await client.closed)[0]).toBe(1011)
    expect(await ended(id)).toMatchObject({ status: 101, end: 'upstream_error' })
  })

  test('its token expires', async () => {
    const id = newId()
    const short = await issuer.token({
      exp: Math.floor(Date.now() / 1000) + 2 - CLOCK_SKEW_SECONDS,
    })
    const client = await open({ headers: bearer(short, id) })
    const error = await client.event('error')
    expect(error).toMatchObject({ error: { code: 'token_expired' } })
    expect(await client.closed).toEqual([1008, 'token_expired'])
    expect(await ended(id)).toMatchObject({ end: 'refused', code: 'token_expired' })
  })

  test('its API key is revoked', async () => {
    const added = await runToEnd(['key', 'add', 'talker'], ENV)
    const key = /pk_\w+/.exec(added.stdout)?.[0] ?? added.stderr
    const client = await eventually(async () => {
      const { status } = await fetch(`${gate.url}/v1/models`, {
        headers: { authorization: `Bearer ${key}` },
      })
      return status !== 401 && open({ headers: bearer(key) })
    })
    const { exitCode } = await runToEnd(['key', 'revoke', 'talker'], ENV)
    expect(exitCode).toBe(0)
    expect(await soon(client.closed, 'a close')).toEqual([1008, 'key_revoked'])
  })

  test('a reload takes its route away', async () => {
    const client = await open({ headers: bearer(await inGroup('told')) })
    await client.event('session.created')
    const other = await open()
    const before = readFileSync(path, 'utf8')
    await told(gate, 'settings reloaded', () =>
      put(path, before.replace('tell_upstream: true, routes: [realtime]', 'routes: [chat]')),
    )
    expect(await soon(client.closed, 'a close')).toEqual([1008, 'route_not_allowed'])
    await told(gate, 'settings reloaded', () => put(path, before))
    // Nothing is different for this one.
    other.socket.send('still here')
    await other.event('session.created')
    expect(await other.next()).toBe('still here')
    other.socket.close()
  })
})

describe('client secrets', () => {
  const ask = async (of: string, body?: unknown) => {
    const response = await fetch(`${gate.url}/v1/realtime/client_secrets`, {
      method: 'POST',
      headers: { authorization: `Bearer ${of}`, 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    return { status: response.status, body: (await response.json()) as never as SecretAnswer }
  }
  interface SecretAnswer {
    readonly value: string
    readonly expires_at: number
    readonly session: Record<string, unknown>
    readonly error: { readonly code: string; readonly message: string }
  }

  test("one is the gate's own, opens sessions of its caller with their settings, and goes nowhere else", async () => {
    const session = { type: 'realtime', model: 'gpt-realtime', instructions: 'Be brief.' }
    const { status, body } = await ask(token, { session, expires_after: { seconds: 60 } })
    expect([status, body.session['model']]).toEqual([200, 'gpt-realtime'])
    expect(body.value).toMatch(/^ek_[\w-]{43}$/)
    expect(Math.abs(body.expires_at - Date.now() / 1000 - 60)).toBeLessThan(30)
    const id = newId()
    const client = await open({
      headers: { 'x-request-id': id },
      protocols: ['realtime', `openai-insecure-api-key.${body.value}`],
    })
    await until(() => upstream.messages.length === 1)
    const rest = { type: session.type, instructions: session.instructions }
    expect(JSON.parse(String(upstream.messages[0]))).toEqual({
      type: 'session.update',
      session: rest,
    })
    expect(upstream.handshakes[0]?.headers.get('authorization')).toBe(`Bearer ${UPSTREAM_KEY}`)
    client.socket.close()
    const line = await ended(id)
    const direct = newId()
    const other = await open({ headers: bearer(token, direct) })
    other.socket.close()
    expect(line['identity']).toBe((await ended(direct))['identity'])
    expect(gate.output()).not.toContain(body.value)

    const elsewhere = await fetch(`${gate.url}/v1/models`, {
      headers: { authorization: `Bearer ${body.value}` },
    })
    expect(elsewhere.status).toBe(401)
    expect((await ask(body.value)).status).toBe(401)
    const another = await handshake('/v1/realtime?model=gpt-4o', bearer(body.value))
    expect([another.status, another.error['code']]).toEqual([404, 'model_not_found'])
    const unknown = await handshake(MODEL, bearer('ek_unknown'))
    expect([unknown.status, unknown.error['code']]).toEqual([401, 'invalid_token'])
    expect(upstream.handshakes.length).toBe(2)
  })

  test('one is as good as the credential that it stands for', async () => {
    const short = await issuer.token({
      exp: Math.floor(Date.now() / 1000) + 2 - CLOCK_SKEW_SECONDS,
    })
    const { body } = await ask(short)
    const client = await open({ headers: bearer(body.value) })
    expect((await soon(client.closed, 'a close'))[1]).toBe('token_expired')
    const late = await handshake(MODEL, bearer(body.value))
    expect([late.status, late.error['code']]).toEqual([401, 'token_expired'])
  })

  test.each([
    ['unnamed', undefined, 403, 'route_not_allowed'],
    ['models', { session: { model: 'gpt-4o' } }, 404, 'model_not_found'],
    ['talkers', { expires_after: { seconds: 100_000 } }, 400, 'bad_request'],
    ['talkers', { session: [] }, 400, 'bad_request'],
    ['talkers', { session: { type: 'translation' } }, 400, 'bad_request'],
  ])('not for %s: %j', async (group, asked, status, code) => {
    const { status: found, body } = await ask(await inGroup(group), asked)
    expect([found, body.error.code]).toEqual([status, code])
  })
})

describe('where an upstream is told', () => {
  test('a policy has its name in the answer, beside the id', async () => {
    const id = newId()
    const answer = await raw(gate.port, MODEL, bearer(await inGroup('told'), id))
    expect(answer).toContain('HTTP/1.1 101')
    expect(answer.toLowerCase()).toContain('postern-upstream: talk')
    expect(answer.toLowerCase()).toContain(`x-request-id: ${id}`)
    expect(answer.toLowerCase()).not.toContain('sec-websocket-extensions')
  })
})

/** The head of the answer. */
async function raw(port: number, target: string, headers: Record<string, string>): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const lines = Object.entries({
    host: `127.0.0.1:${port}`,
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'sec-websocket-extensions': 'permessage-deflate; client_max_window_bits',
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  await Bun.connect({
    hostname: '127.0.0.1',
    port,
    socket: {
      open: (socket) => void socket.write(`GET ${target} HTTP/1.1\r\n${lines.join('')}\r\n`),
      data(socket, data) {
        resolve(data.toString('latin1'))
        socket.end()
      },
    },
  })
  return soon(promise, 'an answer')
}
