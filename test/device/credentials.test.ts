// A device's credential over the wire: how it may come (attack 13), and that no other kind of token
// passes for it, nor it for another (attacks 22 and 23).

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { createHmac } from 'node:crypto'
import {
  anthropicScene,
  type DeviceScene,
  messages,
  type Minted,
  refusalOf,
  SECRET,
  VERSION,
} from '../support/anthropic.ts'
import { bearer } from '../support/sink.ts'
import { exchange, head } from '../support/wire.ts'

let on: DeviceScene
let device: string
let other: string
let user: string
beforeAll(async () => {
  on = await anthropicScene({ users: true })
  ;[device, other] = await Promise.all([on.device(), on.device()])
  user = (await on.issuer?.token()) ?? ''
})
afterAll(() => on.close())
beforeEach(() => {
  on.upstream.seen.length = 0
})

const PREFIX = 'sk-ant-proxy-'

async function statusOf(...lines: string[]): Promise<number | undefined> {
  const body = '{}'
  const [answer] = await exchange(
    on.gate.port,
    head(
      'POST /v1/messages HTTP/1.1',
      'Host: gate.test',
      'Connection: close',
      'Content-Type: application/json',
      `Content-Length: ${body.length}`,
      ...lines,
    ) + body,
  )
  return answer?.status
}

describe('a token comes', () => {
  test.each([
    ['as a bearer', (t: string) => [`Authorization: Bearer ${t}`]],
    ['as a bearer in any case', (t: string) => [`authorization: bEARER ${t}`]],
    ['as a bearer with the prefix', (t: string) => [`Authorization: Bearer ${PREFIX}${t}`]],
    ['as x-api-key', (t: string) => [`x-api-key: ${t}`]],
    ['as x-api-key with the prefix', (t: string) => [`X-Api-Key: ${PREFIX}${t}`]],
    ['both ways at once', (t: string) => [`Authorization: Bearer ${t}`, `x-api-key: ${t}`]],
    [
      'both ways, the prefix on one',
      (t: string) => [`Authorization: Bearer ${t}`, `x-api-key: ${PREFIX}${t}`],
    ],
  ])('%s', async (_name, lines) => {
    expect(await statusOf(...lines(device))).toBe(200)
    expect(on.upstream.seen).toHaveLength(1)
  })

  test.each([
    [
      'two bearers',
      (a: string, b: string) => [`Authorization: Bearer ${a}`, `Authorization: Bearer ${b}`],
      400,
    ],
    [
      'the same bearer twice',
      (a: string) => [`Authorization: Bearer ${a}`, `Authorization: Bearer ${a}`],
      400,
    ],
    ['two keys', (a: string, b: string) => [`x-api-key: ${a}`, `x-api-key: ${b}`], 400],
    [
      'a bearer and a key that differ',
      (a: string, b: string) => [`Authorization: Bearer ${a}`, `x-api-key: ${b}`],
      400,
    ],
    ['a bearer and an empty key', (a: string) => [`Authorization: Bearer ${a}`, 'x-api-key:'], 401],
    [
      'a key and another scheme',
      (a: string) => [`Authorization: Basic ${a}`, `x-api-key: ${a}`],
      401,
    ],
    ['no credential', () => [], 401],
    ['a cookie', (a: string) => [`Cookie: token=${a}; x-api-key=${a}`], 401],
    ['the prefix alone', () => [`x-api-key: ${PREFIX}`], 401],
    ['the prefix twice', (a: string) => [`x-api-key: ${PREFIX}${PREFIX}${a}`], 401],
    ['the prefix in another case', (a: string) => [`x-api-key: SK-ANT-PROXY-${a}`], 401],
  ])('never as %s', async (_name, lines, status) => {
    expect(await statusOf(...lines(device, other))).toBe(status)
    expect(on.upstream.seen).toEqual([])
  })

  test('two different ones are named by their headers, and by the programs that send them', async () => {
    const response = await messages(on.gate, device, '{}', { 'x-api-key': other })
    expect(response.status).toBe(400)
    const { error } = (await response.json()) as { error: { message: string } }
    for (const name of ['Authorization', 'x-api-key', 'ANTHROPIC_AUTH_TOKEN', 'apiKeyHelper']) {
      expect(error.message).toContain(name)
    }
  })

  test('never in a query', async () => {
    for (const name of ['access_token', '%61ccess_token']) {
      const path = `/v1/messages?${name}=${device}`
      expect((await messages(on.gate, device, '{}', {}, path)).status).toBe(401)
    }
    expect(on.upstream.seen).toEqual([])
  })
})

describe('one kind of token is not the other', () => {
  test("a user's JWT opens no route of Anthropic's", async () => {
    for (const path of ['/v1/messages', '/v1/messages/count_tokens', '/v1/complete']) {
      for (const headers of [{}, { authorization: '', 'x-api-key': user }]) {
        const response = await messages(on.gate, user, '{}', headers, path)
        expect(await refusalOf(response)).toBe('401 authentication_error')
      }
    }
    expect((await messages(on.gate, device)).status).toBe(200)
    expect(on.upstream.seen).toHaveLength(1)
  })

  test("a device's token opens none of the user's", async () => {
    for (const path of ['/v1/chat/completions', '/v1/responses', '/v1/embeddings']) {
      const response = await messages(on.gate, device, '{}', {}, path)
      expect(response.status).toBe(401)
      expect(await response.json()).toMatchObject({ error: { code: 'invalid_token' } })
    }
    expect((await messages(on.gate, user, '{}', {}, '/v1/chat/completions')).status).toBe(200)
    expect(on.upstream.seen).toHaveLength(1)
  })

  test('/v1/models takes the one of the dialect that is spoken', async () => {
    const ask = async (token: string, headers: Readonly<Record<string, string>>) => {
      const response = await fetch(`${on.gate.url}/v1/models`, {
        headers: { ...bearer(token), ...headers },
      })
      const body = await response.text()
      return [response.status, body.includes('"request_id"') ? 'anthropic' : 'openai']
    }
    expect(await ask(device, VERSION)).toEqual([200, 'openai'])
    expect(await ask(user, {})).toEqual([200, 'openai'])
    expect(on.upstream.seen.map(({ headers }) => headers['x-api-key'] !== undefined)).toEqual([
      true,
      false,
    ])
    expect(await ask(user, VERSION)).toEqual([401, 'anthropic'])
    expect(await ask(device, {})).toEqual([401, 'openai'])
    expect(on.upstream.seen).toHaveLength(2)
  })

  test("neither a user's JWT nor the code is refreshed, and a token is no code", async () => {
    expect(await refusalOf(await on.refresh(user))).toBe('401 authentication_error')
    const code = await on.code()
    expect(await refusalOf(await on.refresh(code))).toBe('401 authentication_error')
    expect(await refusalOf(await messages(on.gate, code))).toBe('401 authentication_error')
    expect(await refusalOf(await on.bootstrap('device', device))).toBe('403 permission_error')
    expect(await refusalOf(await on.bootstrap('device', user))).toBe('403 permission_error')
  })
})

describe('a token that is signed with our own secret is refused for', () => {
  const b64 = (value: unknown): string =>
    Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
  const signed = (start: string, secret = SECRET): string =>
    `${start}.${createHmac('sha256', secret).update(start).digest('base64url')}`
  const parts = (): [Record<string, unknown>, Record<string, unknown>] =>
    device
      .split('.')
      .slice(0, 2)
      .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()) as unknown) as never
  const now = (): number => Math.floor(Date.now() / 1000)

  test('the control: a valid one is accepted', async () => {
    const [header, claims] = parts()
    expect((await messages(on.gate, signed(`${b64(header)}.${b64(claims)}`))).status).toBe(200)
  })

  test.each<[string, object, object]>([
    ['typ JWT', { typ: 'JWT' }, {}],
    ['typ at+jwt', { typ: 'at+jwt' }, {}],
    ['no typ', { typ: undefined }, {}],
    ['alg none', { alg: 'none' }, {}],
    ['alg HS512', { alg: 'HS512' }, {}],
    ['another kid', { kid: 'k2' }, {}],
    ['no kid', { kid: undefined }, {}],
    ['crit', { crit: ['exp'] }, {}],
    ['another iss', {}, { iss: 'https://issuer.example' }],
    ['another aud', {}, { aud: 'betterbase-inference' }],
    ['no exp', {}, { exp: undefined }],
    ['exp in a hundred years', {}, { exp: 4_900_000_000 }],
    ['exp 1e308', {}, { exp: 1e308 }],
    ['iat in an hour', {}, { iat: 9_000_000_000 }],
    ['no jti', {}, { jti: undefined }],
    ['no family', {}, { family: undefined }],
    ['a sub that is not a device', {}, { sub: 'admin' }],
    ['a proof of possession that nobody checks', {}, { cnf: { jkt: 'x' } }],
    ['models that are no list', {}, { models: '*' }],
    ['a rate_limit below one', {}, { rate_limit: 0 }],
    ['a spend_cap that is text', {}, { spend_cap: '1000' }],
  ])('%s', async (_name, moreHeader, moreClaims) => {
    const [header, claims] = parts()
    const start = `${b64({ ...header, ...moreHeader })}.${b64({ ...claims, ...moreClaims })}`
    const response = await messages(on.gate, signed(start))
    expect(await refusalOf(response)).toBe('401 authentication_error')
    expect(on.upstream.seen).toEqual([])
  })

  test('being over: 401 that says so', async () => {
    const [header, claims] = parts()
    const over = { ...claims, iat: now() - 100, exp: now() - 1 }
    const response = await messages(on.gate, signed(`${b64(header)}.${b64(over)}`))
    expect(await response.text()).toContain('token has expired')
  })

  test('a changed bit, another secret, a doubled member, a tail', async () => {
    const [header, claims] = parts()
    const doubled = JSON.stringify(claims).replace('{', '{"sub":"x",')
    const last = device.at(-1) === 'A' ? 'B' : 'A'
    const bad = [
      signed(`${b64(header)}.${b64(claims)}`, 'another-secret-of-at-least-32-bytes'),
      signed(`${b64(header)}.${b64(doubled)}`),
      `${device.slice(0, -1)}${last}`,
      `${device}=`,
      `${device}.x`,
      device.slice(0, device.lastIndexOf('.') + 1),
      'a'.repeat(9000),
    ]
    for (const token of bad) expect((await messages(on.gate, token)).status).toBe(401)
    expect(on.upstream.seen).toEqual([])
  })
})

test('JWT_SECRET rotates: the first signs, all verify, and a dropped one verifies nothing', async () => {
  const next = 'jwt-secret-second-5a90-5a90-5a90-5a90'
  const rotated = await anthropicScene({ env: { JWT_SECRET: `${next},${SECRET}` } })
  const old = await anthropicScene()
  try {
    const minted = await old.device()
    expect((await messages(rotated.gate, minted)).status).toBe(200)
    const newer = await rotated.device()
    expect((await messages(rotated.gate, newer)).status).toBe(200)
    expect((await messages(old.gate, newer)).status).toBe(401)
    const { wrapper_token: renewed } = (await (await rotated.refresh(newer)).json()) as Minted
    expect((await messages(old.gate, renewed)).status).toBe(401)
  } finally {
    await Promise.all([rotated.close(), old.close()])
  }
})
