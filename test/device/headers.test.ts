// What of a device's request reaches Anthropic and what of the answer comes back: the whole lists,
// from a request and an answer that carry everything (attacks 11, 12 and 15), and bodies to a byte.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import http from 'node:http'
import {
  ANTHROPIC_KEY,
  anthropicScene,
  asked,
  type DeviceScene,
  messages,
} from '../support/anthropic.ts'
import { userAgent } from '../../src/version.ts'
import { seeded } from '../support/random.ts'
import type { Seen } from '../support/upstream.ts'
import { exchange, head } from '../support/wire.ts'

let on: DeviceScene
let token: string
let listed: string
beforeAll(async () => {
  on = await anthropicScene()
  ;[token, listed] = await Promise.all([on.device(), on.device('--models', 'claude-*')])
})
afterAll(() => on.close())
beforeEach(() => {
  on.upstream.seen.length = 0
  on.upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}')
  })
})

/** These pass, as they came. */
const PASSING: readonly (readonly [string, string])[] = [
  ['accept', 'application/json'],
  ['accept-encoding', 'gzip, deflate, br, zstd'],
  ['content-type', 'application/json; charset=utf-8'],
  ['anthropic-version', '2023-06-01'],
  [
    'anthropic-beta',
    'claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,x-1,y-2',
  ],
  ['anthropic-dangerous-direct-browser-access', 'true'],
  ['anthropic-workspace-id', 'wrkspc_01'],
  ['anthropic-client-sha', 'unknown to anybody'],
  ['anthropic-unheard-of-until-now', 'ä=%20;"quoted"'],
  ['x-claude-code-session-id', '0f5c9c4e-0000-4000-8000-000000000000'],
  ['x-claude-code-agent-id', 'agent'],
  ['x-claude-code-parent-agent-id', 'parent'],
  ['x-claude-code-of-tomorrow', '1'],
]

/** These don't. */
const STOPPED = `
accept-charset accept-language age authorization-info baggage cache-control cdn-loop cf-connecting-ip
client-ip cookie cookie2 date device-memory dnt ehbp-encapsulated-key ehbp-response-nonce expires
fastly-client-ip forwarded from if-match if-modified-since if-none-match if-range max-forwards
openai-organization openai-project origin pragma proxy-authorization range referer sec-ch-ua
sec-fetch-mode sec-fetch-site sentry-trace server-timing traceparent tracestate true-client-ip
upgrade-insecure-requests user-agent via x-amz-security-token x-anthropic-version x-api-key-2 x-app
x-client-ip x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-goog-api-key
x-http-method-override x-original-url x-real-ip x-request-id x-rewrite-url x-stainless-arch
x-stainless-helper-method x-stainless-lang x-stainless-os x-stainless-package-version
x-stainless-retry-count x-stainless-runtime x-stainless-timeout x-tinfoil-enclave-url
`
  .trim()
  .split(/\s+/)

describe('to the upstream', () => {
  test('goes this list and no header more, our key in it exactly once', async () => {
    const body = JSON.stringify(asked)
    const [answer] = await exchange(
      on.gate.port,
      head(
        'POST /v1/messages?beta=true HTTP/1.1',
        'Host: gate.test',
        `Content-Length: ${Buffer.byteLength(body)}`,
        `Authorization: Bearer ${token}`,
        `X-Api-Key: sk-ant-proxy-${token}`,
        ...PASSING.map(([name, value]) => `${name}: ${value}`),
        ...STOPPED.map((name) => `${name}: stopped-${name}`),
      ) + body,
    )
    expect(STOPPED.length).toBeGreaterThan(60)
    expect(answer?.status).toBe(200)
    const [seen] = on.upstream.seen
    const pairs = Array.from({ length: (seen?.rawHeaders.length ?? 0) / 2 }, (_, index) => [
      seen?.rawHeaders[2 * index]?.toLowerCase() ?? '',
      seen?.rawHeaders[2 * index + 1] ?? '',
    ])
    const expected = [
      ...PASSING.map(([name, value]) => [name, Buffer.from(value).toString('latin1')]),
      ['x-api-key', ANTHROPIC_KEY],
      ['host', new URL(on.upstream.url).host],
      ['user-agent', userAgent],
      ['content-length', String(Buffer.byteLength(body))],
    ]
    expect(pairs.toSorted()).toEqual(expected.toSorted() as string[][])
    expect(seen?.url).toBe('/v1/messages?beta=true')
    expect(JSON.stringify(seen?.rawHeaders)).not.toContain(token.slice(-20))
    expect(JSON.stringify(seen?.rawHeaders)).not.toContain('stopped-')
  })

  test('headers that Connection names are not removed, and the key stays', async () => {
    const [answer] = await exchange(
      on.gate.port,
      head(
        'POST /v1/messages HTTP/1.1',
        'Host: gate.test',
        'Content-Length: 2',
        'Connection: x-api-key, anthropic-version, anthropic-beta, close',
        'anthropic-beta: a',
        `Authorization: Bearer ${token}`,
      ) + '{}',
    )
    expect(answer?.status).toBe(200)
    const { headers, rawHeaders } = on.upstream.seen[0] as Seen
    expect(headers).toMatchObject({ 'x-api-key': ANTHROPIC_KEY, 'anthropic-beta': 'a' })
    expect(headers['connection']).toBeUndefined()
    expect(rawHeaders.filter((each) => each.toLowerCase() === 'x-api-key')).toHaveLength(1)
  })

  test('the first version, if the client sends none', async () => {
    await fetch(`${on.gate.url}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': token },
      body: '{}',
    })
    expect(on.upstream.seen[0]?.headers['anthropic-version']).toBe('2023-06-01')
  })

  test('a name of a model goes as it stands in the path, and nothing but a name', async () => {
    const ask = (path: string): Promise<Response> =>
      fetch(on.gate.url + path, { headers: { 'x-api-key': token } })
    expect((await ask('/v1/models/claude-opus-4-6?x=1')).status).toBe(200)
    expect((await ask('/v1/models?limit=1000')).status).toBe(200)
    for (const name of [
      '..',
      '.',
      '%2e%2e',
      'a%2fb',
      'a/b',
      'a;b',
      '',
      'a b',
      ':id',
      'x'.repeat(200),
    ])
      expect([name, (await ask(`/v1/models/x/${name}`)).status]).toEqual([name, 404])
    for (const name of ['%2e%2e%2fadmin', 'a%2f', 'a%2fb%2f..', 'a;b', '', ':id', 'x'.repeat(200)])
      expect([name, (await ask(`/v1/models/${name}`)).status]).toEqual([name, 404])
    expect(on.upstream.seen.map(({ url }) => url)).toEqual([
      '/v1/models/claude-opus-4-6?x=1',
      '/v1/models?limit=1000',
    ])
  })
})

describe('from the upstream', () => {
  const COMING = {
    'content-type': 'application/json',
    'cache-control': 'no-cache',
    'request-id': 'req_upstream',
    'retry-after': '7',
    'x-should-retry': 'true',
  }
  const HELD_BACK = {
    'anthropic-organization-id': 'org-of-the-operator',
    'anthropic-ratelimit-requests-limit': '4000',
    'anthropic-ratelimit-requests-remaining': '3999',
    'anthropic-ratelimit-requests-reset': '2030-01-01T00:00:00Z',
    'anthropic-ratelimit-tokens-remaining': '480000',
    'anthropic-ratelimit-input-tokens-limit': '1',
    'anthropic-ratelimit-unified-status': 'allowed',
    'anthropic-ratelimit-unified-reset': '1',
    'anthropic-priority-input-tokens-limit': '1',
    'set-cookie': '_cfuvid=1; HttpOnly',
    server: 'cloudflare',
    via: '1.1 google',
    'cf-ray': '1',
    'cf-cache-status': 'DYNAMIC',
    'strict-transport-security': 'max-age=1',
    'x-envoy-upstream-service-time': '1',
    'x-robots-tag': 'none',
    'access-control-allow-origin': '*',
    'access-control-allow-credentials': 'true',
    'alt-svc': 'h3=":443"',
    'x-request-id': 'of-the-upstream',
    'x-protocol-version': '9',
    'proxy-authenticate': 'Basic',
    'keep-alive': 'timeout=5',
  }
  const answerWith = (status: number): void =>
    on.upstream.respond((_request, response) => {
      response.writeHead(status, { ...COMING, ...HELD_BACK }).end('{}')
    })

  test('comes this list and no header more', async () => {
    answerWith(200)
    const { headers } = await messages(on.gate, token)
    expect(Object.fromEntries(headers)).toEqual({
      ...COMING,
      'content-length': '2',
      date: expect.any(String),
      'x-protocol-version': '1',
      'x-request-id': expect.not.stringMatching('of-the-upstream'),
    } as never)
  })

  test.each([200, 429, 529])("the rate in a %i is the caller's own", async (status) => {
    answerWith(status)
    const { headers } = await messages(on.gate, await on.device('--rate-limit', '5'))
    const rate = [...headers].filter(([name]) => name.startsWith('anthropic-'))
    expect(Object.fromEntries(rate)).toEqual({
      'anthropic-ratelimit-requests-limit': '5',
      'anthropic-ratelimit-requests-remaining': '4',
      'anthropic-ratelimit-requests-reset': expect.stringMatching(/^20\d\d-.*T[\d:]{8}Z$/),
    } as never)
    expect(headers.get('ratelimit-policy')).toBe('"requests";q=5;w=60')
    expect(headers.get('retry-after')).toBe('7')
  })
})

test('a coded answer comes as it is, and is metered all the same', async () => {
  const usage = { input_tokens: 21, output_tokens: 22 }
  const coded = Buffer.from(Bun.gzipSync(JSON.stringify({ type: 'message', usage })))
  on.upstream.respond((_request, response) => {
    const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' }
    response.writeHead(200, headers).end(coded)
  })
  const body = JSON.stringify(asked)
  const [answer] = await exchange(
    on.gate.port,
    head(
      'POST /v1/messages HTTP/1.1',
      'Host: gate.test',
      'Accept-Encoding: gzip',
      'x-request-id: coded-answer',
      `Content-Length: ${body.length}`,
      `x-api-key: ${token}`,
    ) + body,
  )
  expect(answer?.header('content-encoding')).toBe('gzip')
  expect(Buffer.from(answer?.body ?? '', 'latin1').equals(coded)).toBe(true)
  expect(await on.gate.logged('coded-answer')).toMatchObject({
    usage: 'exact',
    input_tokens: 21,
    output_tokens: 22,
  })
})

describe('bodies', () => {
  /** 76 KB of what a re-serialising gate would change. */
  function odd(pick: (count: number) => number): string {
    const parts: string[] = []
    const numbers = ['1.0e2', '-0', '1E+2', '0.10', '1e-7', '12345678901234567890', '1.0']
    const texts = [
      '"é€🐤"',
      '"\\u00e9\\ud83d\\udc24"',
      '"\\/\\b\\f"',
      '""',
      '"\u2028"',
      '"\\ud800"',
    ]
    const spaces = [' ', '\n', '\t', '\r\n', '', '   ']
    const space = (): string => spaces[pick(spaces.length)] ?? ''
    for (let at = 0; parts.join('').length < 76_000; at += 1) {
      const values = Array.from({ length: 60 }, () => {
        const from = pick(2) === 0 ? numbers : texts
        return space() + (from[pick(from.length)] ?? '') + space()
      })
      parts.push(`${space()}"m${at}"${space()}:${space()}[${values.join(',')}]${space()},`)
    }
    return `${space()}{${parts.join('')}"model":"claude-x","max_tokens":7${space()}}${space()}`
  }

  test(
    'pass byte for byte, for a token with limits and for one without',
    seeded(async (random) => {
      for (let round = 0; round < 3; round += 1) {
        const body = odd((count) => random.int(count))
        for (const each of [token, listed]) {
          on.upstream.seen.length = 0
          const path = '/v1/messages?beta=true'
          expect((await messages(on.gate, each, body, {}, path)).status).toBe(200)
          expect(on.upstream.seen[0]?.body.equals(Buffer.from(body))).toBe(true)
          expect(on.upstream.seen[0]?.headers['content-length']).toBe(
            String(Buffer.byteLength(body)),
          )
        }
      }
    }),
  )

  test('a chunked one too, whatever its chunks', async () => {
    const body = odd((count) => count - 1)
    for (const each of [token, listed]) {
      on.upstream.seen.length = 0
      expect(await chunked(each, Buffer.from(body))).toBe(200)
      expect(on.upstream.seen[0]?.body.equals(Buffer.from(body))).toBe(true)
    }
  })

  test('one of 2.5 MB, which the limit of system C would have refused', async () => {
    const body = JSON.stringify({ ...asked, padding: 'x'.repeat(2_500_000) })
    for (const each of [token, listed]) {
      on.upstream.seen.length = 0
      expect((await messages(on.gate, each, body)).status).toBe(200)
      expect(on.upstream.seen[0]?.body.equals(Buffer.from(body))).toBe(true)
    }
  })

  test('a token without a list: nothing is parsed, whatever the body is', async () => {
    const bodies = [
      '{"model":"a","model":"b"}',
      'no json at all \u0000',
      '',
      '{"Model":1}',
      '[[[[',
      Buffer.from([0xff, 0xfe, 0x00]),
    ]
    for (const body of bodies) {
      on.upstream.seen.length = 0
      expect((await messages(on.gate, token, body)).status).toBe(200)
      expect(on.upstream.seen[0]?.body.equals(Buffer.from(body))).toBe(true)
    }
  })

  test('a coded one goes with the name of its coding', async () => {
    const body = Bun.gzipSync(JSON.stringify(asked))
    expect((await messages(on.gate, token, body, { 'content-encoding': 'gzip' })).status).toBe(200)
    expect(on.upstream.seen[0]?.headers['content-encoding']).toBe('gzip')
    expect(on.upstream.seen[0]?.body.equals(Buffer.from(body))).toBe(true)
  })

  function chunked(credential: string, body: Buffer): Promise<number> {
    return new Promise((resolve, reject) => {
      const request = http.request(
        `${on.gate.url}/v1/messages`,
        {
          method: 'POST',
          headers: { 'x-api-key': credential, 'content-type': 'application/json' },
        },
        (response) => {
          response.resume()
          resolve(response.statusCode ?? 0)
        },
      )
      request.on('error', reject)
      for (let at = 0; at < body.length; at += 7919) request.write(body.subarray(at, at + 7919))
      request.end()
    })
  }
})

test('HEAD / and HEAD /api/hello are 200 for anybody, and touch no upstream', async () => {
  const opened = on.upstream.connections.opened
  for (const path of ['/', '/api/hello', '/?x=1']) {
    const response = await fetch(on.gate.url + path, { method: 'HEAD' })
    expect([path, response.status, await response.text()]).toEqual([path, 200, ''])
  }
  expect(on.upstream.seen).toEqual([])
  expect(on.upstream.connections.opened).toBe(opened)
})
