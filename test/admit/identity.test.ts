import { expect, test } from 'bun:test'
import { createHmac } from 'node:crypto'
import { identifier } from '../../src/token/identity.ts'
import { Secret } from '../../src/secret.ts'

const KEY = '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f'

test('an identity is HMAC-SHA-256 of issuer, NUL and subject, under the key as bytes', () => {
  const identity = identifier(new Secret(KEY))('https://id.example', 'user-1')
  const expected = createHmac('sha256', Buffer.from(KEY, 'hex'))
    .update(Buffer.concat([Buffer.from('https://id.example'), Buffer.of(0), Buffer.from('user-1')]))
    .digest('hex')
  expect(identity).toBe(expected)
  // From openssl: printf 'https://id.example\0user-1' | openssl dgst -sha256 -mac HMAC -macopt hexkey:…
  expect(identity).toBe('fdfd0916dc26c2ec149b782b89f1e670e7aa7210aac43a30a533cee7e886f652')
})

test('the NUL keeps a + bc from being ab + c', () => {
  const identify = identifier(new Secret(KEY))
  expect(identify('a', 'bc')).not.toBe(identify('ab', 'c'))
})

test('another key gives other identities, the same key the same ones after a restart', () => {
  const other = identifier(new Secret('ff'.repeat(32)))
  expect(other('i', 's')).not.toBe(identifier(new Secret(KEY))('i', 's'))
  expect(identifier(new Secret(KEY.toUpperCase()))('i', 's')).toBe(
    identifier(new Secret(KEY))('i', 's'),
  )
})

test('without a key it is steady within a process, and another in the next', () => {
  const identify = identifier(undefined)
  expect(identify('i', 's')).toBe(identify('i', 's'))
  expect(identify('i', 's')).toMatch(/^[0-9a-f]{64}$/)
  expect(identifier(undefined)('i', 's')).not.toBe(identify('i', 's'))
})
