// How long client secrets are kept, and how many.

import { expect, test } from 'bun:test'
import { type ClientSecret, clientSecrets } from '../../src/realtime/client-secrets.ts'
import { Secret } from '../../src/secret.ts'

const NOW = 1_800_000_000
const secretOf = (identity: string, seconds = 600): ClientSecret => ({
  identity,
  authorization: new Secret('Bearer token'),
  model: undefined,
  opening: undefined,
  expiresAtSeconds: NOW + seconds,
})
const textOf = (secrets: ReturnType<typeof clientSecrets>, secret: ClientSecret, now = NOW) => {
  const added = secrets.add(secret, now)
  return added.ok ? added.value : added.code
}

test('a secret is found until it expires, any number of times, and by its whole text alone', () => {
  const secrets = clientSecrets()
  const secret = secretOf('a')
  const text = textOf(secrets, secret)
  expect(secrets.find(text, NOW + 599)).toBe(secret)
  expect(secrets.find(text, NOW + 599)).toBe(secret)
  expect(secrets.find(`${text}x`, NOW)).toBe(undefined)
  expect(secrets.find(text.slice(0, -1), NOW)).toBe(undefined)
  expect(secrets.find(text, NOW + 600)).toBe(undefined)
})

test('one caller has so many, and others none the fewer; those that expired make room', () => {
  const secrets = clientSecrets(2)
  const first = textOf(secrets, secretOf('a', 10))
  textOf(secrets, secretOf('a'))
  expect(textOf(secrets, secretOf('a'))).toBe('rate_limit_exceeded')
  expect(textOf(secrets, secretOf('b'))).toStartWith('ek_')
  expect(textOf(secrets, secretOf('a'), NOW + 10)).toStartWith('ek_')
  expect(secrets.find(first, NOW)).toBe(undefined)
})

test('all of them together are bounded in memory', () => {
  const secrets = clientSecrets(100, 5000)
  const made = Array.from({ length: 20 }, (_, at) => textOf(secrets, secretOf(`${at}`)))
  expect(made.filter((each) => each === 'rate_limit_exceeded').length).toBe(11)
})
