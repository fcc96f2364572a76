// What holds for every setting, whichever is added.

import { expect, test } from 'bun:test'
import { readInvocation } from '../../src/config/command-line.ts'
import { flagOf, SETTINGS, type Setting } from '../../src/config/table.ts'

const settings: readonly Setting<unknown>[] = Object.values(SETTINGS)
const help = (): string => {
  const invocation = readInvocation(['--help'], {})
  return invocation.kind === 'text' ? invocation.text.replace(/\s+/g, ' ') : ''
}

test('every fallback is a text that its own kind takes', () => {
  for (const { env, kind, fallback, devFallback } of settings) {
    for (const text of [fallback, devFallback]) {
      if (text !== undefined) expect([env, kind.read(text).ok]).toEqual([env, true])
    }
  }
})

test('no two settings share a variable or a flag, secret files included', () => {
  const names = settings.flatMap(({ env, secret }) => (secret ? [env, `${env}_FILE`] : [env]))
  expect(new Set(names).size).toBe(names.length)
  expect(new Set(names.map(flagOf)).size).toBe(names.length)
  for (const name of names) {
    expect(name).toMatch(/^[A-Z][A-Z0-9_]*[A-Z0-9]$/)
    // Commander would read it as the negation of another.
    expect(flagOf(name)).not.toStartWith('--no-')
  }
})

test('a member is named after its variable', () => {
  for (const [key, { env }] of Object.entries(SETTINGS)) {
    expect(key).toBe(env.toLowerCase().replace(/_([a-z])/g, (_, letter) => letter.toUpperCase()))
  }
})

test('neither a required setting nor a secret has a default', () => {
  for (const { fallback, devFallback, required, secret } of settings) {
    if (required || secret) expect([fallback, devFallback]).toEqual([undefined, undefined])
  }
})

const SIGN_IN = [
  'API_BASE_URL',
  'CLIENT_ID',
  'OAUTH_BASE_URL',
  'OAUTH_TOKEN_URL',
  'REDIRECT_URI',
  'SESSION_SECRET',
]

test('no default opens the gate in production', () => {
  expect(SETTINGS.devMode.fallback).toBe('false')
  expect(SETTINGS.requireEhbp.fallback).toBe('true')
  expect(SETTINGS.bootstrap.fallback).toBe('off')
  const needed = settings.flatMap(({ env, required }) => (required ? [[env, required]] : []))
  expect(Object.fromEntries(needed)).toEqual({
    JWKS_URL: 'user tokens',
    ISSUER: 'user tokens',
    AUDIENCES: 'user tokens',
    IDENTITY_HASH_KEY: 'devices',
    JWT_SECRET: 'devices',
    PROXY_BASE_URL: 'enrolment',
    TINFOIL_API_KEY: 'Tinfoil',
    ...Object.fromEntries(SIGN_IN.map((env) => [env, 'signing in'])),
    ANTHROPIC_API_KEY: 'Anthropic',
    OPENAI_UPSTREAM_URL: 'OpenAI',
  })
})

test('--help shows every setting with its flag, variable, default and purpose', () => {
  const text = help()
  for (const { env, about, fallback, devFallback, secret } of settings) {
    expect(text).toContain(`${flagOf(env)} `)
    expect(text).toContain(`env: ${env}`)
    expect(text).toContain(about.replace(/\s+/g, ' '))
    if (fallback !== undefined) expect(text).toContain(`default: ${fallback}`)
    if (devFallback !== undefined) expect(text).toContain(`in development mode: ${devFallback}`)
    if (secret) expect(text).toContain(`${flagOf(env)}-file <path>`)
  }
})
