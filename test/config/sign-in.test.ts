// The settings of a sign-in: all of them or none, one Anthropic, loopback alone, and a secret that is
// one. What is wrong is told at once, each with a hint.

import { describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { readInvocation } from '../../src/config/command-line.ts'
import type { ProcessEnvironment } from '../../src/config/given.ts'
import { sources } from '../../src/gate/sources.ts'
import { label, named } from '../support/named.ts'

const SECRET = 'ab12cd34ef56'.repeat(4)
const SIGN_IN = {
  CLIENT_ID: 'client-1',
  REDIRECT_URI: 'https://provider.example/oauth/code/callback',
  OAUTH_BASE_URL: 'https://provider.example',
  OAUTH_TOKEN_URL: 'https://provider.example/v1/oauth/token',
  API_BASE_URL: 'https://api.example/v1',
  SESSION_SECRET: SECRET,
}

function run(env: ProcessEnvironment, args: readonly string[] = []) {
  const invocation = readInvocation(args, env)
  if (invocation.kind !== 'run') throw new Error(inspect(invocation))
  return invocation
}
function mistakes(env: ProcessEnvironment, args: readonly string[] = []) {
  const invocation = readInvocation(args, env)
  if (invocation.kind !== 'mistakes') throw new Error(`no mistake: ${inspect(invocation)}`)
  for (const { hint } of invocation.mistakes) expect(hint).not.toBe('')
  expect(inspect(invocation)).not.toContain(SECRET)
  return invocation.mistakes
}
const wrong = (env: ProcessEnvironment, args: readonly string[] = []): string[] =>
  mistakes(env, args).map(({ setting }) => setting)
const login = async (env: ProcessEnvironment) => {
  const from = await sources(run({ ...SIGN_IN, ...env }).settings, [])
  if (!from.login) throw new Error('no login')
  return from.login
}

test('the minimum for sign-in, which listens on loopback', async () => {
  const { settings, warnings } = run(SIGN_IN)
  expect([settings.host, warnings]).toEqual(['127.0.0.1', []])
  const { secrets, authorizeUrl, tokenUrl, apiBaseUrl, ...rest } = await login({})
  expect(rest).toEqual({
    clientId: 'client-1',
    redirectUri: 'https://provider.example/oauth/code/callback',
    issuer: 'https://provider.example',
    scope: '',
  })
  expect([authorizeUrl.href, tokenUrl.href, apiBaseUrl.href]).toEqual([
    'https://provider.example/oauth/authorize',
    'https://provider.example/v1/oauth/token',
    'https://api.example/',
  ])
  expect(secrets.map((each) => each.reveal())).toEqual([SECRET])
})

test('it is off without settings, and with variables that other programs share', async () => {
  const { CLIENT_ID: _, OAUTH_BASE_URL: _b, OAUTH_TOKEN_URL: _t, ...shared } = SIGN_IN
  const tinfoil = {
    JWKS_URL: 'https://i.example',
    ISSUER: 'i',
    AUDIENCES: 'a',
    TINFOIL_API_KEY: 'k',
  }
  const { settings } = run({ ...tinfoil, ...shared })
  expect(settings.host).toBe('0.0.0.0')
  expect((await sources(settings, [])).login).toBeUndefined()
})

test('CLIENT_ID alone: each missing setting is named, and no key is required', () => {
  expect(wrong({ CLIENT_ID: 'client-1' })).toEqual([
    'REDIRECT_URI',
    'OAUTH_BASE_URL',
    'OAUTH_TOKEN_URL',
    'API_BASE_URL',
    'SESSION_SECRET',
  ])
  for (const name of Object.keys(SIGN_IN)) expect(wrong({ ...SIGN_IN, [name]: '' })).toEqual([name])
})

test('every mistake at once', () => {
  const found = wrong({
    CLIENT_ID: 'two words',
    REDIRECT_URI: '/oauth/callback',
    OAUTH_BASE_URL: 'http://provider.example',
    OAUTH_TOKEN_URL: 'https://user:pw@provider.example',
    OAUTH_ISSUER: 'provider.example',
    OAUTH_SCOPES: 'a  b',
    SESSION_SECRET: 'your-strong-session-secret-here',
    ANTHROPIC_API_KEY: 'sk-ant',
    HOST: '0.0.0.0',
  })
  expect(found.toSorted()).toEqual([
    'ANTHROPIC_API_KEY',
    'API_BASE_URL',
    'CLIENT_ID',
    'HOST',
    'OAUTH_BASE_URL',
    'OAUTH_ISSUER',
    'OAUTH_SCOPES',
    'OAUTH_TOKEN_URL',
    'REDIRECT_URI',
    'SESSION_SECRET',
  ])
})

describe('one Anthropic, one machine', () => {
  test('a sign-in together with a key is one mistake, and requires nothing for the key', () => {
    expect(wrong({ ...SIGN_IN, ANTHROPIC_API_KEY: 'sk-ant' })).toEqual(['ANTHROPIC_API_KEY'])
  })
  test('Tinfoil may be configured too, with its own settings', () => {
    expect(wrong({ ...SIGN_IN, TINFOIL_API_KEY: 'k' })).toEqual(['JWKS_URL', 'ISSUER', 'AUDIENCES'])
  })
  test.each([
    [{ HOST: '0.0.0.0' }, 'HOST'],
    [{ HOST: '::' }, 'HOST'],
    [{ HOST: '192.168.1.2' }, 'HOST'],
    [{ ADDR: '0.0.0.0:4001' }, 'ADDR'],
  ])('%p is not loopback', (env: ProcessEnvironment, setting: string) => {
    expect(wrong({ ...SIGN_IN, ...env })).toEqual([setting])
  })
  test.each([
    [{ HOST: 'localhost' }, 'localhost'],
    [{ HOST: '::1' }, '::1'],
    [{ ADDR: ':4001' }, '127.0.0.1'],
    [{ ADDR: '[::1]:4001' }, '::1'],
  ])('%p is', (env: ProcessEnvironment, host: string) => {
    expect(run({ ...SIGN_IN, ...env }).settings.host).toBe(host)
  })
  test('not in development mode, which has an Anthropic and an identity of its own', () => {
    expect(wrong({ ...SIGN_IN, DEV_MODE: 'true' })).toEqual([
      'CLIENT_ID',
      'OAUTH_BASE_URL',
      'OAUTH_TOKEN_URL',
    ])
  })
})

describe('URLs', () => {
  test('the authorization endpoint has a default path under a bare origin, and keeps a given one', async () => {
    const at = async (OAUTH_BASE_URL: string) => (await login({ OAUTH_BASE_URL })).authorizeUrl.href
    expect(await at('https://p.example/')).toBe('https://p.example/oauth/authorize')
    expect(await at('https://p.example/auth')).toBe('https://p.example/auth')
    expect(await at('http://127.0.0.1:9/auth')).toBe('http://127.0.0.1:9/auth')
  })
  test('issuer and redirect stay as they were written, letter by letter', async () => {
    const { issuer, redirectUri } = await login({
      OAUTH_ISSUER: 'https://Issuer.example',
      REDIRECT_URI: 'http://localhost:4001/auth/callback',
    })
    expect([issuer, redirectUri]).toEqual([
      'https://Issuer.example',
      'http://localhost:4001/auth/callback',
    ])
    expect((await login({ OAUTH_BASE_URL: 'https://p.example/auth' })).issuer).toBe(
      'https://p.example',
    )
  })
  test.each([
    ['https://api.example', 'https://api.example/'],
    ['https://api.example/v1', 'https://api.example/'],
    ['https://api.example/v1/', 'https://api.example/'],
    ['https://api.example/x/v1', 'https://api.example/x'],
    ['https://api.example/v12', 'https://api.example/v12'],
  ])('the API at %p is %p', async (API_BASE_URL, expected) => {
    expect((await login({ API_BASE_URL })).apiBaseUrl.href).toBe(expected)
  })
  test.each([
    'auth/callback',
    '/auth/callback',
    'http://provider.example/cb',
    'https://provider.example/cb#x',
    'javascript:alert(1)',
    'com.example.app:/cb',
  ])('REDIRECT_URI=%s is refused', (REDIRECT_URI) => {
    expect(wrong({ ...SIGN_IN, REDIRECT_URI })).toEqual(['REDIRECT_URI'])
  })
})

describe('SESSION_SECRET', () => {
  test.each(
    named(
      [
        ['a'.repeat(31)],
        [SECRET.slice(0, 31)],
        [`${SECRET},${SECRET.slice(0, 31)}`],
        [''.padEnd(40, 'a')],
        [''.padEnd(64, '12345678')],
        ['your-strong-session-secret-here'],
        ['your-strong-session-secret-here-and-longer'],
        ['YOUR_STRONG_SESSION_SECRET_0123456789'],
        ['change-me-change-me-change-me-0123456789'],
        ['changeme0123456789changeme0123456789'],
        ['replace-this-with-a-long-random-value-1'],
        ['<a secret of 32 bytes or more from openssl>'],
        ['this-is-an-example-secret-of-32-bytes-plus'],
        [`${SECRET},your-strong-session-secret-here-and-longer`],
      ],
      (secret) => `${label(secret)} is refused, with how to make one`,
    ),
  )('%s', (_, SESSION_SECRET) => {
    const [mistake, ...more] = mistakes({ ...SIGN_IN, SESSION_SECRET })
    expect([mistake?.setting, more]).toEqual(['SESSION_SECRET', []])
    expect(mistake?.hint).toContain('openssl rand')
  })
  test('several, so that one can follow another', async () => {
    const { secrets } = await login({ SESSION_SECRET: `${SECRET}, ${SECRET}x` })
    expect(secrets.map((each) => each.reveal())).toEqual([SECRET, `${SECRET}x`])
  })
  test('the output of openssl is never taken for a placeholder', () => {
    for (let round = 0; round < 300; round += 1) {
      for (const coding of ['hex', 'base64', 'base64url'] as const) {
        const SESSION_SECRET = randomBytes(32).toString(coding)
        expect(run({ ...SIGN_IN, SESSION_SECRET }).settings.sessionSecret).toHaveLength(1)
      }
    }
  })
})

test('a client secret, and how it is shown, come together or not at all', async () => {
  const secret = 'from-the-provider'
  const both = await login({ CLIENT_SECRET: secret, CLIENT_AUTH: 'post' })
  expect([both.clientSecret?.reveal(), both.clientAuth]).toEqual([secret, 'post'])
  const one = await login({ CLIENT_SECRET: secret })
  expect([one.clientSecret?.reveal(), one.clientAuth]).toEqual([secret, undefined])
  expect((await login({ CLIENT_AUTH: 'none' })).clientAuth).toBe('none')
  for (const wrong of [
    { CLIENT_AUTH: 'basic' },
    { CLIENT_SECRET: secret, CLIENT_AUTH: 'none' },
    { CLIENT_SECRET: secret, CLIENT_AUTH: 'mtls' },
  ]) {
    const told = mistakes({ ...SIGN_IN, ...wrong })
    expect(told.map(({ setting }) => setting)).toEqual(['CLIENT_AUTH'])
    expect(JSON.stringify(told)).not.toContain(secret)
  }
})

test('endpoints may have a query of their own, as some providers name a policy by it', async () => {
  const { authorizeUrl, tokenUrl } = await login({
    OAUTH_BASE_URL: 'https://provider.example/authorize?p=b2c_1',
    OAUTH_TOKEN_URL: 'https://provider.example/token?p=b2c_1',
  })
  expect([authorizeUrl.search, tokenUrl.search]).toEqual(['?p=b2c_1', '?p=b2c_1'])
})
