// Who has signed in: a session's key in a header, or a browser's cookie where it is our own page
// that asks.

import { describe, expect, test } from 'bun:test'
import { asksFromElsewhere, knownHost } from '../../src/accept/login/guard.ts'
import { loginCookies } from '../../src/accept/login/cookies.ts'
import { identifier } from '../../src/token/identity.ts'
import { sessionAdmission } from '../../src/admit/session.ts'
import { Secret } from '../../src/secret.ts'
import { granted, refused } from '../../src/refusal.ts'
import { EVERYTHING } from '../support/admitted.ts'

const KEY = 'pst_good.signature'
const OTHER = 'pst_other.signature'
const HOST = { host: '127.0.0.1:4001' }
const identify = identifier(new Secret('ab'.repeat(32)))
const cookies = loginCookies({ secure: false, returnsHere: false })
const admit = sessionAdmission({
  find: (key) => (key === KEY ? granted({ id: 'id-1' }) : refused('session_invalid')),
  cookie: (headers) => cookies.session(headers.get('cookie')),
  ownPage: (headers) => knownHost(headers.get('host'), []).ok && !asksFromElsewhere(headers, []),
  identify,
  policy: EVERYTHING,
})
const said = (headers: Record<string, string>, query = ''): string => {
  const decision = admit(new Headers({ ...HOST, ...headers }), query)
  return decision.ok ? decision.value.identity : decision.code
}
const ADMITTED = identify('session', 'id-1')

describe('a key', () => {
  test('comes as x-api-key or Bearer, or as both', () => {
    expect(said({ 'x-api-key': KEY })).toBe(ADMITTED)
    expect(said({ authorization: `Bearer ${KEY}` })).toBe(ADMITTED)
    expect(said({ authorization: `bearer ${KEY}`, 'x-api-key': KEY })).toBe(ADMITTED)
  })
  test('that differs between the two is ambiguous, in whichever order', () => {
    expect(said({ authorization: `Bearer ${KEY}`, 'x-api-key': OTHER })).toBe(
      'ambiguous_credentials',
    )
    expect(said({ authorization: `Bearer ${OTHER}`, 'x-api-key': KEY })).toBe(
      'ambiguous_credentials',
    )
    expect(said({ 'x-api-key': `${KEY}, ${KEY}` })).toBe('ambiguous_credentials')
    expect(said({ authorization: `Basic ${KEY}`, 'x-api-key': KEY })).toBe(
      'malformed_authorization',
    )
  })
  test('that is unknown is session_invalid, even with a valid cookie', () => {
    expect(said({ 'x-api-key': OTHER })).toBe('session_invalid')
    expect(said({ 'x-api-key': OTHER, cookie: `postern_session=${KEY}` })).toBe('session_invalid')
    expect(said({ 'x-api-key': '', cookie: `postern_session=${KEY}` })).toBe('missing_token')
  })
  test('is never taken from the query', () => {
    expect(said({}, `x-api-key=${KEY}`)).toBe('missing_authorization')
    expect(said({}, `access_token=${KEY}`)).toBe('malformed_authorization')
    expect(said({ 'x-api-key': KEY }, 'access_token=x')).toBe('malformed_authorization')
    expect(said({ cookie: `postern_session=${KEY}` }, 'access_token=x')).toBe(
      'malformed_authorization',
    )
  })
  test('counts wherever it is sent from: no browser adds it by itself', () => {
    expect(said({ 'x-api-key': KEY, origin: 'https://page.example' })).toBe(ADMITTED)
  })
})

describe('a cookie', () => {
  const cookie = `postern_session=${KEY}`
  test('counts without Origin and Sec-Fetch-Site, and from our own page', () => {
    expect(said({ cookie })).toBe(ADMITTED)
    expect(said({ cookie: `a=b; ${cookie}; c=d` })).toBe(ADMITTED)
    expect(said({ cookie, origin: 'http://127.0.0.1:4001' })).toBe(ADMITTED)
    expect(said({ cookie, 'sec-fetch-site': 'same-origin' })).toBe(ADMITTED)
    expect(said({ cookie, 'sec-fetch-site': 'none' })).toBe(ADMITTED)
  })
  test.each([
    [{ 'sec-fetch-site': 'cross-site' }],
    [{ 'sec-fetch-site': 'same-site' }],
    [{ 'sec-fetch-site': '' }],
    [{ origin: 'https://page.example' }],
    [{ origin: 'http://127.0.0.1:3000' }],
    [{ origin: 'http://localhost:4001' }],
    [{ origin: 'null' }],
    [{ origin: 'http://127.0.0.1:4001', 'sec-fetch-site': 'same-site' }],
    [{ host: 'rebound.example:4001' }],
    [{ host: 'rebound.example:4001', origin: 'http://rebound.example:4001' }],
  ])('does not count with %p', (headers: Record<string, string>) => {
    expect(said({ cookie, ...headers })).toBe('missing_authorization')
  })
  test('does not count twice, empty, or under another name', () => {
    expect(said({ cookie: `${cookie}; ${cookie}` })).toBe('missing_authorization')
    expect(said({ cookie: 'postern_session=' })).toBe('missing_authorization')
    expect(said({ cookie: `Postern_session=${KEY}` })).toBe('missing_authorization')
    expect(said({ cookie: `postern_session=${OTHER}` })).toBe('session_invalid')
  })
})

test('a request without a credential learns where to sign in', () => {
  const decision = admit(new Headers(HOST), '')
  expect(decision.ok).toBe(false)
  if (!decision.ok) expect(decision.message).toContain('/auth/device')
})
