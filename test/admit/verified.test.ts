// The memory for verified tokens: what it forgets, and when.

import { expect, test } from 'bun:test'
import type { KeySource, VerifyKey } from '../../src/admit/jwks.ts'
import { refused } from '../../src/refusal.ts'
import { type Verified, verifiedTokens } from '../../src/admit/verified.ts'
import { NOW } from '../support/mint.ts'

const key = (kid: string): VerifyKey => ({ kid, keys: [], print: `${kid}.y` })

/** A key set that the test turns over by hand. */
function keySet(...held: VerifyKey[]): KeySource & { hold(...keys: VerifyKey[]): void } {
  let now = held
  return {
    hold: (...keys) => {
      now = keys
    },
    ready: () => true,
    current: (kid) => now.find((each) => each.kid === kid),
    lookup: async () => ({ ok: false, code: 'unknown_kid' }),
    start: () => {},
    stop: () => {},
  }
}
const at = (epochSeconds: number) => ({ epochSeconds, monotonicMs: 0 })
const decision = refused('insufficient_scope')
const verified = (by: VerifyKey, keys: KeySource): Verified => ({
  expiresAt: NOW + 10,
  key: by,
  keys,
  decision,
})

test('a token is remembered, word for word, until it expires and not a moment longer', () => {
  const a = key('a')
  const keys = keySet(a)
  const tokens = verifiedTokens()
  tokens.remember('h.c.s', verified(a, keys))
  expect(tokens.recall('h.c.s', at(NOW))).toEqual(verified(a, keys))
  expect(tokens.recall('h.c.s', at(NOW + 9.999))).toBeDefined()
  expect(tokens.recall('h.c.s', at(NOW + 10))).toBeUndefined()
  // Forgotten, and not only passed over.
  expect(tokens.recall('h.c.s', at(NOW))).toBeUndefined()
})

test('the same prefix with another signature is another token', () => {
  const a = key('a')
  const keys = keySet(a)
  const tokens = verifiedTokens()
  const long = 'x'.repeat(4000)
  tokens.remember(`${long}.c.s`, verified(a, keys))
  expect(tokens.recall(`${long}.c.s`, at(NOW))).toBeDefined()
  for (const other of [`${long}.c.t`, `${long}.c`, `${long}.c.s.`, `${long}.C.s`, '', 's']) {
    expect(tokens.recall(other, at(NOW))).toBeUndefined()
  }
})

test('it is forgotten when its key leaves the set, and stays forgotten when the key is back', () => {
  const a = key('a')
  const keys = keySet(a)
  const tokens = verifiedTokens()
  tokens.remember('t', verified(a, keys))
  keys.hold(key('b'))
  expect(tokens.recall('t', at(NOW))).toBeUndefined()
  keys.hold(a)
  expect(tokens.recall('t', at(NOW))).toBeUndefined()
})

test('it is forgotten when its kid gets another key', () => {
  const a = key('a')
  const keys = keySet(a)
  const tokens = verifiedTokens()
  tokens.remember('t', verified(a, keys))
  keys.hold(key('a'))
  expect(tokens.recall('t', at(NOW))).toBeUndefined()
})

test('beyond its bound the oldest is forgotten', () => {
  const a = key('a')
  const keys = keySet(a)
  const tokens = verifiedTokens(100)
  for (let n = 0; n < 1000; n += 1) tokens.remember(`t${n}`, verified(a, keys))
  const known = Array.from({ length: 1000 }, (_, n) => n).filter((n) =>
    tokens.recall(`t${n}`, at(NOW)),
  )
  expect(known).toEqual(Array.from({ length: 100 }, (_, n) => 900 + n))
})

test('a token that was forgotten and is remembered again takes one row', () => {
  const a = key('a')
  const keys = keySet(a)
  const tokens = verifiedTokens(2)
  tokens.remember('old', verified(a, keys))
  for (let round = 0; round < 5; round += 1) {
    tokens.remember('late', { ...verified(a, keys), expiresAt: NOW - 1 })
    expect(tokens.recall('late', at(NOW))).toBeUndefined()
  }
  tokens.remember('late', verified(a, keys))
  expect(tokens.recall('late', at(NOW))).toEqual(verified(a, keys))
  expect(tokens.recall('old', at(NOW))).toEqual(verified(a, keys))
})
