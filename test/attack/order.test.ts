// Of two refusals that a request deserves, it gets the earlier: credential 401, scope 403, rate
// 429, encryption 400, size 413, concurrency 429, upstream. And what it was refused for before the
// rate, it does not pay for.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { ENCAPSULATED_KEY, type Scene, scene } from '../support/gate.ts'
import { bearer, errorOf } from '../support/sink.ts'
import { until } from '../support/binary.ts'

let at: Scene
beforeAll(async () => {
  at = await scene({
    env: {
      REQUIRE_EHBP: 'true',
      RATE_LIMIT_RPM: '1',
      RATE_LIMIT_BURST: '2',
      MAX_REQUEST_BODY_BYTES: '10',
      MAX_IDENTITY_CONCURRENCY: '1',
    },
  })
  at.upstream.respond((_request, response) => {
    response.setHeader('ehbp-response-nonce', 'cd'.repeat(32))
    response.end('{}')
  })
})
afterAll(() => at.close())

const EXPIRED = { exp: 1_700_000_000, iat: 1_600_000_000 }
const NO_SCOPE = { scope: 'other' }
const SEALED = { 'ehbp-encapsulated-key': ENCAPSULATED_KEY }
const TOO_LARGE = 'x'.repeat(11)

let people = 0
/** Somebody whom the gate has not met. */
const somebody = (): { sub: string } => ({ sub: `somebody-${(people += 1)}` })

interface Asked {
  readonly claims: object
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

async function ask({ claims, headers = SEALED, body = '{}' }: Asked): Promise<Response> {
  const token = await at.issuer.token({ ...claims })
  return fetch(`${at.gate.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...bearer(token), ...headers },
    body,
  })
}
async function outcome(asked: Asked): Promise<string> {
  const response = await ask(asked)
  const text = await response.text()
  return `${response.status} ${response.ok ? 'ok' : String(errorOf(text)['code'])}`
}
const remaining = (response: Response): number =>
  Number(response.headers.get('x-ratelimit-remaining-requests'))

/** Uses up the two requests of somebody. */
async function exhausted(): Promise<{ sub: string }> {
  const claims = somebody()
  expect(await outcome({ claims })).toBe('200 ok')
  expect(await outcome({ claims })).toBe('200 ok')
  expect(await outcome({ claims })).toBe('429 rate_limit_exceeded')
  return claims
}

test('401 before 403: an expired token without the scope', async () => {
  const claims = { ...somebody(), ...EXPIRED, ...NO_SCOPE }
  expect(await outcome({ claims })).toBe('401 token_expired')
})

test('401 before 429: an expired token of an exhausted identity', async () => {
  const claims = { ...(await exhausted()), ...EXPIRED }
  expect(await outcome({ claims })).toBe('401 token_expired')
})

test('403 before 429: no scope, and exhausted', async () => {
  const claims = { ...(await exhausted()), ...NO_SCOPE }
  expect(await outcome({ claims })).toBe('403 insufficient_scope')
})

test('429 before 400: exhausted, and in plaintext', async () => {
  expect(await outcome({ claims: await exhausted(), headers: {} })).toBe('429 rate_limit_exceeded')
})

test('400 before 413: in plaintext, with a bad key or a strange enclave, and too large', async () => {
  const cases: [Readonly<Record<string, string>>, string][] = [
    [{}, '400 encryption_required'],
    [{ 'ehbp-encapsulated-key': 'ab' }, '400 invalid_encapsulated_key'],
    [{ ...SEALED, 'x-tinfoil-enclave-url': 'https://evil.test' }, '400 enclave_not_allowed'],
  ]
  for (const [headers, expected] of cases) {
    expect(await outcome({ claims: somebody(), headers, body: TOO_LARGE })).toBe(expected)
  }
})

test('413 before 429: too large, while the only place is taken', async () => {
  const { claims, leave } = await inPlace()
  expect(await outcome({ claims, body: TOO_LARGE })).toBe('413 request_too_large')
  await leave()
})

test('429 before the upstream: no place, and the rate is given back', async () => {
  const { claims, leave } = await inPlace()
  const before = at.upstream.seen.length
  for (let count = 0; count < 5; count += 1) {
    expect(await outcome({ claims })).toBe('429 identity_concurrency_limit')
  }
  expect(at.upstream.seen.length).toBe(before)
  await leave()
  expect(await outcome({ claims })).toBe('200 ok')
})

test('401 and 403 cost no rate, and say nothing of it', async () => {
  const claims = somebody()
  for (let count = 0; count < 5; count += 1) {
    const unauthorized = await ask({ claims: { ...claims, ...EXPIRED } })
    const forbidden = await ask({ claims: { ...claims, ...NO_SCOPE } })
    expect([unauthorized.status, forbidden.status]).toEqual([401, 403])
    for (const { headers } of [unauthorized, forbidden]) {
      expect([...headers.keys()].filter((name) => name.includes('ratelimit'))).toEqual([])
    }
  }
  expect(remaining(await ask({ claims }))).toBe(1)
})

/** Somebody with one request under way, that ends when it is told to. */
async function inPlace(): Promise<{ claims: { sub: string }; leave(): Promise<void> }> {
  const claims = somebody()
  const before = at.upstream.seen.length
  const { promise: go, resolve } = Promise.withResolvers<void>()
  at.upstream.respond(async (_request, response) => {
    response.setHeader('ehbp-response-nonce', 'cd'.repeat(32))
    await go
    response.end('{}')
  })
  const under = outcome({ claims })
  await until(() => at.upstream.seen.length > before)
  return {
    claims,
    async leave() {
      resolve()
      expect(await under).toBe('200 ok')
    },
  }
}
