// The upstream of the one who has signed in: what goes out, what comes back, and what a refusal of
// the API's says to them.

import { describe, expect, test } from 'bun:test'
import { granted } from '../../src/refusal.ts'
import { destinationOf } from '../../src/http1/destination.ts'
import { anthropicOAuth } from '../../src/upstream/anthropic/oauth.ts'

const TOKEN = 'at-canary-Zm9vYmFyYmF6cXV4Y29ycmVjdGhvcnNl'
const oauth = (base = 'https://api.example') =>
  anthropicOAuth({
    baseUrl: new URL(base),
    accessToken: async () => granted(TOKEN),
    maxBodyBytes: 1_048_576,
  })
const sent = (headers: Readonly<Record<string, string>> | Headers = {}): Record<string, string> =>
  oauth().requestHeaders(new Headers(headers), TOKEN)

describe('the request', () => {
  test('is the token, the version and the beta, and no more', () => {
    expect(sent()).toEqual({
      'anthropic-version': '2023-06-01',
      'anthropic-beta': 'oauth-2025-04-20',
      authorization: `Bearer ${TOKEN}`,
    })
  })
  test("has the caller's headers for the request, and no credential, name or origin", () => {
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

describe('the response', () => {
  test('has the headers of the answer and the account, and no others', () => {
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
      oauth().meter({ method, path, search: '', sealed: false }, 200, {}).end({}, true)?.state
    expect(used('POST', '/v1/messages/batches')).toBeUndefined()
    expect(used('GET', '/v1/messages/batches')).toBe('exact')
    expect(used('DELETE', '/v1/files/file_1')).toBe('exact')
  })
})

describe('a refusal of the API', () => {
  const told = (status: number, body: string): unknown => {
    const refusal = oauth().credentialRefused(status, Buffer.from(body).toString('latin1'))
    return refusal && [refusal.code, refusal.message]
  }
  const error = (message: unknown): string =>
    JSON.stringify({ type: 'error', error: { type: 'permission_error', message } })

  test('401 is the end of the sign-in, in our words', () => {
    const refusal = oauth().credentialRefused(401, error('OAuth token has expired'))
    expect(refusal?.code).toBe('session_ended')
    expect(refusal?.message).toContain('/auth/device')
    expect(refusal?.message).not.toContain('expired')
  })
  test("a 403 has the API's own message, whatever it is about: the account is the caller's own", () => {
    for (const words of ['Your plan does not include this model – ask.', 'Token revoked.']) {
      expect(told(403, error(words))).toEqual(['upstream_forbidden', words])
    }
  })
  test('403 that is no error in words, or too long: not a word', () => {
    for (const body of [
      '<html>forbidden</html>',
      '',
      'null',
      '[]',
      error(7),
      error(''),
      error('two\nlines'),
      error('turned\u202eround'),
      error('x'.repeat(2001)),
    ]) {
      expect(told(403, body)).toEqual(['upstream_forbidden', undefined])
    }
  })
  test('every other error passes', () => {
    for (const status of [400, 404, 429, 500, 529]) expect(told(status, '')).toBeUndefined()
  })
})
