// Attacks 11, 12 and 15: headers that a client sends to be passed on, and headers that an upstream
// sends to be passed back. What crosses is a list; the lists are asserted whole.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { userAgent } from '../../src/version.ts'
import { API_KEY, ENCAPSULATED_KEY, type Scene, scene } from '../support/gate.ts'
import { startRawUpstream } from '../support/raw-upstream.ts'
import { forget, reachedUpstream } from '../support/sink.ts'
import { exchange, head } from '../support/wire.ts'

let at: Scene
beforeAll(async () => {
  at = await scene()
})
afterAll(() => at.close())
beforeEach(() => forget(at))

const NONCE = 'cd'.repeat(32)
const okWithNonce = (): void =>
  at.upstream.respond((_request, response) => {
    response.setHeader('content-type', 'application/json')
    response.setHeader('ehbp-response-nonce', NONCE)
    response.end('{}')
  })

/** Everything that a client might try, and the few that may pass. */
const SIXTY_HEADERS: readonly (readonly [string, string])[] = [
  ['Content-Type', 'application/json'],
  ['Accept', 'text/event-stream'],
  ['Accept-Encoding', 'br'],
  ['Ehbp-Encapsulated-Key', ENCAPSULATED_KEY],
  ['Cookie', 'session=client-secret'],
  ['Cookie2', '$Version=1'],
  ['X-Api-Key', 'client-secret'],
  ['Api-Key', 'client-secret'],
  ['X-Goog-Api-Key', 'client-secret'],
  ['Proxy-Authorization', 'Basic client-secret'],
  ['X-Authorization', 'Bearer client-secret'],
  ['X-Auth-Token', 'client-secret'],
  ['X-Amz-Security-Token', 'client-secret'],
  ['OpenAI-Organization', 'client-secret'],
  ['OpenAI-Project', 'client-secret'],
  ['OpenAI-Beta', 'client-secret'],
  ['X-Stainless-Lang', 'js'],
  ['User-Agent', 'client-agent'],
  ['Origin', 'https://evil.test'],
  ['Referer', 'https://evil.test/page'],
  ['Access-Control-Request-Method', 'POST'],
  ['Access-Control-Request-Headers', 'authorization'],
  ['Sec-Fetch-Site', 'cross-site'],
  ['Sec-Fetch-Mode', 'cors'],
  ['Sec-CH-UA', '"Evil"'],
  ['Forwarded', 'for=192.0.2.7'],
  ['X-Forwarded-For', '192.0.2.7'],
  ['X-Forwarded-Host', 'evil.test'],
  ['X-Forwarded-Proto', 'https'],
  ['X-Forwarded-Port', '443'],
  ['X-Forwarded-Server', 'evil.test'],
  ['X-Forwarded-Prefix', '/admin'],
  ['X-Real-IP', '192.0.2.7'],
  ['X-Client-IP', '192.0.2.7'],
  ['X-Cluster-Client-IP', '192.0.2.7'],
  ['CF-Connecting-IP', '192.0.2.7'],
  ['True-Client-IP', '192.0.2.7'],
  ['Fastly-Client-IP', '192.0.2.7'],
  ['X-Original-URL', '/admin'],
  ['X-Rewrite-URL', '/admin'],
  ['X-Original-Host', 'evil.test'],
  ['X-Host', 'evil.test'],
  ['X-HTTP-Method-Override', 'DELETE'],
  ['X-HTTP-Method', 'DELETE'],
  ['X-Method-Override', 'DELETE'],
  ['Via', '1.1 evil.test'],
  ['TE', 'trailers'],
  ['Trailer', 'Authorization'],
  ['Keep-Alive', 'timeout=9999'],
  ['Proxy-Connection', 'keep-alive'],
  ['Expect', '100-continue'],
  ['If-None-Match', '"x"'],
  ['If-Modified-Since', 'Thu, 01 Jan 1970 00:00:00 GMT'],
  ['Range', 'bytes=0-1'],
  ['Accept-Language', 'en'],
  ['Content-Encoding', 'gzip'],
  ['Content-MD5', 'x'],
  ['Traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
  ['Baggage', 'user=client-secret'],
  ['X-Request-Id', 'client-request-id'],
  ['X-Tinfoil-Request-Usage-Metrics', 'false'],
  ['X-Tinfoil-Anything', 'client-secret'],
  ['Idempotency-Key', 'client-secret'],
  ['X_Odd_Name', 'client-secret'],
]

const CHAT = 'POST /v1/chat/completions HTTP/1.1'

async function send(lines: readonly string[], body = '{}'): Promise<number | undefined> {
  const length = `Content-Length: ${body.length}`
  const expects = lines.some((line) => line.startsWith('Expect'))
  const bytes = head(CHAT, 'Host: gate.test', ...lines, length) + body
  const answers = await exchange(at.gate.port, bytes, expects ? 2 : 1)
  return answers.at(-1)?.status
}
const namesOf = (rawHeaders: readonly string[]): string[] =>
  rawHeaders
    .filter((_, index) => index % 2 === 0)
    .map((name) => name.toLowerCase())
    .toSorted()

const PASSING = [
  'accept',
  'accept-encoding',
  'authorization',
  'content-encoding',
  'content-length',
  'content-type',
  'ehbp-encapsulated-key',
  'host',
  'user-agent',
  'x-tinfoil-request-usage-metrics',
]

describe('attack 12: of sixty headers, these reach the upstream', () => {
  test('and no others', async () => {
    okWithNonce()
    const lines = SIXTY_HEADERS.map(([name, value]) => `${name}: ${value}`)
    expect(await send([`Authorization: Bearer ${at.token}`, ...lines])).toBe(200)
    const [seen] = await reachedUpstream(at)
    expect(namesOf(seen?.rawHeaders ?? [])).toEqual(PASSING)
    expect(seen?.headers).toEqual({
      host: `127.0.0.1:${at.upstream.port}`,
      'user-agent': userAgent,
      authorization: `Bearer ${API_KEY}`,
      'content-type': 'application/json',
      'content-encoding': 'gzip',
      'content-length': '2',
      accept: 'text/event-stream',
      'accept-encoding': 'br',
      'ehbp-encapsulated-key': ENCAPSULATED_KEY,
      'x-tinfoil-request-usage-metrics': 'true',
    })
    const all = JSON.stringify(seen)
    for (const secret of ['client-secret', 'client-agent', 'evil.test', '192.0.2.7', at.token]) {
      expect(all).not.toContain(secret)
    }
  })

  test('and without them there is nothing of the runtime in their place', async () => {
    okWithNonce()
    expect(await send([`Authorization: Bearer ${at.token}`])).toBe(200)
    const [seen] = await reachedUpstream(at)
    expect(namesOf(seen?.rawHeaders ?? [])).toEqual([
      'authorization',
      'content-length',
      'host',
      'user-agent',
      'x-tinfoil-request-usage-metrics',
    ])
  })

  test('a request without a body: the same', async () => {
    okWithNonce()
    const lines = SIXTY_HEADERS.filter(([name]) => name !== 'Expect')
    const bytes = head(
      'GET /v1/models?sixty HTTP/1.1',
      'Host: gate.test',
      `Authorization: Bearer ${at.token}`,
      ...lines.map(([name, value]) => `${name}: ${value}`),
    )
    const [answer] = await exchange(at.gate.port, bytes)
    expect(answer?.status).toBe(200)
    const [seen] = await reachedUpstream(at)
    expect(namesOf(seen?.rawHeaders ?? [])).toEqual(
      PASSING.filter((name) => name !== 'content-length'),
    )
  })
})

test('attack 11: headers that Connection nominates are passed all the same, Connection is not', async () => {
  okWithNonce()
  const status = await send([
    `Authorization: Bearer ${at.token}`,
    `Ehbp-Encapsulated-Key: ${ENCAPSULATED_KEY}`,
    'Content-Type: application/json',
    'Connection: authorization, ehbp-encapsulated-key, x-api-key, content-type, content-length',
  ])
  expect(status).toBe(200)
  const [seen] = await reachedUpstream(at)
  const names = namesOf(seen?.rawHeaders ?? [])
  expect(names.filter((name) => name === 'authorization')).toHaveLength(1)
  expect(names).not.toContain('connection')
  expect(seen?.headers).toMatchObject({
    authorization: `Bearer ${API_KEY}`,
    'ehbp-encapsulated-key': ENCAPSULATED_KEY,
    'content-type': 'application/json',
  })
})

describe('attack 15: of the headers of an upstream, these reach the client', () => {
  const nasty: readonly (readonly [string, string])[] = [
    ['Content-Type', 'application/json'],
    ['Content-Language', 'en'],
    ['Content-Disposition', 'inline'],
    ['Cache-Control', 'no-cache'],
    ['Retry-After', '7'],
    ['Ehbp-Response-Nonce', NONCE],
    ['Set-Cookie', 'a=b'],
    ['Server', 'evil/1.0'],
    ['Via', '1.1 evil'],
    ['X-Powered-By', 'evil'],
    ['Alt-Svc', 'h3="evil.test:443"'],
    ['Strict-Transport-Security', 'max-age=1'],
    ['Access-Control-Allow-Origin', '*'],
    ['Access-Control-Allow-Credentials', 'true'],
    ['WWW-Authenticate', 'Basic realm="evil"'],
    ['Proxy-Authenticate', 'Basic realm="evil"'],
    ['Authentication-Info', 'evil'],
    ['Connection', 'X-Hop, close'],
    ['X-Hop', 'evil'],
    ['Keep-Alive', 'timeout=9999'],
    ['Trailer', 'X-Evil'],
    ['Upgrade', 'h2c'],
    ['Location', 'https://evil.test'],
    ['Refresh', '0;url=https://evil.test'],
    ['Link', '<https://evil.test>; rel=preload'],
    ['Content-Security-Policy', "default-src 'none'"],
    ['Clear-Site-Data', '"*"'],
    ['X-Accel-Redirect', '/etc/passwd'],
    ['X-Sendfile', '/etc/passwd'],
    ['X-Request-Id', 'evil'],
    ['X-Protocol-Version', '9'],
    ['RateLimit', '"evil"'],
    ['X-RateLimit-Limit-Requests', '1'],
    ['Tinfoil-Pt', 'evil'],
    ['X-Tinfoil-Usage-Metrics', 'prompt=1,completion=2,total=3'],
    ['ETag', '"evil"'],
    ['Date', 'Thu, 01 Jan 1970 00:00:00 GMT'],
  ]

  test('and no others, and not twice', async () => {
    const raw = await startRawUpstream()
    const gate = await scene({ env: { TINFOIL_BASE_URL: raw.url } })
    try {
      const lines = nasty.map(([name, value]) => `${name}: ${value}`)
      raw.answer(`${head('HTTP/1.1 200 OK', ...lines, 'Content-Length: 2')}{}`)
      const [answer] = await exchange(
        gate.gate.port,
        head('GET /v1/models HTTP/1.1', 'Host: gate.test', `Authorization: Bearer ${gate.token}`),
      )
      expect(answer?.body).toBe('{}')
      expect(answer?.headers.map(([name]) => name).toSorted()).toEqual([
        'cache-control',
        'content-disposition',
        'content-language',
        'content-length',
        'content-type',
        'date',
        'ehbp-response-nonce',
        'retry-after',
        'x-protocol-version',
        'x-request-id',
      ])
      expect(JSON.stringify(answer?.headers)).not.toContain('evil')
      expect(answer?.header('x-protocol-version')).toBe('1')
      expect(answer?.header('date')).not.toContain('1970')
      const line = await gate.gate.logged(answer?.header('x-request-id') ?? '')
      expect(line).toMatchObject({ input_tokens: 1, output_tokens: 2 })
    } finally {
      await gate.close()
      await raw.close()
    }
  })
})
