// From arguments and environment to settings, or to every mistake at once.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import type { Mistake } from '../../src/config/kinds.ts'
import { readInvocation } from '../../src/config/command-line.ts'
import type { Environment, Settings } from '../../src/config/read.ts'
import { flagOf, SETTINGS, type Setting } from '../../src/config/table.ts'
import { seeded } from '../support/random.ts'

const PRODUCTION = {
  JWKS_URL: 'https://id.example/jwks.json',
  ISSUER: 'https://id.example',
  AUDIENCES: 'gate, other',
  TINFOIL_API_KEY: 'tk-canary-0',
  IDENTITY_HASH_KEY: 'c0'.repeat(32),
}

function run(args: readonly string[], env: Environment = PRODUCTION) {
  const invocation = readInvocation(args, env)
  if (invocation.kind !== 'run') throw new Error(inspect(invocation))
  return invocation
}
const settings = (args: readonly string[], env: Environment = PRODUCTION): Settings =>
  run(args, env).settings
function mistakes(args: readonly string[], env: Environment = PRODUCTION): readonly Mistake[] {
  const invocation = readInvocation(args, env)
  if (invocation.kind !== 'mistakes') throw new Error(`no mistake: ${inspect(invocation)}`)
  return invocation.mistakes
}
const wrong = (args: readonly string[], env: Environment = PRODUCTION): string[] =>
  mistakes(args, env).map(({ setting }) => setting)

test('the least that production needs, and what it falls back to', () => {
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
    requireEhbp: true,
    tinfoilEnclaveHosts: ['.tinfoil.sh'],
    logFormat: 'text',
  })
  expect(String(read.tinfoilBaseUrl)).toBe('https://inference.tinfoil.sh/')
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

test('a wrong variable is no mistake where a flag wins over it', () => {
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

describe('the command line', () => {
  test('check is a command, and so is serve', () => {
    expect([run(['check']).command, run(['serve']).command]).toEqual(['check', 'serve'])
    expect(run(['--port', '1', 'check']).command).toBe('check')
  })
  test('an unknown command and extra words are mistakes', () => {
    expect(wrong(['deploy'])).toEqual(['deploy'])
    expect(wrong(['serve', 'now', 'please'])).toEqual(['now', 'please'])
    expect(wrong(['check', 'serve'])).toEqual(['serve'])
  })
  test('an unknown flag is a mistake, once, with the nearest one as a hint', () => {
    expect(mistakes(['--jwks', 'https://x.example'])).toEqual([
      { setting: '--jwks', message: 'is no flag', hint: 'did you mean --jwks-url?' },
    ])
    expect(mistakes(['--ratelimit-rpm=5'])[0]?.hint).toBe('did you mean --rate-limit-rpm?')
    expect(mistakes(['--zzz'])[0]?.hint).toBe('postern --help shows every flag')
    for (const odd of ['-', '--=x', '-5', '-x']) expect(wrong([odd])).toHaveLength(1)
    expect(mistakes(['-'])[0]?.hint).toBe('postern --help shows every flag')
  })
  test('a flag after -- is no flag', () => {
    expect(wrong(['--', '--port'])).toEqual(['--port'])
  })
  test('a flag without its value is a mistake beside the others', () => {
    expect(wrong(['--log-level=x', '--port'])).toEqual(['--port', '--log-level'])
  })
  test('--version and --help are answers, whatever else is wrong', () => {
    for (const args of [['--version'], ['-V'], ['--port=x', '--help'], ['-h', 'nonsense']]) {
      const invocation = readInvocation(args, {})
      expect(invocation.kind).toBe('text')
    }
    const invocation = readInvocation(['--version'], {})
    expect(invocation.kind === 'text' && invocation.text).toMatch(
      /^postern \d+\.\d+\.\d+ \(.+, bun \d+\.\d+\.\d+\)\n$/,
    )
  })
})

describe('ADDR', () => {
  test.each([
    [':8080', '0.0.0.0', 8080],
    ['127.0.0.1:1', '127.0.0.1', 1],
    ['[::1]:443', '::1', 443],
    ['gate.internal:65535', 'gate.internal', 65_535],
  ])('%p', (addr, host, port) => {
    expect(settings([], { ...PRODUCTION, ADDR: addr })).toMatchObject({ host, port })
    expect(settings([`--addr=${addr}`])).toMatchObject({ host, port })
  })
  test.each(['8080', 'host', '::1:80', ':65536', ':x', 'a:b:1', ':-1', '[::1]', ':'])(
    'is no address: %p',
    (addr) => expect(wrong([`--addr=${addr}`])).toEqual(['--addr']),
  )
  test('is not given together with HOST or PORT', () => {
    expect(wrong(['--addr=:1', '--port=2'])).toEqual(['--addr'])
    expect(wrong([], { ...PRODUCTION, ADDR: ':1', HOST: '127.0.0.1' })).toEqual(['ADDR'])
  })
})

describe('development mode', () => {
  const dev = (env: Environment = {}, args: readonly string[] = []) =>
    settings(['--dev-mode', ...args], env)
  test('needs nothing, listens on loopback and takes plaintext', () => {
    expect(dev()).toMatchObject({ devMode: true, host: '127.0.0.1', requireEhbp: false })
    expect(settings([], { DEV_MODE: '1' })).toMatchObject({ devMode: true })
    expect(run(['--dev-mode'], {}).warnings).toEqual([])
  })
  test('is off where it says so, and then asks for all that production needs', () => {
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
  test('refuses an issuer of its own beside the one it brings', () => {
    expect(new Set(wrong(['--dev-mode']))).toEqual(new Set(['JWKS_URL', 'ISSUER', 'AUDIENCES']))
  })
  test('refuses a base URL that it would not use', () => {
    expect(wrong(['--dev-mode', '--tinfoil-base-url=https://x.example'], {})).toEqual([
      '--tinfoil-base-url',
    ])
    const both = dev({ TINFOIL_API_KEY: 'k' }, ['--tinfoil-base-url=https://x.example'])
    expect(both.tinfoilApiKey?.reveal()).toBe('k')
  })
})

describe('what would undo its promises', () => {
  test('NODE_TLS_REJECT_UNAUTHORIZED=0 stops a start, in development mode too', () => {
    const env = { NODE_TLS_REJECT_UNAUTHORIZED: '0' }
    expect(wrong([], { ...PRODUCTION, ...env })).toEqual(['NODE_TLS_REJECT_UNAUTHORIZED'])
    expect(wrong(['--dev-mode'], env)).toEqual(['NODE_TLS_REJECT_UNAUTHORIZED'])
    expect(settings([], { ...PRODUCTION, NODE_TLS_REJECT_UNAUTHORIZED: '1' }).port).toBe(5381)
  })
  test('BUN_OPTIONS stops a start in production', () => {
    expect(wrong([], { ...PRODUCTION, BUN_OPTIONS: '--inspect' })).toEqual(['BUN_OPTIONS'])
    expect(settings([], { ...PRODUCTION, BUN_OPTIONS: '' }).port).toBe(5381)
  })
  test.each([
    'BUN_INSPECT',
    'BUN_INSPECT_CONNECT_TO',
    'BUN_INSPECT_PRELOAD',
    'BUN_CONFIG_VERBOSE_FETCH',
  ])('%s, which the compiled binary obeys, stops a start in production', (name) => {
    expect(wrong([], { ...PRODUCTION, [name]: '1' })).toEqual([name])
    expect(settings(['--dev-mode'], { [name]: '1' }).devMode).toBe(true)
  })
})

describe('secrets', () => {
  let folder: string
  const file = (name: string, text: string, mode: number): string => {
    const path = join(folder, name)
    writeFileSync(path, text)
    chmodSync(path, mode)
    return path
  }
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))
  const { TINFOIL_API_KEY: _, ...withoutKey } = PRODUCTION
  const fromFile = (path: string): Environment => ({ ...withoutKey, TINFOIL_API_KEY_FILE: path })

  test('come from a file, without its last line break', () => {
    const path = file('good', 'tk-file\n', 0o640)
    expect(settings([], fromFile(path)).tinfoilApiKey?.reveal()).toBe('tk-file')
    expect(settings(['--tinfoil-api-key-file', path], withoutKey).tinfoilApiKey?.reveal()).toBe(
      'tk-file',
    )
    const key = file('hash', `${'ab'.repeat(32)}\r\n`, 0o400)
    const { IDENTITY_HASH_KEY: _key, ...rest } = PRODUCTION
    expect(settings([], { ...rest, IDENTITY_HASH_KEY_FILE: key }).identityHashKey?.reveal()).toBe(
      'ab'.repeat(32),
    )
  })
  test('a file that everybody can read is refused, but for development mode', () => {
    const path = file('open', 'tk-canary-file', 0o644)
    expect(mistakes([], fromFile(path))).toEqual([
      {
        setting: 'TINFOIL_API_KEY_FILE',
        message: 'names a file that everybody on this machine can read',
        hint: 'chmod o-r it; in Kubernetes set defaultMode: 0440',
      },
    ])
    expect(settings(['--dev-mode'], { TINFOIL_API_KEY_FILE: path }).tinfoilApiKey?.reveal()).toBe(
      'tk-canary-file',
    )
  })
  test('a file that is missing, a folder, huge, empty or of no use is a mistake', () => {
    const paths = [
      join(folder, 'missing'),
      folder,
      '/dev/zero',
      'a\0b',
      file('huge', 'x'.repeat(65_537), 0o600),
      file('empty', ' \n', 0o600),
      file('lines', 'tk-canary-1\ntk-canary-2', 0o600),
    ]
    for (const path of paths) {
      expect(wrong([], fromFile(path))).toEqual(['TINFOIL_API_KEY_FILE'])
      expect(JSON.stringify(mistakes([], fromFile(path)))).not.toContain('canary')
    }
  })
  test('given twice, in whichever way, is a mistake', () => {
    const path = file('twice', 'tk', 0o600)
    expect(wrong([], { ...PRODUCTION, TINFOIL_API_KEY_FILE: path })).toEqual([
      'TINFOIL_API_KEY_FILE',
    ])
    expect(wrong(['--tinfoil-api-key-file', path])).toEqual(['--tinfoil-api-key-file'])
    expect(wrong(['--tinfoil-api-key=k'], fromFile(path))).toEqual(['TINFOIL_API_KEY_FILE'])
  })
  test('only secrets come from files', () => {
    expect(wrong(['--issuer-file=/etc/passwd'])).toEqual(['--issuer-file'])
  })
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
  test('are not repeated where they stand by a slip', () => {
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
      for (let round = 0; round < 1500; round += 1) {
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

describe('what the use that is made of it cannot do without', () => {
  const TINFOIL = { TINFOIL_API_KEY: 'tk' }
  const USERS = { JWKS_URL: 'https://id.example/jwks', ISSUER: 'i', AUDIENCES: 'a' }
  const ANTHROPIC = { ANTHROPIC_API_KEY: 'sk' }
  const DEVICES = { JWT_SECRET: 'j'.repeat(32), IDENTITY_HASH_KEY: 'c0'.repeat(32) }
  const BASE = { PROXY_BASE_URL: 'https://gate.example' }
  const USER_SETTINGS = ['JWKS_URL', 'ISSUER', 'AUDIENCES']
  const cases: readonly (readonly [name: string, env: Environment, missing: readonly string[]])[] =
    [
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
          /^is missing; it is needed for (?:Tinfoil|Anthropic|user tokens|enrolment)$/,
        )
        expect(hint).toContain(`Set ${setting} or ${flagOf(setting)}.`)
      }
    })
  }
  test('each is enough where all that it needs is there', () => {
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
  test('enrolment needs nothing where there are no devices', () => {
    expect(run([], { ...TINFOIL, ...USERS, BOOTSTRAP: 'code' }).command).toBe('serve')
  })
  test('development mode needs none of it', () => {
    for (const env of [{}, TINFOIL, ANTHROPIC, { ...TINFOIL, ...ANTHROPIC, BOOTSTRAP: 'jwt' }]) {
      expect(run(['--dev-mode'], env).settings.devMode).toBe(true)
    }
    expect(settings(['--dev-mode'], {})).toMatchObject({
      bootstrap: 'open',
      databaseUrl: ':memory:',
    })
    expect(new Set(wrong(['--dev-mode'], { ...USERS, ...DEVICES }))).toEqual(
      new Set([...USER_SETTINGS, 'JWT_SECRET']),
    )
    expect(wrong(['--dev-mode'], { ANTHROPIC_BASE_URL: 'https://x.example' })).toEqual([
      'ANTHROPIC_BASE_URL',
    ])
  })
})

describe("system C's spelling of the rate", () => {
  const rate = (env: Environment, args: readonly string[] = []) => {
    const { rateLimitRpm, rateLimitBurst } = settings(args, { ...PRODUCTION, ...env })
    return [rateLimitRpm, rateLimitBurst]
  }
  test('is a window and how many fit in it', () => {
    expect(rate({ RATE_LIMIT_MAX: '100', RATE_LIMIT_WINDOW: '60000' })).toEqual([100, 100])
    expect(rate({ RATE_LIMIT_MAX: '100' })).toEqual([100, 100])
    expect(rate({ RATE_LIMIT_MAX: '10', RATE_LIMIT_WINDOW: '1000' })).toEqual([600, 10])
    expect(rate({ RATE_LIMIT_MAX: '5', RATE_LIMIT_WINDOW: '3600000' })).toEqual([5 / 60, 5])
    expect(rate({}, ['--rate-limit-max=7'])).toEqual([7, 7])
  })
  test('is not given together with ours', () => {
    for (const ours of ['RATE_LIMIT_RPM', 'RATE_LIMIT_BURST']) {
      for (const theirs of ['RATE_LIMIT_MAX', 'RATE_LIMIT_WINDOW']) {
        const env = { ...PRODUCTION, [ours]: '10', [theirs]: '5000' }
        expect([ours, wrong([], env)]).toEqual([ours, [theirs]])
      }
    }
  })
  test('a window without a number is a mistake, and not no limit', () => {
    expect(mistakes([], { ...PRODUCTION, RATE_LIMIT_WINDOW: '60000' })).toEqual([
      {
        setting: 'RATE_LIMIT_WINDOW',
        message: 'is given without RATE_LIMIT_MAX',
        hint: 'a window needs a number of requests',
      },
    ])
  })
  test('neither 0 nor a wrong number is no limit', () => {
    for (const max of ['0', '-1', 'x']) {
      expect(wrong([], { ...PRODUCTION, RATE_LIMIT_MAX: max })).toEqual(['RATE_LIMIT_MAX'])
    }
  })
})

test('REDIS_URL says that it is not supported yet, in either mode', () => {
  for (const args of [[], ['--dev-mode']]) {
    const env = { ...(args.length === 0 ? PRODUCTION : {}), REDIS_URL: 'redis://user:canary@h' }
    const found = mistakes(args, env)
    expect(found).toMatchObject([{ setting: 'REDIS_URL', message: 'is not supported yet' }])
    expect(JSON.stringify(found)).not.toContain('canary')
  }
})
