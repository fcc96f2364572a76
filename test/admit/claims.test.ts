// What a token with a right signature must say. `now` is an argument, so that no test waits.

import { describe, expect, test } from 'bun:test'
import { checkClaims } from '../../src/admit/claims.ts'
import { issuerOf } from '../../src/admit/issuer-settings.ts'
import {
  AUDIENCE,
  goodClaims,
  ISSUER,
  type Json,
  NOW,
  SETTINGS,
  wrongClaims,
} from '../support/mint.ts'

const UNKNOWN = { ok: false, code: 'unknown_kid' } as const
const { rules } = issuerOf(SETTINGS, { current: () => undefined, lookup: async () => UNKNOWN })
const check = (claims: Json, now = NOW) => checkClaims({ ...goodClaims(), ...claims }, rules, now)

test('an organisation is the text of the configured claim; without the claim there is none', () => {
  const keys = { current: () => undefined, lookup: async () => UNKNOWN }
  const named = issuerOf({ ...SETTINGS, organisationClaim: 'o.id' }, keys).rules
  const of = (claims: Json, by = named): unknown => {
    const checked = checkClaims({ ...goodClaims(), ...claims }, by, NOW)
    return checked.ok ? checked.value.organisation : checked.reason
  }
  expect(of({ o: { id: 'acme' } })).toBe('acme')
  expect(of({ o: {} })).toBeUndefined()
  expect(of({ o: { id: 'acme' } }, rules)).toBeUndefined()
  for (const id of ['', ' acme', 'ac\nme', 'é', 'a'.repeat(201), 7, null, ['acme'], {}]) {
    expect(of({ o: { id } })).toBe('the organisation is not 1 to 200 ASCII characters')
  }
})

test('good claims become issuer, subject, expiry and scopes', () => {
  expect(check({ scope: 'openid  inference email' })).toEqual({
    ok: true,
    value: {
      issuer: ISSUER,
      subject: 'user-1',
      expiresAt: NOW + 900,
      scopes: new Set(['openid', 'inference', 'email']),
      groups: [],
      organisation: undefined,
    },
  })
})

describe('refuses', () => {
  for (const [name, claims] of wrongClaims) {
    test(name, () => {
      const checked = check(claims)
      expect(checked).toMatchObject({ ok: false, expired: false })
    })
  }
  test('an exp of 1e400, which JSON reads as infinite', () => {
    expect(check(JSON.parse('{"exp":1e400}'))).toMatchObject({ ok: false, expired: false })
    expect(check({ exp: Number.NaN })).toMatchObject({ ok: false, expired: false })
  })
})

describe('takes', () => {
  for (const [name, claims] of [
    ['aud in an array of one', { aud: [AUDIENCE] }],
    ['aud among others', { aud: ['x', AUDIENCE] }],
    ['the second audience of the settings', { aud: 'other-gate' }],
    ['no iat and no nbf', { iat: undefined, nbf: undefined }],
    ['iat 60 s ahead', { iat: NOW + 60 }],
    ['nbf 60 s ahead', { nbf: NOW + 60 }],
    ['dates with fractions', { exp: NOW + 0.5, iat: NOW - 0.5 }],
    ['exp a year ahead', { exp: NOW + 365 * 86_400 }],
    ['a subject of 1024 bytes', { sub: 'é'.repeat(512) }],
    ['no scope, which the route then refuses', { scope: undefined }],
  ] as const) {
    test(name, () => expect(check(claims).ok).toBe(true))
  }
})

test('60 s past its exp a token still passes, 61 s past it has expired', () => {
  const exp = NOW + 900
  expect(check({}, exp).ok).toBe(true)
  expect(check({}, exp + 60).ok).toBe(true)
  expect(check({}, exp + 60.001)).toEqual({ ok: false, expired: true, reason: 'exp is past' })
  expect(check({}, exp + 61)).toMatchObject({ ok: false, expired: true })
})

test('exp 0 is a date, and long past', () => {
  expect(check({ exp: 0 })).toMatchObject({ ok: false, expired: true })
})

test('an expired token of another issuer or audience is refused for that, not for its expiry', () => {
  expect(check({ exp: NOW - 500, iss: 'x' })).toMatchObject({ expired: false })
  expect(check({ exp: NOW - 500, aud: 'x' })).toMatchObject({ expired: false })
})

test('scopes are whole words: no prefix, no suffix, no other case, no other separator', () => {
  for (const scope of [
    'inference2',
    'xinference',
    'Inference',
    'inference,admin',
    'inference:read',
    '',
  ]) {
    const checked = check({ scope })
    expect(checked.ok && checked.value.scopes.has('inference')).toBe(false)
  }
})
