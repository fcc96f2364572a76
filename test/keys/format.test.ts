// What a key looks like, and what does not pass for one.

import { expect, test } from 'bun:test'
import { crc32 } from 'node:zlib'
import { isMeantAsKey, isWellFormed, KEY_LENGTH, makeKey } from '../../src/keys/format.ts'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const KEYS = Array.from({ length: 2000 }, makeKey)

/** As a secret scanner would compute it. */
function checksum(random: string): string {
  const value = crc32(random)
  return Array.from(
    { length: 6 },
    (_, at) => ALPHABET[Math.floor(value / 62 ** (5 - at)) % 62],
  ).join('')
}

test('pk_, thirty random characters, and the CRC-32 of these in base62', () => {
  for (const key of KEYS) {
    expect(key).toMatch(/^pk_[0-9A-Za-z]{36}$/)
    expect(key).toHaveLength(KEY_LENGTH)
    expect(key.slice(33)).toBe(checksum(key.slice(3, 33)))
    expect(isWellFormed(key)).toBe(true)
    expect(isMeantAsKey(key)).toBe(true)
  }
  expect(new Set(KEYS).size).toBe(KEYS.length)
})

test('every character of base62 is as likely as another', () => {
  const counts = new Map<string, number>()
  const all = KEYS.map((key) => key.slice(3, 33)).join('')
  for (const character of all) counts.set(character, (counts.get(character) ?? 0) + 1)
  expect([...counts.keys()].toSorted().join('')).toBe(ALPHABET)
  const expected = all.length / 62
  // χ² with 61 degrees of freedom is above 130 once in a million runs.
  const squares = [...counts.values()].map((count) => (count - expected) ** 2 / expected)
  expect(squares.reduce((sum, each) => sum + each, 0)).toBeLessThan(130)
})

test('one character that differs is always found, wherever it stands', () => {
  for (const key of KEYS.slice(0, 50)) {
    for (let at = 3; at < KEY_LENGTH; at += 1) {
      for (const other of ALPHABET) {
        if (other === key[at]) continue
        const text = key.slice(0, at) + other + key.slice(at + 1)
        if (isWellFormed(text)) throw new Error(`at ${at}`)
      }
    }
  }
})

test('two neighbours that change places are found', () => {
  for (const key of KEYS.slice(0, 200)) {
    for (let at = 3; at < KEY_LENGTH - 1; at += 1) {
      const [a = '', b = ''] = [key[at], key[at + 1]]
      if (a === b) continue
      expect(isWellFormed(key.slice(0, at) + b + a + key.slice(at + 2))).toBe(false)
    }
  }
})

test('a longer, shorter, folded, padded or otherwise changed text is not a key', () => {
  for (const key of KEYS.slice(0, 200)) {
    const others = [
      key.toLowerCase(),
      key.toUpperCase(),
      `PK_${key.slice(3)}`,
      `${key}\n`,
      `${key} `,
      ` ${key}`,
      `${key}\u0000`,
      key.slice(0, -1),
      `${key}0`,
      key.slice(3),
      key.replace('_', '-'),
      `pk_live_${key.slice(3)}`,
      // Letters that look alike, and digits of another script.
      `${key.slice(0, 5)}\u0410${key.slice(6)}`,
      `${key.slice(0, 5)}\uFF11${key.slice(6)}`,
      encodeURIComponent(`${key}%`),
    ]
    for (const other of others) expect([other, isWellFormed(other)]).toEqual([other, false])
  }
  for (const other of ['', 'pk_', 'pk_'.padEnd(KEY_LENGTH, '0').slice(0, -1), '\n'.repeat(39)]) {
    expect(isWellFormed(other)).toBe(false)
  }
})
