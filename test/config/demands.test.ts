import { HASH_KEY } from '../support/settings.ts'
import { describe, expect, test } from 'bun:test'
import { readInvocation } from '../../src/config/command-line.ts'
import type { ProcessEnvironment } from '../../src/config/given.ts'
import { flagOf } from '../../src/config/table.ts'
import { mistakes, PRODUCTION, run, settings, upstreamOf, wrong } from './reading.ts'

describe('development mode', () => {
  const dev = (env: ProcessEnvironment = {}, args: readonly string[] = []) =>
    settings(['--dev-mode', ...args], env)
  test('needs nothing, listens on loopback and takes plaintext', () => {
    expect(dev()).toMatchObject({ devMode: true, host: '127.0.0.1' })
    expect(upstreamOf(dev(), 'tinfoil')).toMatchObject({ requireEhbp: false, apiKey: undefined })
    expect(settings([], { DEV_MODE: '1' })).toMatchObject({ devMode: true })
    expect(run(['--dev-mode'], {}).warnings).toEqual([])
  })
  test("can be switched off, and then production's settings are required", () => {
    expect(wrong(['--dev-mode=false'], { DEV_MODE: 'true' })).toHaveLength(4)
  })
  test('a wrong DEV_MODE is never development mode', () => {
    const found = wrong([], { DEV_MODE: 'maybe' })
    expect(found).toContain('DEV_MODE')
    expect(found).toContain('JWKS_URL')
  })
  test('refuses every address but loopback', () => {
    expect(wrong(['--dev-mode', '--host=0.0.0.0'], {})).toEqual(['--host'])
    expect(wrong(['--dev-mode'], { HOST: '::' })).toEqual(['HOST'])
    expect(wrong(['--dev-mode'], { ADDR: '10.0.0.1:80' })).toEqual(['ADDR'])
    expect(dev({ ADDR: ':80' })).toMatchObject({ host: '127.0.0.1', port: 80 })
    expect(dev({ HOST: '::1' })).toMatchObject({ host: '::1' })
  })
  test('refuses an issuer besides its built-in one', () => {
    expect(new Set(wrong(['--dev-mode']))).toEqual(new Set(['JWKS_URL', 'ISSUER', 'AUDIENCES']))
  })
  test('refuses a base URL that it would ignore', () => {
    expect(wrong(['--dev-mode', '--tinfoil-base-url=https://x.example'], {})).toEqual([
      '--tinfoil-base-url',
    ])
    const both = dev({ TINFOIL_API_KEY: 'k' }, ['--tinfoil-base-url=https://x.example'])
    expect(upstreamOf(both, 'tinfoil')?.apiKey?.reveal()).toBe('k')
  })
})

test('keys that would die between two reads of the set are a mistake', () => {
  const read = readInvocation([], {
    ...PRODUCTION,
    JWKS_REFRESH_SECONDS: '900',
    JWKS_MAX_STALE_SECONDS: '60',
  })
  expect(read.kind === 'mistakes' && read.mistakes.map(({ setting }) => setting)).toEqual([
    'JWKS_MAX_STALE_SECONDS',
  ])
})

describe('the settings that each use needs', () => {
  const TINFOIL = { TINFOIL_API_KEY: 'tk' }
  const USERS = { JWKS_URL: 'https://id.example/jwks', ISSUER: 'i', AUDIENCES: 'a' }
  const ANTHROPIC = { ANTHROPIC_API_KEY: 'sk' }
  const DEVICES = { JWT_SECRET: 'jb14c1c0cb6f6712bb79b1472159b7b51', IDENTITY_HASH_KEY: HASH_KEY }
  const BASE = { PROXY_BASE_URL: 'https://gate.example' }
  const USER_SETTINGS = ['JWKS_URL', 'ISSUER', 'AUDIENCES']
  const cases: readonly (readonly [
    name: string,
    env: ProcessEnvironment,
    missing: readonly string[],
  ])[] = [
    ['nothing', {}, [...USER_SETTINGS, 'TINFOIL_API_KEY']],
    ['Tinfoil', TINFOIL, USER_SETTINGS],
    ['users alone', USERS, ['TINFOIL_API_KEY']],
    ['Anthropic', ANTHROPIC, ['IDENTITY_HASH_KEY', 'JWT_SECRET']],
    ['both', { ...TINFOIL, ...ANTHROPIC }, [...USER_SETTINGS, 'IDENTITY_HASH_KEY', 'JWT_SECRET']],
    [
      'Anthropic, BOOTSTRAP=off',
      { ...ANTHROPIC, BOOTSTRAP: 'off' },
      ['IDENTITY_HASH_KEY', 'JWT_SECRET'],
    ],
    ['Anthropic with codes', { ...ANTHROPIC, ...DEVICES, BOOTSTRAP: 'code' }, ['PROXY_BASE_URL']],
    ['Anthropic, open', { ...ANTHROPIC, ...DEVICES, BOOTSTRAP: 'open' }, ['PROXY_BASE_URL']],
    [
      'Anthropic for users',
      { ...ANTHROPIC, ...DEVICES, BOOTSTRAP: 'jwt' },
      [...USER_SETTINGS, 'PROXY_BASE_URL'],
    ],
    [
      'a wrong key still counts as one',
      { ANTHROPIC_API_KEY: 'a b' },
      ['IDENTITY_HASH_KEY', 'JWT_SECRET'],
    ],
  ]
  for (const [name, env, missing] of cases) {
    test(name, () => {
      const found = mistakes([], env)
      const absent = found.filter(({ message }) => message.startsWith('is missing'))
      expect(absent.map(({ setting }) => setting)).toEqual([...missing])
      for (const { setting, message, hint } of absent) {
        expect(message).toMatch(
          /^is missing; it is needed for (?:Tinfoil|Anthropic|user tokens|devices|enrolment)$/,
        )
        expect(hint).toContain(`Set ${setting} or ${flagOf(setting)}.`)
      }
    })
  }
  test('each is enough if its settings are complete', () => {
    for (const env of [
      { ...TINFOIL, ...USERS },
      { ...ANTHROPIC, ...DEVICES },
      { ...ANTHROPIC, ...DEVICES, ...BASE, BOOTSTRAP: 'code' },
      { ...ANTHROPIC, ...DEVICES, ...BASE, BOOTSTRAP: 'open' },
      { ...ANTHROPIC, ...DEVICES, ...BASE, ...USERS, BOOTSTRAP: 'jwt' },
      { ...TINFOIL, ...USERS, ...ANTHROPIC, ...DEVICES },
    ]) {
      expect(run([], env).command).toBe('serve')
    }
  })
  test('enrolment needs nothing in a gate without devices', () => {
    expect(run([], { ...TINFOIL, ...USERS, BOOTSTRAP: 'code' }).command).toBe('serve')
  })
  test('development mode needs none of it', () => {
    for (const env of [{}, TINFOIL, ANTHROPIC, { ...TINFOIL, ...ANTHROPIC, BOOTSTRAP: 'jwt' }]) {
      expect(run(['--dev-mode'], env).settings.devMode).toBe(true)
    }
    expect(settings(['--dev-mode'], {})).toMatchObject({
      bootstrap: 'open',
      databaseUrl: { engine: 'sqlite', file: ':memory:' },
    })
    expect(new Set(wrong(['--dev-mode'], { ...USERS, ...DEVICES }))).toEqual(
      new Set([...USER_SETTINGS, 'JWT_SECRET']),
    )
    expect(wrong(['--dev-mode'], { ANTHROPIC_BASE_URL: 'https://x.example' })).toEqual([
      'ANTHROPIC_BASE_URL',
    ])
  })
})

describe('who reaches an upstream', () => {
  const ANTHROPIC = { ANTHROPIC_API_KEY: 'k', JWT_SECRET: 'd7-1b0c-93fe-44aa-8812-57c0-a19d-6e03' }
  test('is by commas, in any order, and no caller that there is not', () => {
    const read = settings([], { ...PRODUCTION, TINFOIL_CALLERS: 'key, user,key' })
    expect(upstreamOf(read, 'tinfoil')?.callers).toEqual(['user', 'key'])
    for (const callers of ['users', 'session', 'user,*', ',']) {
      expect([callers, wrong([], { ...PRODUCTION, TINFOIL_CALLERS: callers })]).toEqual([
        callers,
        ['TINFOIL_CALLERS'],
      ])
    }
  })
  test('for devices needs the secret for their tokens, with or without Anthropic', () => {
    const devices = { ...PRODUCTION, TINFOIL_CALLERS: 'user,device' }
    expect(wrong([], devices)).toEqual(['JWT_SECRET'])
    const { JWT_SECRET } = ANTHROPIC
    expect(wrong([], { ...devices, JWT_SECRET, BOOTSTRAP: 'code' })).toEqual(['PROXY_BASE_URL'])
    expect(upstreamOf(settings([], { ...devices, JWT_SECRET }), 'anthropic')).toBeUndefined()
    const both = settings([], { ...PRODUCTION, ...ANTHROPIC, TINFOIL_CALLERS: 'device' })
    expect(upstreamOf(both, 'tinfoil')?.callers).toEqual(['device'])
  })
  test('names users, and then needs their issuer', () => {
    const alone = { ...ANTHROPIC, IDENTITY_HASH_KEY: HASH_KEY }
    expect(wrong([], { ...alone, ANTHROPIC_CALLERS: 'user' })).toEqual([
      'JWKS_URL',
      'ISSUER',
      'AUDIENCES',
    ])
  })
})
