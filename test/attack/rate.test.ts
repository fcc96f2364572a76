// Attack 31, the rate: who may ask again and when, told in the same words on every protected answer.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { type Scene, scene } from '../support/gate.ts'
import { bearer, errorOf, forget } from '../support/sink.ts'

let at: Scene
let slow: Scene
beforeAll(async () => {
  const limits = { MAX_REQUEST_BODY_BYTES: '10' }
  const both = await Promise.all([
    scene({ env: { ...limits, RATE_LIMIT_RPM: '60', RATE_LIMIT_BURST: '20' } }),
    scene({ env: { ...limits, RATE_LIMIT_RPM: '6', RATE_LIMIT_BURST: '1' } }),
  ])
  ;[at, slow] = both
})
afterAll(() => Promise.all([at.close(), slow.close()]))
beforeEach(() => forget(at, slow))

async function ask(on: Scene, claims: object, init: RequestInit = {}): Promise<Response> {
  const token = await on.issuer.token({ ...claims })
  return fetch(`${on.gate.url}/v1/chat/completions`, {
    method: 'POST',
    body: '{}',
    ...init,
    headers: { ...bearer(token), ...(init.headers as Record<string, string> | undefined) },
  })
}
const limitsOf = ({ headers }: Response): Record<string, string> =>
  Object.fromEntries([...headers].filter(([name]) => name.includes('ratelimit')))

describe('attack 31: every protected response has the rate', () => {
  test('both dialects, from one decision', async () => {
    const first = limitsOf(await ask(at, { sub: 'dialects' }))
    expect(first).toEqual({
      ratelimit: '"requests";r=19;t=1',
      'ratelimit-policy': '"requests";q=20;w=20',
      'x-ratelimit-limit-requests': '20',
      'x-ratelimit-remaining-requests': '19',
      'x-ratelimit-reset-requests': '1000ms',
    })
    const second = limitsOf(await ask(at, { sub: 'dialects' }))
    expect(second['x-ratelimit-remaining-requests']).toBe('18')
    expect(second['ratelimit']).toBe('"requests";r=18;t=2')
  })

  const answers: Readonly<Record<string, [number, RequestInit, (() => void)?]>> = {
    'a good one': [200, {}],
    'a wrong key of encapsulation': [400, { headers: { 'ehbp-encapsulated-key': 'x' } }],
    'a strange enclave': [400, { headers: { 'x-tinfoil-enclave-url': 'https://evil.test' } }],
    'one too large': [413, { body: 'x'.repeat(11) }],
    'a failure of the upstream': [
      500,
      {},
      () => at.upstream.respond((_request, response) => void response.writeHead(500).end()),
    ],
    'an upstream that is gone': [
      502,
      {},
      () => at.upstream.respond((_request, response) => void response.destroy()),
    ],
  }
  for (const [name, [status, init, prepare]] of Object.entries(answers)) {
    test(`on ${name} (${status})`, async () => {
      at.upstream.respond((_request, response) => void response.end('{}'))
      prepare?.()
      const response = await ask(at, { sub: name }, init)
      expect(response.status).toBe(status)
      expect(limitsOf(response)).toMatchObject({
        'ratelimit-policy': '"requests";q=20;w=20',
        'x-ratelimit-limit-requests': '20',
        'x-ratelimit-remaining-requests': '19',
      })
    })
  }

  test('the upstream has no say in it', async () => {
    at.upstream.respond((_request, response) => {
      response.setHeader('x-ratelimit-remaining-requests', '7000')
      response.setHeader('ratelimit', '"evil";r=1;t=1').end()
    })
    const limits = limitsOf(await ask(at, { sub: 'no-say' }))
    expect(limits['x-ratelimit-remaining-requests']).toBe('19')
    expect(limits['ratelimit']).toStartWith('"requests"')
  })
})

describe('attack 31: 429', () => {
  test('Retry-After is the time until one more request fits, rounded up', async () => {
    const claims = { sub: 'slow' }
    const began = performance.now()
    expect((await ask(slow, claims)).status).toBe(200)
    const refused = await ask(slow, claims)
    expect(refused.status).toBe(429)
    // What has passed between the two is at most what has passed here.
    const seconds = Number(refused.headers.get('retry-after'))
    expect(seconds).toBeLessThanOrEqual(10)
    expect(seconds).toBeGreaterThanOrEqual(Math.ceil(10 - (performance.now() - began) / 1000))
    expect(limitsOf(refused)).toMatchObject({
      ratelimit: `"requests";r=0;t=${seconds}`,
      'ratelimit-policy': '"requests";q=1;w=10',
      'x-ratelimit-remaining-requests': '0',
    })
    expect(errorOf(await refused.text())).toEqual({
      message: 'rate limit exceeded',
      type: 'rate_limit_error',
      code: 'rate_limit_exceeded',
      param: null,
    })
    expect(slow.upstream.seen).toHaveLength(1)
  })

  test('is one identity, whatever token it comes with, and no other', async () => {
    expect((await ask(slow, { sub: 'one', jti: 'a' })).status).toBe(200)
    expect((await ask(slow, { sub: 'one', jti: 'b' })).status).toBe(429)
    expect((await ask(slow, { sub: 'one', client_id: 'another' })).status).toBe(429)
    expect((await ask(slow, { sub: 'two' })).status).toBe(200)
  })

  test('two hundred at once: exactly the burst comes through', async () => {
    at.upstream.respond((_request, response) => void response.end('{}'))
    const answers = await Promise.all(
      Array.from({ length: 200 }, () => ask(at, { sub: 'at-once' })),
    )
    const passed = answers.filter(({ status }) => status === 200).length
    // One more for every second that it takes.
    expect(passed).toBeWithin(20, 23)
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(200 - passed)
  })
})

test('with no rate set, nothing is said of one', async () => {
  const free = await scene()
  const response = await ask(free, {})
  expect(response.status).toBe(200)
  expect(limitsOf(response)).toEqual({})
  await free.close()
})
