import { cpuMs } from '../support/cost.ts'
import { describe, expect, test } from 'bun:test'
import { bearerToken } from '../../src/admit/bearer.ts'

describe('takes', () => {
  for (const header of ['Bearer a.b.c', 'bearer a.b.c', 'BEARER a.b.c', 'BeArEr    a.b.c']) {
    test(header, () => expect(bearerToken(header, '')).toEqual({ ok: true, value: 'a.b.c' }))
  }
})

describe('refuses', () => {
  for (const [header, code] of [
    [null, 'missing_authorization'],
    ['', 'malformed_authorization'],
    ['Bearer', 'missing_token'],
    ['Bearer ', 'missing_token'],
    ['bearer    ', 'missing_token'],
    ['Bearera.b.c', 'malformed_authorization'],
    ['Bearer\ta.b.c', 'malformed_authorization'],
    ['a.b.c', 'malformed_authorization'],
    ['Basic dXNlcjpwYXNz', 'malformed_authorization'],
    ['DPoP a.b.c', 'malformed_authorization'],
    ['Token a.b.c', 'malformed_authorization'],
    [' Bearer a.b.c', 'malformed_authorization'],
    ['Bearer a.b.c ', 'malformed_authorization'],
    ['Bearer a.b.c\n', 'malformed_authorization'],
    ['Bearer a.b.c\r\nX: y', 'malformed_authorization'],
    ['Bearer a.b.c\0', 'malformed_authorization'],
    ['Bearer a b', 'malformed_authorization'],
    ['Bearer "a.b.c"', 'malformed_authorization'],
    ['Bearer =a', 'malformed_authorization'],
    ['Bearer Bearer a.b.c', 'malformed_authorization'],
    ['\u212Aearer a', 'malformed_authorization'],
    ['Bearer a.b.c, Bearer d.e.f', 'ambiguous_credentials'],
    ['Bearer a.b.c,', 'ambiguous_credentials'],
    ['Basic dTpw, Bearer a.b.c', 'ambiguous_credentials'],
    ['Digest username="x", realm="y"', 'malformed_authorization'],
  ] as const) {
    test(`${JSON.stringify(header)}: ${code}`, () => {
      expect(bearerToken(header, '')).toMatchObject({ ok: false, code })
    })
  }
})

test('a token in the query is refused, with or without a valid header', () => {
  for (const query of [
    'access_token=a.b.c',
    'access_token',
    'x=1&access_token=a.b.c',
    'access%5Ftoken=a.b.c',
    '%61ccess_token=',
    'access_token=a&access_token=b',
  ]) {
    for (const header of [null, 'Bearer a.b.c']) {
      const said = bearerToken(header, query)
      expect(said).toEqual({
        ok: false,
        code: 'malformed_authorization',
        reason: 'token in the query',
      })
    }
  }
})

test('other members of the query are ignored', () => {
  expect(bearerToken('Bearer a', 'x=access_token&my_access_token=1').ok).toBe(true)
})

test('a header of a megabyte is refused at once', async () => {
  const headers = [`Bearer ${'='.repeat(1e6)}`, `Bearer ${' '.repeat(1e6)}!`, 'a'.repeat(1e6)]
  const took = await cpuMs(() => {
    for (const header of headers) expect(bearerToken(header, '').ok).toBe(false)
  })
  expect(took).toBeLessThan(500)
})
