// The form of a token, attack by attack. The signatures here are right wherever that helps the
// attacker: what is refused is refused unread.

import { describe, expect, test } from 'bun:test'
import { MAX_TOKEN_BYTES } from '../../src/token/compact.ts'
import { parseToken } from '../../src/admit/token.ts'
import { attacks, base64url, goodClaims, mint } from '../support/mint.ts'
import { seeded } from '../support/random.ts'

const by = mint('key-1')
/** Their form is right; the signature or the key set refuses them, see admit.test.ts. */
const WELL_FORMED = new Set([
  // As long as ES256's: the type of the key refuses it.
  'alg EdDSA',
  'r = s = 0',
  'r = 0',
  's = 0',
  'r = s = n',
  'all bits set',
  'kid __proto__',
  'kid constructor',
  'a kid that is a path',
  'claims in the prototype',
])

test('a good token gives its kid and its claims', () => {
  expect(parseToken(by.token())).toEqual({
    ok: true,
    value: { kid: 'key-1', alg: 'ES256', signatureBytes: 64, claims: goodClaims() },
  })
})

describe('refuses, unread,', () => {
  for (const [name, token] of attacks(by)) {
    if (WELL_FORMED.has(name)) continue
    test(name, () => expect(parseToken(token).ok).toBe(false))
  }
})

test('leaves forgeries to the check of the signature', () => {
  const corpus = new Map(attacks(by))
  for (const name of WELL_FORMED)
    expect(parseToken(corpus.get(name) ?? '')).toHaveProperty('ok', true)
})

test('each attack is refused for its own reason', () => {
  const corpus = new Map(attacks(by))
  const reason = (name: string): unknown =>
    parseToken(corpus.get(name) ?? '!').ok || parseToken(corpus.get(name) ?? '!')
  const because = {
    'alg "none" with a signature': 'alg is not one that is taken',
    'alg null': 'alg is not one that is taken',
    crit: 'header has crit',
    'b64 true': 'header has b64',
    jwk: 'header has jwk',
    jku: 'header has jku',
    x5u: 'header has x5u',
    x5c: 'header has x5c',
    'typ dpop+jwt': 'typ is that of another kind of token',
    'no kid': 'kid is missing',
    'two segments': 'not three segments',
    'four segments': 'not three segments',
    'five segments': 'not three segments',
    'an unused bit of the signature': 'not canonical base64url',
    'an unused bit of the claims, signed': 'not canonical base64url',
    'base64 instead of base64url, signed': 'not canonical base64url',
    'padded claims, signed': 'not canonical base64url',
    'a DER signature': 'signature is not 64 bytes',
    'a doubled sub behind an escape': 'claims are not an object with distinct members',
    'a doubled alg': 'header is not an object with distinct members',
    'claims that are not UTF-8': 'claims are not an object with distinct members',
    'longer than 16 KiB': 'too long',
  }
  for (const [name, text] of Object.entries(because)) {
    expect([name, reason(name)]).toEqual([name, { ok: false, reason: text }])
  }
})

test("no reason repeats the token's content", () => {
  for (const [, token] of attacks(mint('kid-canary'))) {
    expect(JSON.stringify({ ...parseToken(token), value: '' })).not.toContain('canary')
  }
})

test('typ may be absent, JWT or at+jwt in any case', () => {
  for (const typ of [undefined, 'JWT', 'jwt', 'at+jwt', 'AT+JWT', 'application/at+jwt']) {
    expect(parseToken(by.token({}, { typ })).ok).toBe(true)
  }
})

test("a token's header is its own, whichever token was read before it", () => {
  const others = ['key-2', 'key-3'].map((kid) => mint(kid))
  for (const each of [by, ...others, by, by, ...others]) {
    expect(parseToken(each.token())).toHaveProperty('value.kid', each.kid)
    for (const alg of ['none', 'HS256']) {
      const wrong = each.token({}, { alg })
      for (const said of [parseToken(wrong), parseToken(wrong)]) {
        expect(said).toEqual({ ok: false, reason: 'alg is not one that is taken' })
      }
    }
  }
})

test('16,384 bytes are read, 16,385 are not', () => {
  // Three bytes are four characters: some lengths need a letter more in the other segment.
  const ofLength = (length: number): string => {
    for (let letters = 0; letters < 4; letters += 1) {
      const header = { kid: 'k'.repeat(1 + letters) }
      const bytes = Math.floor(((length - by.token({ pad: '' }, header).length) * 3) / 4)
      for (let more = -2; more <= 2; more += 1) {
        const token = by.token({ pad: 'x'.repeat(bytes + more) }, header)
        if (token.length === length) return token
      }
    }
    throw new Error(`no token of ${length}`)
  }
  expect(parseToken(ofLength(MAX_TOKEN_BYTES)).ok).toBe(true)
  expect(parseToken(ofLength(MAX_TOKEN_BYTES + 1))).toEqual({ ok: false, reason: 'too long' })
})

test('members of a prototype are members like any other', () => {
  const parsed = parseToken(by.signed(JSON.stringify(by.header), '{"__proto__":{"sub":"x"},"a":1}'))
  if (!parsed.ok) throw new Error(parsed.reason)
  expect(parsed.value.claims['sub']).toBeUndefined()
  expect(Object.getPrototypeOf(parsed.value.claims)).toBe(Object.prototype)
  expect(({} as Record<string, unknown>)['sub']).toBeUndefined()
})

test('brackets nested as deep as 16 KiB allow are read or refused, and never thrown over', () => {
  const parsed = (depth: number) => {
    const nested = `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`
    return parseToken(by.signed(JSON.stringify(by.header), nested))
  }
  expect([parsed(10).ok, parsed(1000).ok]).toEqual([true, true])
  // How much of the stack is left decides.
  expect(() => parsed(6000)).not.toThrow()
})

test(
  'random bytes in three segments are refused without a throw',
  seeded(({ int }) => {
    for (let round = 0; round < 2000; round += 1) {
      const bytes = (): Buffer => Buffer.from(Array.from({ length: int(80) }, () => int(256)))
      expect(parseToken([bytes(), bytes(), bytes()].map(base64url).join('.')).ok).toBe(false)
    }
  }),
)
