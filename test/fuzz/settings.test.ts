// Random environments, whose mistakes are known because they were put there: the process starts
// where there are none, and else ends with 78 and names each of them, by name and by no value. No
// stack, no crash, and never a start with a wrong one.

import { PATIENCE_MS } from '../support/patience.ts'
import { HASH_KEY } from '../support/settings.ts'
import { expect, test } from 'bun:test'
import { readInvocation } from '../../src/config/command-line.ts'
import { binary, passing } from '../support/binary.ts'
import type { Random } from '../support/random.ts'
import { readText } from '../../src/config/document/open.ts'
import { printDocument } from '../../src/config/document/print.ts'
import { parseYaml } from '../../src/config/document/yaml.ts'
import type { OpenDocument } from '../../src/config/from-document.ts'
import type { Settings } from '../../src/config/read.ts'
import { KEYS, settingOf } from '../../src/config/table.ts'
import { Secret } from '../../src/secret.ts'
import { chance, fuzz, FUZZ_MS } from './fuzz.ts'

type Env = Readonly<Record<string, string>>

interface Choices {
  readonly good: readonly string[]
  readonly bad: readonly string[]
}

const NUMBERS_NOT = ['-1', '1.5', 'x', '1e3', ' 1', '0x10', '9'.repeat(16), '١', '1\n']
const whole = (min: number, max: number): Choices => ({
  good: [min, max, Math.min(max, min + 1)].map(String),
  bad: [...NUMBERS_NOT, String(max + 1), ...(min > 0 ? [String(min - 1)] : [])],
})
/** What a key set's URL may have, and a base may not. */
const QUERY = 'https://a.example/?q=1'
const URLS: Choices = {
  good: [
    'https://a.example',
    'https://a.example:8443/path/',
    'http://127.0.0.1:9',
    'http://[::1]:9/x',
  ],
  bad: [
    'a.example',
    'http://a.example',
    'https://u:p@a.example',
    QUERY,
    '//a',
    'https://a.example/#f',
    'ftp://a.example',
    'http://127.0.0.1.evil.example',
    'https://',
    'x',
    'http://localhost.evil.example',
    'javascript:1',
    'http://2130706433.example',
  ],
}
const SWITCH: Choices = {
  good: ['true', 'false', '1', '0', 'YES', 'off'],
  bad: ['maybe', '2', 'tru', ' true'],
}
const SIGNING = '8cd53a6a81dd7727f8573d7d769ce442'
const HEX: Choices = {
  good: [HASH_KEY, HASH_KEY.toUpperCase()],
  bad: [
    'ab'.repeat(32),
    HASH_KEY.slice(2),
    `${HASH_KEY.slice(2)}zz`,
    `0x${HASH_KEY}`,
    `${HASH_KEY}\n`,
  ],
}
const LONG: Choices = {
  good: ['b14c1c0cb6f6712bb79b1472159b7b51', '!~b14c1c0cb6f6712bb79b1472159b7b51'],
  bad: [
    'b14c1c0cb6f6712bb79b1472159b7b5',
    'b14c1c0cb6f6712bb79b1472159b7b51 x',
    'é'.repeat(32),
    's'.repeat(32),
    'b14c1c0cb6f6712bb79b1472159b7b51\n',
  ],
}
const KEY: Choices = { good: ['k', 'sk-ant-1'], bad: ['two words', 'k\n', 'ключ', 'k\u007f'] }
const LIST: Choices = { good: ['a', 'a,b', ' a , b '], bad: [',', ' , ', ' '] }
const DOLLARS: Choices = {
  good: ['1', '0.000001', '25.50'],
  bad: ['0', '-1', '1e3', '1.0000001', '$5', '.5'],
}

/** Read off docs/settings.md, not off the code. None of the good ones needs another. */
const SETTINGS: Readonly<Record<string, Choices>> = {
  DRAIN_DELAY_SECONDS: whole(0, 300),
  DRAIN_TIMEOUT_SECONDS: whole(0, 3600),
  TRUSTED_PROXIES: {
    good: ['10.0.0.0/8', '127.0.0.1, ::1', '2001:db8::/32'],
    bad: ['10.0.0.0/33', 'localhost', '10.0.0', '::/129', 'fe80::1%eth0', '10.0.0.0/8/8', ','],
  },
  CORS_ORIGINS: {
    good: ['https://a.example', 'http://localhost:3000,https://b.example'],
    bad: [
      '*',
      'null',
      'a.example',
      'https://a.example/',
      'https://*.a.example',
      'HTTPS://A.example',
    ],
  },
  JWT_EXPIRATION_HOURS: whole(1, 8784),
  DEVICE_MODELS: { good: ['a', 'claude-*', 'a,b*'], bad: ['*a', 'a*b', 'a b', ','] },
  DEVICE_RATE_LIMIT: whole(1, 1_000_000),
  DEVICE_SPEND_CAP: DOLLARS,
  ORG_SPEND_CAP: DOLLARS,
  PUBLIC_RATE_LIMIT_RPM: whole(0, 1_000_000),
  MAX_UPSTREAM_CONCURRENCY: whole(1, 1_000_000),
  MAX_IDENTITY_CONCURRENCY: whole(1, 1_000_000),
  MAX_REQUEST_BODY_BYTES: whole(1, 1_073_741_824),
  MAX_PAYLOAD_SIZE: whole(1, 1_073_741_824),
  CIRCUIT_FAILURES: whole(1, 1000),
  CIRCUIT_OPEN_SECONDS: whole(1, 3600),
  CIRCUIT_SUCCESSES: whole(1, 1000),
  LEDGER_RETENTION_DAYS: whole(1, 3650),
  DATABASE_URL: { good: ['sqlite::memory:'], bad: ['sqlite:', 'postgres://x', 'postern.db', 'x'] },
  ADMIN_TOKEN: LONG,
  ADMIN_PORT: { good: ['0'], bad: [...NUMBERS_NOT, '65536'] },
  REDIS_URL: { good: [], bad: ['redis://127.0.0.1:6379', 'x'] },
  TINFOIL_ATTESTATION_URL: URLS,
  TINFOIL_ENCLAVE_HOSTS: {
    good: ['.tinfoil.sh', 'a.tinfoil.sh,b.tinfoil.sh'],
    bad: [
      'tinfoil',
      '*.tinfoil.sh',
      'https://a.tinfoil.sh',
      'A.tinfoil.sh',
      'a.tinfoil.sh:443',
      ',',
    ],
  },
  REQUIRE_EHBP: SWITCH,
  CONNECT_TIMEOUT_SECONDS: whole(1, 300),
  HEADERS_TIMEOUT_SECONDS: whole(1, 3600),
  BODY_TIMEOUT_SECONDS: whole(1, 3600),
  IDLE_TIMEOUT_SECONDS: whole(1, 86_400),
  LOG_FORMAT: { good: ['text', 'json'], bad: ['JSON', 'xml', 'text '] },
  LOG_LEVEL: { good: ['info', 'debug'], bad: ['INFO', 'trace', 'verbose'] },
}

const TINFOIL: Readonly<Record<string, Choices>> = { TINFOIL_API_KEY: KEY, TINFOIL_BASE_URL: URLS }
const USERS: Readonly<Record<string, Choices>> = {
  JWKS_URL: {
    good: [...URLS.good, QUERY],
    bad: URLS.bad.filter((each) => each !== QUERY),
  },
  ISSUER: { good: ['https://id.example', 'x', ','], bad: [' ', '\t'] },
  AUDIENCES: LIST,
}
const ANTHROPIC: Readonly<Record<string, Choices>> = {
  ANTHROPIC_API_KEY: KEY,
  ANTHROPIC_BASE_URL: {
    good: [...URLS.good, QUERY],
    bad: URLS.bad.filter((each) => each !== QUERY),
  },
  IDENTITY_HASH_KEY: HEX,
  JWT_SECRET: {
    good: [SIGNING, `${SIGNING}, ${SIGNING}-before`],
    bad: [SIGNING.slice(0, 31), `${SIGNING},short`, `${SIGNING},`, 'two words'.repeat(9)],
  },
}
/** May be left out where its group is in use. */
const OPTIONAL = new Set(['TINFOIL_BASE_URL', 'ANTHROPIC_BASE_URL'])

interface Drawn {
  readonly env: Env
  readonly wrong: ReadonlySet<string>
}

function drawn(random: Random): Drawn {
  const env: Record<string, string> = { HOST: '127.0.0.1', PORT: '0' }
  const wrong = new Set<string>()
  // Half of all environments are right, so that both ways are taken.
  const errs = chance(random, 0.5) ? 0 : 0.12
  const give = (name: string, { good, bad }: Choices): void => {
    const isBad = bad.length > 0 && (good.length === 0 || chance(random, errs))
    env[name] = random.pick(isBad ? bad : good)
    if (isBad) wrong.add(name)
  }
  const group = (choices: Readonly<Record<string, Choices>>): void => {
    for (const [name, each] of Object.entries(choices)) {
      if (OPTIONAL.has(name) ? chance(random, 0.5) : chance(random, errs)) continue
      give(name, each)
    }
  }
  for (const [name, each] of Object.entries(SETTINGS)) {
    if (each.good.length === 0 ? chance(random, errs / 2) : chance(random, 0.15)) give(name, each)
  }
  const use = random.pick(['tinfoil', 'anthropic', 'both'] as const)
  if (use !== 'anthropic') group({ ...TINFOIL, ...USERS })
  if (use !== 'tinfoil') group(ANTHROPIC)
  const bootstrap = random.pick(['off', 'code', 'jwt', 'open', undefined, undefined])
  if (bootstrap) env['BOOTSTRAP'] = bootstrap
  if (chance(random, errs)) give('BOOTSTRAP', { good: [], bad: ['on', 'Code', 'jwt ', 'all'] })
  if (chance(random, 0.3)) give('PROXY_BASE_URL', URLS)
  rates(random, env, wrong, give)
  keySetTimes(random, env, wrong, give)
  if (chance(random, errs)) {
    env['ADDR'] = random.pick(['127.0.0.1:0', ':x', '1.2.3.4', '[::1]:99999'])
    wrong.add('ADDR')
  }
  // An empty one is one that was not given.
  if (chance(random, 0.2)) env[random.pick(['REDIS_URL', 'ADDR', 'ORG_SPEND_CAP'])] ??= ''
  for (const name of missing(env, wrong)) wrong.add(name)
  return { env, wrong }
}

type Give = (name: string, choices: Choices) => void

function rates(random: Random, env: Record<string, string>, wrong: Set<string>, give: Give): void {
  const spelling = random.int(6)
  if (spelling === 0 || spelling === 4) give('RATE_LIMIT_RPM', whole(0, 1_000_000))
  if (spelling === 1) give('RATE_LIMIT_BURST', whole(1, 1_000_000))
  if (spelling === 2 || spelling === 4) give('RATE_LIMIT_MAX', whole(1, 1_000_000))
  if (spelling === 2 || spelling === 3) give('RATE_LIMIT_WINDOW', whole(1000, 86_400_000))
  if (spelling === 4) wrong.add('RATE_LIMIT_MAX')
  if (spelling === 3 && env['RATE_LIMIT_WINDOW'] !== undefined) wrong.add('RATE_LIMIT_WINDOW')
}

function keySetTimes(
  random: Random,
  env: Record<string, string>,
  wrong: Set<string>,
  give: Give,
): void {
  if (chance(random, 0.2)) give('JWKS_REFRESH_SECONDS', whole(1, 86_400))
  if (chance(random, 0.2)) give('JWKS_MAX_STALE_SECONDS', whole(1, 604_800))
  const [refresh, stale] = ['JWKS_REFRESH_SECONDS', 'JWKS_MAX_STALE_SECONDS']
  if (wrong.has(refresh) || wrong.has(stale)) return
  if (Number(env[stale] ?? 86_400) < Number(env[refresh] ?? 900)) wrong.add(stale)
}

/** What docs/settings.md says is needed for which use. */
function missing(env: Env, wrong: ReadonlySet<string>): string[] {
  const has = (name: string): boolean => (env[name] ?? '') !== ''
  const anthropic = has('ANTHROPIC_API_KEY')
  const tinfoil = has('TINFOIL_API_KEY') || !anthropic
  const bootstrap = wrong.has('BOOTSTRAP') ? undefined : (env['BOOTSTRAP'] ?? 'off')
  const needed = [
    ...(tinfoil ? ['TINFOIL_API_KEY'] : []),
    ...(tinfoil || bootstrap === 'jwt' ? ['JWKS_URL', 'ISSUER', 'AUDIENCES'] : []),
    ...(anthropic ? ['IDENTITY_HASH_KEY', 'JWT_SECRET'] : []),
    ...(anthropic && bootstrap !== undefined && bootstrap !== 'off' ? ['PROXY_BASE_URL'] : []),
  ]
  return needed.filter((name) => !has(name))
}

test(
  'settings are read as they are meant, or every mistake is named, and nothing else is',
  fuzz('settings', 150, (random) => {
    const { env, wrong } = drawn(random)
    const invocation = readInvocation([], env)
    const named = invocation.kind === 'mistakes' ? invocation.mistakes : []
    const names = new Set(named.map(({ setting }) => setting))
    expect([env, names]).toEqual([env, new Set(wrong)])
    expect(invocation.kind).toBe(wrong.size === 0 ? 'run' : 'mistakes')
    expect(named.every(({ message, hint }) => message !== '' && hint !== '')).toBe(true)
  }),
  FUZZ_MS,
)

/** What a printed document refers to; the rest it says itself. */
const REFERRED = ['TINFOIL_API_KEY', 'ANTHROPIC_API_KEY', 'JWT_SECRET', 'IDENTITY_HASH_KEY']

const revealed = (settings: Settings): string[] =>
  Object.values(settings)
    .flat()
    .flatMap((each: unknown) => (each instanceof Secret ? [each.reveal()] : []))

test(
  'an environment, its printed document and the settings read from that are equal',
  fuzz('documents of environments', 60, (random) => {
    const { env } = drawn(random)
    const invocation = readInvocation([], env)
    if (invocation.kind !== 'run') return
    const text = printDocument(invocation)
    for (const name of [...REFERRED, 'ADMIN_TOKEN']) {
      const value = env[name] ?? ''
      if (value.length > 8) expect(text).not.toContain(value)
    }
    const left = Object.fromEntries(
      [...REFERRED, 'ADMIN_TOKEN'].flatMap((name) => (env[name] ? [[name, env[name]]] : [])),
    )
    const about = { name: 'printed.yaml', closing: 'chmod 600 it' }
    const open: OpenDocument = (_, variables, devMode) =>
      readText(text, parseYaml, { ...about, env: variables, devMode })
    const again = readInvocation(['--config', 'printed.yaml'], left, open)
    if (again.kind !== 'run') throw new Error(`${text}\n${Bun.inspect(again)}`)
    const unused = [...text.matchAll(/^# (\S+) is given and has no use here\.$/gm)].map(
      ([, name]) => KEYS.find((key) => settingOf(key).env === name),
    )
    const used = ({ settings }: { settings: Settings }): unknown =>
      JSON.parse(
        JSON.stringify({ ...settings, ...Object.fromEntries(unused.map((key) => [key, 0])) }),
      )
    expect(used(again)).toEqual(used(invocation))
    expect(revealed(again.settings)).toEqual(revealed(invocation.settings))
    // What has no use is told once.
    expect(printDocument(again)).toBe(text.replaceAll(/^#.* no use here\.\n/gm, ''))
  }),
  FUZZ_MS,
)

interface Ran {
  /** Undefined where it listens. */
  readonly exitCode: number | undefined
  readonly out: string
  readonly err: string
}

/** Until it listens, or has ended; it is gone when this returns. */
async function run(env: Env): Promise<Ran> {
  const child = Bun.spawn([await binary()], {
    cwd: '/',
    env: { ...passing(), ...env },
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const late = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS)
  try {
    let out = ''
    let listening = false
    const decoder = new TextDecoder()
    for await (const piece of child.stdout) {
      out += decoder.decode(piece, { stream: true })
      // Either form of the log; the operator's own listener is told there too.
      const port = /\baddress\W+127\.0\.0\.1:(\d+)/.exec(out)?.[1]
      if (listening || port === undefined) continue
      listening = true
      const alive = await fetch(`http://127.0.0.1:${port}/health`)
      expect(alive.status).toBe(200)
      child.kill('SIGKILL')
    }
    const err = await new Response(child.stderr).text()
    await child.exited
    return { exitCode: listening ? undefined : (child.exitCode ?? -1), out, err }
  } finally {
    clearTimeout(late)
    child.kill('SIGKILL')
  }
}

const ABOUT_CODE = /\n\s+at |\.ts:\d|Error:|\bundefined\b|\$bunfs/

test(
  'the process starts, or ends with 78 and every name',
  fuzz(
    'processes',
    14,
    async (random) => {
      const { env, wrong } = drawn(random)
      const { exitCode, out, err } = await run(env)
      const about = JSON.stringify({ env, wrong: [...wrong], exitCode, out, err })
      if (wrong.size === 0) {
        expect([about, exitCode, err]).toEqual([about, undefined, ''])
        return
      }
      expect([about, exitCode, out]).toEqual([about, 78, ''])
      const named = [...err.matchAll(/^ {2}([A-Z_]+) /gm)].map(([, name]) => name)
      expect([about, new Set(named)]).toEqual([about, new Set<string | undefined>(wrong)])
      expect([about, ABOUT_CODE.test(err)]).toEqual([about, false])
      expect(err).toStartWith(`postern: ${named.length} mistake`)
    },
    0.005,
  ),
  FUZZ_MS,
)
