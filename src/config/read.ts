// From flags and environment to settings, or to every mistake at once. A flag wins over its
// variable; a secret that is given in a file as well is a mistake. Nothing else in the tree reads
// the environment, and nothing is bound or asked before this has said yes. What was given is not
// repeated in a mistake: it may be a secret, in its place or by a slip out of it.

import { readFileSync, statSync } from 'node:fs'
import { isLoopback, type Mistake, type Read } from './kinds.ts'
import { flagOf, type Key, type Need, SETTINGS, type Setting, type Values } from './table.ts'

/** What may be absent: it has no fallback, or only one use of the gate needs it. */
type Maybe =
  | 'trustedProxies'
  | 'corsOrigins'
  | 'identityHashKey'
  | 'jwksUrl'
  | 'issuer'
  | 'audiences'
  | 'tinfoilApiKey'
  | 'anthropicApiKey'
  | 'jwtSecret'
  | 'proxyBaseUrl'
  | 'deviceModels'
  | 'deviceRateLimit'
  | 'deviceSpendCap'
  | 'orgSpendCap'
  | 'pricesFile'
  | 'adminToken'
  | 'adminPort'
  | 'clientId'
  | 'redirectUri'
  | 'oauthBaseUrl'
  | 'oauthTokenUrl'
  | 'oauthIssuer'
  | 'oauthScopes'
  | 'apiBaseUrl'
  | 'sessionSecret'
/** Other spellings; what they say stands under the usual names. */
type Spelling = 'addr' | 'rateLimitMax' | 'rateLimitWindow' | 'redisUrl'

export type Settings = Required<Omit<Values, Maybe | Spelling>> & Pick<Values, Maybe>

export type Environment = Readonly<Record<string, string | undefined>>

export type Invocation =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'mistakes'; readonly mistakes: readonly Mistake[] }
  | {
      readonly kind: 'run'
      readonly command: CommandName
      readonly settings: Settings
      readonly warnings: readonly string[]
    }

export const COMMANDS = ['serve', 'check'] as const
export type CommandName = (typeof COMMANDS)[number]

const KEYS = Object.keys(SETTINGS) as Key[]
const table = SETTINGS as Readonly<Record<Key, Setting<unknown>>>

/** `flags` as commander has them, and what was wrong with them; a gate may have none. */
export function readSettings(
  name: CommandName | undefined,
  flags: Readonly<Record<string, unknown>>,
  wrong: readonly Mistake[],
  env: Environment,
): Invocation {
  const read = readValues(flags, env)
  const mistakes = [...wrong]
  mistakes.push(...read.mistakes, ...unsafeEnvironment(env, read.values.devMode === true))
  if (mistakes.length > 0 || name === undefined) return { kind: 'mistakes', mistakes }
  // `readValues` has seen to it that what the mode demands is there.
  const settings = read.values as Settings
  return { kind: 'run', command: name, settings, warnings: read.warnings }
}

interface Given {
  readonly from: string
  readonly text: string
}

function readValues(
  flags: Readonly<Record<string, unknown>>,
  env: Environment,
): { values: Values; mistakes: Mistake[]; warnings: string[] } {
  const mistakes: Mistake[] = []
  const warnings: string[] = []
  const values: Record<string, unknown> = {}
  const given = new Map<Key, Given>()
  /** Those too whose value could not be read. */
  const mentioned = new Set<Key>()

  const take = (key: Key, text: string, from: string): void => {
    const read = table[key].kind.read(text)
    if (read.ok) values[key] = read.value
    else mistakes.push({ setting: from, message: read.message, hint: read.hint })
  }
  const read = (key: Key, devMode: boolean): void => {
    const setting = table[key]
    const found = find(setting, flags, env, devMode)
    if (found && 'message' in found) {
      mistakes.push(found)
      mentioned.add(key)
      return
    }
    if (found) {
      given.set(key, found)
      mentioned.add(key)
      if (setting.secret && found.from === flagOf(setting.env)) {
        warnings.push(`${found.from} shows a secret to everybody who can list processes`)
      }
      return take(key, found.text, found.from)
    }
    const fallback = devMode ? (setting.devFallback ?? setting.fallback) : setting.fallback
    if (fallback !== undefined) take(key, fallback, setting.env)
  }

  // First, because it decides what the others fall back to.
  read('devMode', false)
  const devMode = values['devMode'] === true
  for (const key of KEYS) if (key !== 'devMode') read(key, devMode)

  const signIn = SIGN_IN.some((key) => mentioned.has(key))
  if (!devMode) mistakes.push(...missing(mentioned, signIn, (values as Values).bootstrap))
  if (signIn && !given.has('host')) values['host'] = '127.0.0.1'
  const addr = given.get('addr')
  if (addr) readAddress(addr, given, values, mistakes)
  readWindow(given, values, mistakes)
  const { jwksRefreshSeconds: refresh, jwksMaxStaleSeconds: stale } = values as Values
  if (refresh !== undefined && stale !== undefined && stale < refresh) {
    mistakes.push({
      setting: given.get('jwksMaxStaleSeconds')?.from ?? 'JWKS_MAX_STALE_SECONDS',
      message: 'is less than JWKS_REFRESH_SECONDS, so that keys would die between two reads',
      hint: 'make it at least as long',
    })
  }
  if (devMode) mistakes.push(...developmentMistakes(given, values))
  else if (signIn) mistakes.push(...signInMistakes(given, values))
  else if (!given.has('identityHashKey') && !mistakes.some((m) => m.setting.includes('IDENTITY'))) {
    warnings.push('IDENTITY_HASH_KEY is not set: hashed identities change with every start')
  }
  return { values: values as Values, mistakes, warnings }
}

/** One setting alone, from the environment, for commands that need no more. */
export function readSetting<K extends Key>(key: K, env: Environment): Read<Values[K] | undefined> {
  const setting = table[key]
  const found = find(setting, {}, env, false)
  if (found && 'message' in found) return { ok: false, ...found }
  const text = found?.text ?? setting.fallback
  if (text === undefined) return { ok: true, value: undefined }
  return setting.kind.read(text) as Read<Values[K]>
}

/** Any of these says that somebody is to sign in; the others have names that programs share. */
const SIGN_IN: readonly Key[] = [
  'clientId',
  'oauthBaseUrl',
  'oauthTokenUrl',
  'oauthIssuer',
  'oauthScopes',
]

/** One person on their own machine, with one account. */
function signInMistakes(
  given: ReadonlyMap<Key, Given>,
  values: Readonly<Record<string, unknown>>,
): Mistake[] {
  const mistakes: Mistake[] = []
  const apiKey = given.get('anthropicApiKey')
  if (apiKey) {
    mistakes.push({
      setting: apiKey.from,
      message: 'is given together with CLIENT_ID',
      hint: 'one gate has one Anthropic: by a key, or by a sign-in',
    })
  }
  if (!isLoopback(String(values['host']))) {
    mistakes.push({
      setting: given.get('addr')?.from ?? given.get('host')?.from ?? 'HOST',
      message: 'is not loopback, and whoever signs in here signs in for their own machine alone',
      hint: 'use 127.0.0.1, or leave CLIENT_ID out',
    })
  }
  return mistakes
}

/** What the upstreams that are configured, and the way devices enrol, cannot do without. */
function missing(
  mentioned: ReadonlySet<Key>,
  signIn: boolean,
  bootstrap: Values['bootstrap'],
): Mistake[] {
  // Of the two ways to Anthropic the key may be the one to leave out: it is told of by itself.
  const anthropic = mentioned.has('anthropicApiKey') && !signIn
  const tinfoil = mentioned.has('tinfoilApiKey') || !(anthropic || signIn)
  const needs: Readonly<Record<Need, boolean>> = {
    Tinfoil: tinfoil,
    Anthropic: anthropic,
    'user tokens': tinfoil || bootstrap === 'jwt',
    enrolment: anthropic && bootstrap !== undefined && bootstrap !== 'off',
    'signing in': signIn,
  }
  return KEYS.flatMap((key) => {
    const { required, env, about } = table[key]
    if (required === undefined || !needs[required] || mentioned.has(key)) return []
    const hint = `${about} Set ${env} or ${flagOf(env)}.`
    return [{ setting: env, message: `is missing; it is needed for ${required}`, hint }]
  })
}

/** System C's spelling of the bucket. */
function readWindow(
  given: ReadonlyMap<Key, Given>,
  values: Record<string, unknown>,
  mistakes: Mistake[],
): void {
  const ours = given.get('rateLimitMax') ?? given.get('rateLimitWindow')
  if (!ours) return
  const { rateLimitMax: max, rateLimitWindow: windowMs = 60_000 } = values as Values
  if (given.has('rateLimitRpm') || given.has('rateLimitBurst')) {
    mistakes.push({
      setting: ours.from,
      message: 'is given together with RATE_LIMIT_RPM or RATE_LIMIT_BURST',
      hint: 'two spellings of the same; use one',
    })
  } else if (!given.has('rateLimitMax')) {
    mistakes.push({
      setting: ours.from,
      message: 'is given without RATE_LIMIT_MAX',
      hint: 'a window needs a number of requests',
    })
  } else if (max !== undefined) {
    values['rateLimitRpm'] = (max * 60_000) / windowMs
    values['rateLimitBurst'] = max
  }
}

/** An empty variable counts as unset: compose files write `RATE_LIMIT_RPM=${RATE_LIMIT_RPM:-}`. */
function find(
  setting: Setting<unknown>,
  flags: Readonly<Record<string, unknown>>,
  env: Environment,
  devMode: boolean,
): Given | Mistake | undefined {
  const named = (name: string): Given | undefined => {
    const byFlag = flags[camelCase(name)]
    if (byFlag !== undefined) return { from: flagOf(name), text: String(byFlag) }
    const byEnv = env[name]
    return byEnv === undefined || byEnv === '' ? undefined : { from: name, text: byEnv }
  }
  const direct = named(setting.env)
  const file = setting.secret ? named(`${setting.env}_FILE`) : undefined
  if (!file) return direct
  if (direct) {
    return {
      setting: file.from,
      message: `is given together with ${direct.from}`,
      hint: 'give the secret once',
    }
  }
  return readSecretFile(file, devMode)
}

const camelCase = (env: string): string =>
  env.toLowerCase().replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())

const MAX_SECRET_FILE_BYTES = 65_536

function readSecretFile(file: Given, devMode: boolean): Given | Mistake {
  const mistake = (message: string, hint: string): Mistake => ({
    setting: file.from,
    message,
    hint,
  })
  try {
    const about = statSync(file.text)
    if (!about.isFile() || about.size > MAX_SECRET_FILE_BYTES) {
      return mistake('names no file of a size that a secret has', 'check the path')
    }
    // On Windows the mode bits say nothing about who may read.
    if (!devMode && process.platform !== 'win32' && (about.mode & 0o004) !== 0) {
      return mistake(
        'names a file that everybody on this machine can read',
        'chmod o-r it; in Kubernetes set defaultMode: 0440',
      )
    }
    return { from: file.from, text: readFileSync(file.text, 'utf8').trim() }
  } catch {
    return mistake('names a file that cannot be read', 'check path and permissions')
  }
}

function readAddress(
  addr: Given,
  given: ReadonlyMap<Key, Given>,
  values: Record<string, unknown>,
  mistakes: Mistake[],
): void {
  const split = /^(\[[0-9a-fA-F:.]+\]|[^:]*):(\d{1,5})$/.exec(addr.text)
  const port = Number(split?.[2])
  if (!split || port > 65_535) {
    mistakes.push({ setting: addr.from, message: 'is no host:port', hint: 'as in :5381' })
  } else if (given.has('host') || given.has('port')) {
    mistakes.push({
      setting: addr.from,
      message: 'is given together with HOST or PORT',
      hint: 'two spellings of the same; use one',
    })
  } else {
    if (split[1]) values['host'] = split[1].replace(/^\[|\]$/g, '')
    values['port'] = port
  }
}

function developmentMistakes(
  given: ReadonlyMap<Key, Given>,
  values: Readonly<Record<string, unknown>>,
): Mistake[] {
  const mistakes: Mistake[] = []
  for (const [key, { from }] of given) {
    if (!table[key].notInDev) continue
    mistakes.push({
      setting: from,
      message: 'is set in development mode, which brings its own issuer and upstreams',
      hint: `unset it, or leave development mode`,
    })
  }
  for (const [url, key] of [
    ['tinfoilBaseUrl', 'tinfoilApiKey'],
    ['anthropicBaseUrl', 'anthropicApiKey'],
  ] as const) {
    const upstream = given.get(url)
    if (!upstream || given.has(key)) continue
    mistakes.push({
      setting: upstream.from,
      message: `is set, but without ${table[key].env} an embedded upstream answers instead`,
      hint: 'give the key too, or leave both out',
    })
  }
  if (!isLoopback(String(values['host']))) {
    mistakes.push({
      setting: given.get('addr')?.from ?? given.get('host')?.from ?? 'HOST',
      message: 'is not loopback, and development mode hands out a token to whoever asks',
      hint: 'use 127.0.0.1, or leave development mode',
    })
  }
  return mistakes
}

/** Variables of the runtime that would switch off what this program promises. */
function unsafeEnvironment(env: Environment, devMode: boolean): Mistake[] {
  const mistakes: Mistake[] = []
  if (env['NODE_TLS_REJECT_UNAUTHORIZED'] === '0') {
    mistakes.push({
      setting: 'NODE_TLS_REJECT_UNAUTHORIZED',
      message: 'turns certificate checks off',
      hint: 'unset it; a private CA goes into SSL_CERT_FILE',
    })
  }
  for (const [setting, message] of NOT_IN_PRODUCTION) {
    if (devMode || (env[setting] ?? '') === '') continue
    mistakes.push({ setting, message, hint: 'unset it' })
  }
  return mistakes
}

/** A compiled binary obeys these like the runtime that it contains. */
const NOT_IN_PRODUCTION = [
  ['BUN_OPTIONS', 'can load code into this process'],
  ['BUN_INSPECT', 'opens a debugger into this process'],
  ['BUN_INSPECT_CONNECT_TO', 'opens a debugger into this process'],
  ['BUN_INSPECT_PRELOAD', 'can load code into this process'],
  ['BUN_CONFIG_VERBOSE_FETCH', 'writes requests of this process to its output'],
] as const
