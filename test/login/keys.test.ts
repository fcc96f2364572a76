// What a session key and a sign-in's attempt are, and what only looks like one.

import { expect, test } from 'bun:test'
import { createHmac, hkdfSync } from 'node:crypto'
import { Secret } from '../../src/secret.ts'
import {
  checkAttempt,
  checkSessionKey,
  hashSessionKey,
  newAttempt,
  newSessionKey,
} from '../../src/login/keys.ts'

const FIRST = new Secret('first-secret-of-the-tests-0123456789abcdef')
const SECOND = new Secret('second-secret-of-the-tests-0123456789abcde')

const key = newSessionKey([FIRST])
const { id, attempt } = newAttempt([FIRST])

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
/** The same 32 bytes with an unused bit set. */
const loosened = (text: string): string =>
  text.slice(0, -1) + (DIGITS[DIGITS.indexOf(text.at(-1) ?? '') + 1] ?? '')

/** With each character replaced by another of the same alphabet. */
function* changed(text: string): Generator<string> {
  for (let at = 0; at < text.length; at += 1) {
    yield text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1)
  }
}

test('a session key is pst_, 256 random bits, and HMAC-SHA-256 under a key of its own', () => {
  expect(key).toMatch(/^pst_[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{43}$/)
  const [body = '', signature = ''] = key.split('.')
  const derived = Buffer.from(hkdfSync('sha256', FIRST.reveal(), '', 'postern session key', 32))
  expect(createHmac('sha256', derived).update(body).digest('base64url')).toBe(signature)
  expect(new Set(Array.from({ length: 100 }, () => newSessionKey([FIRST]))).size).toBe(100)
  expect(hashSessionKey('abc').toString('hex')).toBe(
    'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
  )
})

test('takes its own, and no key with a character changed, added or missing', () => {
  expect(checkSessionKey([FIRST], key)).toBe(true)
  for (const other of changed(key)) {
    expect([other, checkSessionKey([FIRST], other)]).toEqual([other, false])
  }
  for (let length = 0; length < key.length; length += 1) {
    expect(checkSessionKey([FIRST], key.slice(0, length))).toBe(false)
  }
  const others = [`${key}A`, `${key}\n`, ` ${key}`, `${key}=`, key.toUpperCase(), loosened(key)]
  for (const other of [...others, `${key}.${key}`, 'é'.repeat(91), 'x'.repeat(1_000_000)]) {
    expect(checkSessionKey([FIRST], other)).toBe(false)
  }
})

test('an attempt gives its id back, and nothing that only looks like it does', () => {
  expect(id).toMatch(/^[A-Za-z0-9_-]{43}$/)
  expect(checkAttempt([FIRST], attempt)).toBe(id)
  for (const other of changed(attempt)) expect(checkAttempt([FIRST], other)).toBeUndefined()
  for (let length = 0; length < attempt.length; length += 1) {
    expect(checkAttempt([FIRST], attempt.slice(0, length))).toBeUndefined()
  }
  for (const other of [id, `${attempt}A`, `${attempt}\n`, loosened(attempt), '']) {
    expect(checkAttempt([FIRST], other)).toBeUndefined()
  }
  expect(newAttempt([FIRST]).id).not.toBe(id)
})

test('neither passes for the other, however it is dressed', () => {
  expect(checkSessionKey([FIRST], `pst_${attempt}`)).toBe(false)
  expect(checkAttempt([FIRST], key)).toBeUndefined()
  expect(checkAttempt([FIRST], key.replace('pst_', ''))).toBeUndefined()
  // Even where what is signed is the same to the byte, as no key's body is.
  const derived = Buffer.from(hkdfSync('sha256', FIRST.reveal(), '', 'postern session key', 32))
  const signedAsKey = createHmac('sha256', derived).update(id).digest('base64url')
  expect(checkAttempt([FIRST], `${id}.${signedAsKey}`)).toBeUndefined()
})

test('the first secret signs, all verify, and dropping one ends its keys', () => {
  expect(checkSessionKey([SECOND, FIRST], key)).toBe(true)
  expect(checkAttempt([SECOND, FIRST], attempt)).toBe(id)
  const anew = newSessionKey([SECOND, FIRST])
  expect(checkSessionKey([SECOND], anew)).toBe(true)
  expect(checkSessionKey([FIRST], anew)).toBe(false)
  expect(checkSessionKey([SECOND], key)).toBe(false)
  expect(checkAttempt([SECOND], attempt)).toBeUndefined()
})

test('without a secret nothing is made and nothing is taken; a short one is refused', () => {
  expect(() => newSessionKey([])).toThrow(RangeError)
  expect(() => newAttempt([])).toThrow(RangeError)
  expect(checkSessionKey([], key)).toBe(false)
  expect(checkAttempt([], attempt)).toBeUndefined()
  expect(() => newSessionKey([new Secret('x'.repeat(31))])).toThrow(RangeError)
})
