// The upstream of the one who has signed in: what goes out, what comes back, and what a refusal of
// the API's says to them.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { granted } from '../../src/refusal.ts'
import { anthropicOAuth } from '../../src/upstream/anthropic-oauth.ts'
import { destinationOf } from '../../src/upstream/places.ts'
import { transport } from '../../src/upstream/transport.ts'
import { random } from '../support/random.ts'
import { type Respond, startUpstream, type Upstream } from '../support/upstream.ts'

const TOKEN = 'at-canary-Zm9vYmFyYmF6cXV4Y29ycmVjdGhvcnNl'
const oauth = (base = 'https://api.example') =>
  anthropicOAuth({ baseUrl: new URL(base), accessToken: async () => granted(TOKEN) })
const sent = (headers: Readonly<Record<string, string>> | Headers = {}): Record<string, string> =>
  oauth().requestHeaders(new Headers(headers), TOKEN)

describe('what goes out', () => {
  test('is the token, the version and the beta, and no more', () => {
    expect(sent()).toEqual({
      'anthropic-version': '2023-06-01',
      'anthropic-beta': 'oauth-2025-04-20',
      authorization: `Bearer ${TOKEN}`,
    })
  })
  test('of the caller is what belongs to the request, and no credential, name or origin', () => {
    const headers = sent({
      authorization: 'Bearer pst_key',
      'x-api-key': 'pst_key',
      cookie: 'postern_session=pst_key',
      'user-agent': 'Claude Code/1.0',
      origin: 'https://page.example',
      referer: 'https://page.example/',
      'x-forwarded-for': '10.0.0.1',
      'x-app': 'cli',
      'x-stainless-lang': 'js',
      'anthropic-version': '2099-01-01',
      'x-claude-code-session-id': 's1',
      'content-type': 'application/json',
    })
    expect(headers).toEqual({
      authorization: `Bearer ${TOKEN}`,
      'anthropic-version': '2099-01-01',
      'anthropic-beta': 'oauth-2025-04-20',
      'x-claude-code-session-id': 's1',
      'content-type': 'application/json',
    })
    expect(Object.keys(headers).at(-1)).toBe('authorization')
  })
  test.each([
    ['', 'oauth-2025-04-20'],
    [' ', 'oauth-2025-04-20'],
    ['b,a', 'b,a,oauth-2025-04-20'],
    ['b, a ,b', 'b, a ,b,oauth-2025-04-20'],
    ['oauth-2025-04-20', 'oauth-2025-04-20'],
    ['b, oauth-2025-04-20 ,a', 'b, oauth-2025-04-20 ,a'],
    ['oauth-2025-04-200', 'oauth-2025-04-200,oauth-2025-04-20'],
  ])('anthropic-beta: %p is %p', (given, expected) => {
    expect(sent({ 'anthropic-beta': given })['anthropic-beta']).toBe(expected)
  })
  test('two anthropic-beta headers keep their order', () => {
    const headers = new Headers([
      ['anthropic-beta', 'z'],
      ['anthropic-beta', 'a'],
    ])
    expect(sent(headers)['anthropic-beta']).toBe('z, a,oauth-2025-04-20')
  })
  test('never goes without a token', () => {
    expect(() => oauth().requestHeaders(new Headers())).toThrow()
  })
  test('goes below the path of the base', async () => {
    const asked = { method: 'POST', path: '/v1/messages', search: '?beta=true', sealed: false }
    const to = await oauth('https://api.example/anthropic/').destination(asked, 0)
    expect(to).toEqual(
      granted(destinationOf(new URL('https://api.example/anthropic/v1/messages?beta=true'))),
    )
  })
})

describe('what comes back', () => {
  test('is of the answer and of the account, and of nobody else', () => {
    const to = new Headers({ 'anthropic-ratelimit-requests-limit': '10' })
    oauth().answerHeaders(
      {
        'content-type': 'application/json',
        'content-disposition': 'attachment; filename="a"',
        'retry-after': '7',
        'request-id': 'req_1',
        'anthropic-ratelimit-requests-limit': '4000',
        'anthropic-ratelimit-unified-status': 'allowed',
        'anthropic-ratelimit-unified-reset': 'x'.repeat(65),
        'anthropic-organization-id': 'org',
        'set-cookie': 'a=b',
        server: 'x',
        'access-control-allow-origin': '*',
      },
      to,
    )
    expect(Object.fromEntries(to)).toEqual({
      'content-type': 'application/json',
      'content-disposition': 'attachment; filename="a"',
      'retry-after': '7',
      'request-id': 'req_1',
      'anthropic-ratelimit-requests-limit': '10',
      'anthropic-ratelimit-unified-status': 'allowed',
    })
  })
  test('of usage: batches say nothing when they start, and a deletion uses nothing', () => {
    const used = (method: string, path: string): unknown =>
      oauth().meter({ method, path, search: '', sealed: false }, 200, {}).end({})?.state
    expect(used('POST', '/v1/messages/batches')).toBeUndefined()
    expect(used('GET', '/v1/messages/batches')).toBe('exact')
    expect(used('DELETE', '/v1/files/file_1')).toBe('exact')
  })
})

describe('a refusal of the API', () => {
  let upstream: Upstream
  const wire = transport()
  beforeAll(async () => {
    upstream = await startUpstream()
  })
  afterAll(async () => {
    wire.close()
    await upstream.close()
  })

  const headers = { authorization: `Bearer ${TOKEN}` }
  async function denied(respond: Respond) {
    upstream.respond(respond)
    const flight = wire.send(
      { method: 'GET', to: destinationOf(new URL(upstream.url)), headers, body: undefined },
      { connectMs: 2000, headersMs: 2000, bodyMs: 2000 },
    )
    const head = await flight.head
    if (!head.ok) throw new Error(head.reason)
    const refusal = await oauth().denied?.(head, headers)
    flight.cancel()
    return [refusal?.code, refusal?.message]
  }
  const says =
    (status: number, body: string | Uint8Array, more: Record<string, string> = {}): Respond =>
    (_request, response) =>
      void response.writeHead(status, { 'content-type': 'application/json', ...more }).end(body)
  const error = (message: unknown): string =>
    JSON.stringify({ type: 'error', error: { type: 'permission_error', message } })

  test('401 is the end of the sign-in, in our words', async () => {
    const [code, message] = await denied(says(401, error('OAuth token has expired')))
    expect(code).toBe('session_ended')
    expect(message).toContain('/auth/device')
    expect(message).not.toContain('expired')
  })

  const WORDS = 'Your plan does not include this model – ask your organisation.'
  for (const [coding, encode] of [
    ['identity', (text: string) => Buffer.from(text)],
    ['gzip', (text: string) => gzipSync(text)],
    ['br', (text: string) => brotliCompressSync(text)],
    ['zstd', (text: string) => zstdCompressSync(text)],
  ] as const) {
    test(`403 in ${coding} is told in the API's own words`, async () => {
      const body = encode(error(WORDS))
      expect(await denied(says(403, body, { 'content-encoding': coding }))).toEqual([
        'upstream_forbidden',
        WORDS,
      ])
    })
  }

  test('403 with the token, or a part of it, or escaped, or in another coding: not a word', async () => {
    const { int } = random(7)
    const at = int(TOKEN.length - 16)
    const escaped = [...TOKEN].map(
      (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`,
    )
    for (const body of [
      error(`token ${TOKEN} is not allowed`),
      error(`token ${TOKEN.slice(at, at + 16)}… is not allowed`),
      error('x').replace('"x"', `"token ${escaped.join('')}"`),
    ]) {
      expect(await denied(says(403, body))).toEqual(['upstream_forbidden', undefined])
      const encoded = says(403, gzipSync(body), { 'content-encoding': 'gzip' })
      expect(await denied(encoded)).toEqual(['upstream_forbidden', undefined])
    }
  })

  test('403 that is no error in words, too long, cut or of an unknown coding: not a word', async () => {
    for (const respond of [
      says(403, '<html>forbidden</html>', { 'content-type': 'text/html' }),
      says(403, ''),
      says(403, 'null'),
      says(403, error(7)),
      says(403, error('')),
      says(403, error('two\nlines')),
      says(403, error('turned\u202eround')),
      says(403, error('x'.repeat(2001))),
      says(403, ' '.repeat(16_385) + error('late')),
      says(403, gzipSync('x'.repeat(10_000_000)), { 'content-encoding': 'gzip' }),
      says(403, error('odd'), { 'content-encoding': 'aws-chunked' }),
      ((_request, response) => {
        response.writeHead(403, { 'content-length': '500' }).write(error('cut'))
        setTimeout(() => response.destroy(), 20)
      }) satisfies Respond,
    ]) {
      expect(await denied(respond)).toEqual(['upstream_forbidden', undefined])
    }
  })
})
