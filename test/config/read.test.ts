// From arguments and environment to settings, or to every mistake at once.

import { describe, expect, test } from 'bun:test'
import { inspect } from 'node:util'
import { readInvocation } from '../../src/config/command-line.ts'
import { flagOf, SETTINGS, type Setting } from '../../src/config/table.ts'
import { Secret } from '../../src/secret.ts'
import { seeded } from '../support/random.ts'
import { mistakes, PRODUCTION, run, settings, wrong } from './reading.ts'
import { howMany } from '../support/long.ts'

test('the minimum for production, and its defaults', () => {
  const { command, warnings, settings: read } = run([])
  expect(command).toBe('serve')
  expect(warnings).toEqual([])
  expect(read).toMatchObject({
    devMode: false,
    host: '0.0.0.0',
    port: 5381,
    issuer: 'https://id.example',
    audiences: ['gate', 'other'],
    rateLimitRpm: 60,
    rateLimitBurst: 10,
    maxUpstreamConcurrency: 256,
    logFormat: 'text',
  })
  expect(read.upstreams).toEqual([
    {
      kind: 'tinfoil',
      name: 'tinfoil',
      apiKey: new Secret('tk-canary-0'),
      baseUrl: new URL('https://inference.tinfoil.sh'),
      attestationUrl: new URL('https://atc.tinfoil.sh'),
      enclaveHosts: ['.tinfoil.sh'],
      requireEhbp: true,
      callers: ['user'],
    },
  ])
})

test('every setting reads its flag and its variable, and the flag wins', () => {
  const read = settings(['--port', '1', '--rate-limit-rpm=2', '--log-format=json'], {
    ...PRODUCTION,
    PORT: '9',
    RATE_LIMIT_RPM: '9',
    RATE_LIMIT_BURST: '3',
  })
  expect(read).toMatchObject({ port: 1, rateLimitRpm: 2, rateLimitBurst: 3, logFormat: 'json' })
})

test('a wrong variable is no mistake if a flag overrides it', () => {
  expect(settings(['--port=1'], { ...PRODUCTION, PORT: 'x' }).port).toBe(1)
})

test('an empty variable counts as unset', () => {
  const empty = Object.fromEntries(Object.values(SETTINGS).map(({ env }) => [env, '']))
  expect(settings([], { ...empty, ...PRODUCTION }).port).toBe(5381)
  expect(wrong([], empty)).toEqual(['JWKS_URL', 'ISSUER', 'AUDIENCES', 'TINFOIL_API_KEY'])
})

test('an empty flag is a mistake, not an empty setting', () => {
  expect(wrong(['--issuer=', '--host', ''])).toEqual(['--host', '--issuer'])
})

test('every mistake is reported, at once and with a hint', () => {
  const all = mistakes(
    ['--port=x', '--nonsense', 'deploy', '--log-level', 'loud', '--tinfoil-base-url'],
    {
      JWKS_URL: 'http://id.example',
      RATE_LIMIT_RPM: '-1',
      REQUIRE_EHBP: 'maybe',
      TRUSTED_PROXIES: '10.0.0.0/99',
      IDENTITY_HASH_KEY: 'short',
      NODE_TLS_REJECT_UNAUTHORIZED: '0',
      BUN_OPTIONS: '--preload=/tmp/x',
    },
  )
  const found = new Set(all.map(({ setting }) => setting))
  expect(found).toEqual(
    new Set([
      '--tinfoil-base-url',
      '--nonsense',
      '--port',
      '--log-level',
      'JWKS_URL',
      'ISSUER',
      'AUDIENCES',
      'TINFOIL_API_KEY',
      'RATE_LIMIT_RPM',
      'REQUIRE_EHBP',
      'TRUSTED_PROXIES',
      'IDENTITY_HASH_KEY',
      'NODE_TLS_REJECT_UNAUTHORIZED',
      'BUN_OPTIONS',
    ]),
  )
  for (const { message, hint } of all) expect([message !== '', hint !== '']).toEqual([true, true])
})

describe('secrets', () => {
  const { TINFOIL_API_KEY: _, ...withoutKey } = PRODUCTION

  test('on the command line they work, with a warning', () => {
    const { warnings } = run(['--tinfoil-api-key=k'])
    expect(warnings).toEqual([
      '--tinfoil-api-key shows a secret to everybody who can list processes',
    ])
  })
  test('without an identity key there is a warning, and nothing else', () => {
    const { IDENTITY_HASH_KEY: _key, ...rest } = PRODUCTION
    expect(run([], rest).warnings).toEqual([
      'IDENTITY_HASH_KEY is not set: hashed identities change with every start',
    ])
  })
  test('are in the settings, and in no text that is made of them', () => {
    const read = run([])
    for (const text of [JSON.stringify(read), inspect(read, { depth: 9 }), Bun.inspect(read)]) {
      expect(text).not.toContain('canary')
      expect(text).not.toContain('c0c0')
    }
  })
  test('are not repeated from the wrong place', () => {
    const key = 'tk-CANARY-0'
    for (const args of [
      ['--tinfoil-api-kye', key],
      [`--tinfoil-api-kye=${key}`],
      [key],
      ['serve', key],
      ['--tinfoil-api-key', 'tk', key],
      [`--tinfoil-api-key:${key}`],
      [`-k${key}`],
      ['--port', key],
      ['--identity-hash-key', key],
      [`--dev-mode=${key}`],
      ['--jwks-url', `https://user:${key}@id.example`],
      ['--tinfoil-api-key-file', `/run/${key}`],
    ]) {
      const said = JSON.stringify(mistakes(args, { ...withoutKey, IDENTITY_HASH_KEY: '' }))
      expect(said).not.toContain('CANARY')
    }
  })

  test(
    'no arguments and no environment make it throw, or repeat a secret',
    seeded((random) => {
      const known: readonly Setting<unknown>[] = Object.values(SETTINGS)
      const names = known.flatMap(({ env, secret }) => (secret ? [env, `${env}_FILE`] : [env]))
      const canary = 'S3CR3T-canary'
      const values = [
        '',
        'true',
        '1',
        '-1',
        'x',
        ':1',
        'https://a.example',
        '--',
        '-',
        '__proto__',
        '\0',
        '\u202e',
        'a,b',
        canary,
        `${canary}\n`,
        'ab'.repeat(32),
      ]
      const flags = [
        ...names.map(flagOf),
        '--help2',
        '-x',
        '--',
        '-',
        '--__proto__',
        '--constructor',
        '--no-port',
        'serve',
        'check',
        'other',
        '=',
        '',
      ]
      for (let round = 0; round < howMany(300, 1500); round += 1) {
        const args = Array.from({ length: random.int(6) }, () => {
          const flag = random.pick(flags)
          const value = random.pick(values)
          return random.pick([flag, value, `${flag}=${value}`])
        })
        const env = Object.fromEntries(
          Array.from({ length: random.int(8) }, () => [random.pick(names), random.pick(values)]),
        )
        const invocation = readInvocation(args, env)
        if (invocation.kind === 'text') continue
        const shown =
          invocation.kind === 'mistakes' ? invocation : { warnings: invocation.warnings }
        const text = inspect(shown, { depth: 9 }) + JSON.stringify(shown)
        if (text.includes('S3CR3T')) throw new Error(JSON.stringify({ args, env, text }))
        if (invocation.kind === 'mistakes') expect(invocation.mistakes.length).toBeGreaterThan(0)
      }
    }),
  )
})

test('REDIS_URL says that it is not supported yet, in either mode', () => {
  for (const args of [[], ['--dev-mode']]) {
    const env = { ...(args.length === 0 ? PRODUCTION : {}), REDIS_URL: 'redis://user:canary@h' }
    const found = mistakes(args, env)
    expect(found).toMatchObject([{ setting: 'REDIS_URL', message: 'is not supported yet' }])
    expect(JSON.stringify(found)).not.toContain('canary')
  }
})
