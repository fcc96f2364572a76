// Secrets that can be guessed start nothing, and what random bytes make is never one of them.

import { describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { guessable } from '../../src/config/guessable.ts'
import { HASH_KEY } from '../support/settings.ts'
import { mistakes, PRODUCTION, run } from './reading.ts'
import { howMany } from '../support/long.ts'

const hex = (): string => randomBytes(32).toString('hex')

const GUESSED = [
  'changeme',
  'secret',
  'change-me-change-me-change-me-change-me',
  'your-secret-here',
  'your-256-bit-secret-your-256-bit-secret',
  'a-string-secret-at-least-256-bits-long',
  'super-secret-key-super-secret-key-0123',
  'replace_with_a_long_random_value_please',
  '<64 hex digits>',
  'insert-your-jwt-secret-here-insert-your-jwt-secret-here',
  'password-password-password-password-1',
  'openssl rand -hex 32',
  '$(openssl rand -hex 32)',
  '`openssl rand -hex 32`',
  '${JWT_SECRET:?generate one of thirty-two bytes}',
  'head -c 32 /dev/urandom | base64',
  '0'.repeat(64),
  'ab'.repeat(32),
  'deadbeef'.repeat(8),
  `${'0'.repeat(63)}1`,
  '12345678'.repeat(8),
  '01234567890123456789012345678901',
  'abcdefghijklmnopqrstuvwxyz012345',
  'aaaabbbbccccddddeeeeffffgggghhhhiiiijjjj',
]

describe('a secret that can be guessed is refused and not repeated, and the hint makes a good one', () => {
  const { IDENTITY_HASH_KEY: _, ...rest } = PRODUCTION
  const others = { ANTHROPIC_API_KEY: 'sk-1', JWT_SECRET: hex(), IDENTITY_HASH_KEY: HASH_KEY }
  for (const name of ['JWT_SECRET', 'ADMIN_TOKEN', 'IDENTITY_HASH_KEY']) {
    test.each(GUESSED)(`${name}=%s`, (text) => {
      const found = mistakes([], { ...rest, ...others, [name]: text })
      expect(found.map(({ setting }) => setting)).toEqual([name])
      expect(found[0]?.hint).toContain('openssl rand -hex 32')
      const said = JSON.stringify(found[0]?.message)
      expect(said).not.toContain(text)
    })
  }
})

test('one guessable secret among good ones is enough', () => {
  const env = { ...PRODUCTION, ANTHROPIC_API_KEY: 'sk-1' }
  expect(mistakes([], { ...env, JWT_SECRET: `${hex()},${'ab'.repeat(32)}` })).toEqual([
    {
      setting: 'JWT_SECRET',
      message: 'is a pattern that can be guessed',
      hint: 'make one with: openssl rand -hex 32',
    },
  ])
})

test('one secret for two purposes is a mistake, however it is spelt and wherever it comes from', () => {
  const same = hex()
  const env = { ...PRODUCTION, ANTHROPIC_API_KEY: 'sk-1', JWT_SECRET: `${hex()}, ${same}` }
  for (const more of [
    { ADMIN_TOKEN: same },
    { IDENTITY_HASH_KEY: same },
    { IDENTITY_HASH_KEY: same.toUpperCase() },
    { TINFOIL_API_KEY: same },
  ]) {
    const [name = ''] = Object.keys(more)
    const found = mistakes([], { ...env, ...more })
    expect(found).toHaveLength(1)
    expect([name, 'JWT_SECRET']).toContain(found[0]?.setting ?? '')
    expect(found[0]?.message).toContain('holds the same secret as')
    expect(JSON.stringify(found)).not.toContain(same)
  }
  // What two providers gave is theirs to choose.
  expect(run([], { ...env, TINFOIL_API_KEY: 'k', ANTHROPIC_API_KEY: 'k' }).kind).toBe('run')
})

test("a placeholder instead of a provider's key is reported", () => {
  for (const TINFOIL_API_KEY of [
    '<your key>',
    'sk-ant-...',
    'your-api-key',
    'YOUR_TOKEN',
    'changeme',
  ]) {
    const found = mistakes([], { ...PRODUCTION, TINFOIL_API_KEY })
    expect(found.map(({ message }) => message)).toEqual(['is a placeholder, and no key'])
  }
  for (const TINFOIL_API_KEY of ['EMPTY', 'dummy', 'k', 'sk-ant-api03-x', 'test-key']) {
    expect(run([], { ...PRODUCTION, TINFOIL_API_KEY }).kind).toBe('run')
  }
})

test('random bytes are never taken for it, in hex, base64 or base64url, with a name in front or not', () => {
  const refused: string[] = []
  for (let round = 0; round < howMany(1000, 10_000); round += 1) {
    const bytes = randomBytes(32)
    for (const coding of ['hex', 'base64', 'base64url'] as const) {
      const text = bytes.toString(coding)
      if (guessable(text) !== undefined) refused.push(text)
    }
    const digits = Array.from(randomBytes(40), (byte) => byte % 10).join('')
    if (guessable(digits) !== undefined) refused.push(digits)
    const named = `my-gate-key-${bytes.toString('hex')}`
    if (guessable(named) !== undefined) refused.push(named)
  }
  expect(refused).toEqual([])
})
