// The one credential of a request, in whichever header it came, and what it is by its form.

import { describe, expect, test } from 'bun:test'
import { kindOfToken, sentAuthorization } from '../../src/admit/credentials.ts'
import { makeKey } from '../../src/keys/format.ts'
import { label, named } from '../support/named.ts'

const sent = (headers: Record<string, string>, query = ''): unknown => {
  const found = sentAuthorization(new Headers(headers), query)
  return found === null || typeof found === 'string' ? found : found.code
}

describe('the credential that was sent', () => {
  test.each([
    [{}, null],
    [{ authorization: 'Bearer a' }, 'Bearer a'],
    [{ authorization: 'Basic a' }, 'Basic a'],
    [{ 'x-api-key': 'a' }, 'Bearer a'],
    [{ 'api-key': 'a' }, 'Bearer a'],
    [{ 'x-api-key': '' }, 'Bearer '],
    [{ authorization: 'Bearer a', 'x-api-key': 'a' }, 'Bearer a'],
    [{ authorization: 'bearer a', 'api-key': 'sk-ant-proxy-a' }, 'Bearer sk-ant-proxy-a'],
    [{ authorization: 'Bearer a', 'x-api-key': 'a', 'api-key': 'a' }, 'Bearer a'],
    [{ authorization: 'Bearer a', 'x-api-key': 'b' }, 'ambiguous_credentials'],
    [{ authorization: 'Bearer a', 'api-key': 'b' }, 'ambiguous_credentials'],
    [{ 'x-api-key': 'a', 'api-key': 'b' }, 'ambiguous_credentials'],
    [{ authorization: 'Bearer a', 'x-api-key': 'a', 'api-key': 'b' }, 'ambiguous_credentials'],
    [{ authorization: 'Basic a', 'x-api-key': 'a' }, 'malformed_authorization'],
    [{ authorization: 'Bearer a', 'x-api-key': '' }, 'missing_token'],
    [{ authorization: 'Bearer a', 'x-api-key': 'a, b' }, 'ambiguous_credentials'],
  ] as const)('%p is %p', (headers, expected) => {
    expect(sent(headers)).toBe(expected)
  })
  test("a user's token of 16 KiB is one credential in both headers, and two if one byte differs", () => {
    const token = `e30.${'a'.repeat(16_000)}.e30`
    const twice = { authorization: `Bearer ${token}`, 'x-api-key': token }
    expect(sent(twice)).toBe(`Bearer ${token}`)
    expect(sent({ ...twice, authorization: `Bearer ${token}0` })).toBe('ambiguous_credentials')
  })
  test('a token in the query is reported before two different credentials', () => {
    const headers = { authorization: 'Bearer a', 'x-api-key': 'b' }
    expect(sent(headers, 'access_token=x')).toBe('malformed_authorization')
  })
})

describe('its kind', () => {
  const jwt = (header: object): string =>
    `${Buffer.from(JSON.stringify(header)).toString('base64url')}.e30.e30`
  const device = jwt({ alg: 'HS256', typ: 'postern-device+jwt' })

  test.each(
    named(
      [
        [makeKey(), 'key'],
        [`sk-ant-proxy-${makeKey()}`, 'key'],
        ['pk_', 'key'],
        ['pst_a.b', 'session'],
        [device, 'device'],
        [`sk-ant-proxy-${device}`, 'device'],
        [jwt({ alg: 'ES256', typ: 'at+jwt' }), 'user'],
        [jwt({ alg: 'ES256' }), 'user'],
        [jwt({ typ: ['postern-device+jwt'] }), 'user'],
        [`${jwt({ alg: 'RS256' }).split('.', 1)[0]}.${'a'.repeat(16_000)}.e30`, 'user'],
        ['nonsense', undefined],
        ['', undefined],
        ['.a.b', undefined],
        ['e30', undefined],
        ['!!!.e30.e30', undefined],
        [`${'a'.repeat(3000)}.e30.e30`, undefined],
        ['a'.repeat(100_000), undefined],
      ] as const,
      (token, kind) => `of ${label(token)} is ${kind}`,
    ),
  )('%s', (_, token, expected) => {
    // The second time it is remembered.
    for (const _ of [1, 2]) expect(kindOfToken(token)).toBe(expected)
  })
  test('is found for a thousand headers, and none is kept forever', () => {
    for (let each = 0; each < 1000; each += 1) {
      expect(kindOfToken(jwt({ kid: String(each) }))).toBe('user')
    }
    expect(kindOfToken(device)).toBe('device')
  })
})
