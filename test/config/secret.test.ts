import { expect, test } from 'bun:test'
import { inspect } from 'node:util'
import pino from 'pino'
import { Secret } from '../../src/secret.ts'

const secret = new Secret('canary-secret')

test('a secret is revealed only by name', () => {
  expect(secret.reveal()).toBe('canary-secret')
})

test('a secret becomes no text by accident', () => {
  let logged = ''
  pino({}, { write: (line: string) => void (logged += line) }).info(
    { secret, in: [secret] },
    String(secret),
  )
  const holder = { secret, list: [secret], map: new Map([['k', secret]]) }
  const texts = [
    String(secret),
    `${secret}`,
    secret + '',
    JSON.stringify(secret),
    JSON.stringify(holder),
    inspect(secret),
    inspect(holder, { depth: 9, showHidden: true, getters: true }),
    Bun.inspect(holder, { depth: 9 }),
    Object.entries(secret).join(),
    Object.getOwnPropertyNames(secret).join(),
    JSON.stringify({ ...secret }),
    String(new Error('x', { cause: secret }).cause),
    inspect(new Error('x', { cause: holder })),
    [secret].join(),
    logged,
  ]
  for (const text of texts) expect(text).not.toContain('canary')
  expect(logged).toContain('[secret]')
})
