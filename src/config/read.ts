// From flags and environment to settings, or to every mistake at once. Nothing else in the tree reads
// the environment, and nothing is bound or asked before this has said yes. What was given is not
// repeated in a mistake: it may be a secret, in its place or by a slip out of it.

import { cautions, contradictions, isSignIn, missing, type Mode } from './demands.ts'
import type { FromDocument, OpenDocument } from './from-document.ts'
import {
  DOCUMENT_FLAG,
  documentPath,
  type Environment,
  findGiven,
  type Flags,
  type Given,
} from './given.ts'
import { type IssuerEntry, issuerEntries, type IssuerGiven } from './issuers.ts'
import type { Mistake, Read } from './kinds.ts'
import { lackingEntries, together } from './both.ts'
import { keyPolicyMistakes } from './keys.ts'
import {
  type PoliciesGiven,
  type PolicyEntries,
  policyEntries,
  policyMistakes,
} from './policies.ts'
import {
  UPSTREAM_KEYS,
  upstreamEntries,
  type UpstreamEntry,
  type UpstreamKey,
  upstreamMistakes,
  type UpstreamRead,
  upstreamReads,
} from './upstreams.ts'
import { readAddress, readWindow } from './spellings.ts'
import { flagOf, type Key, KEYS, settingOf, type Values } from './table.ts'
import { egressWarnings, unsafeEnvironment } from './unsafe-environment.ts'

/** What may be absent: it has no fallback, or only one use of the gate needs it. */
type Maybe =
  | 'trustedProxies'
  | 'corsOrigins'
  | 'identityHashKey'
  | 'identityHashKeyOld'
  | 'jwksUrl'
  | 'issuer'
  | 'audiences'
  | 'jwtSecret'
  | 'proxyBaseUrl'
  | 'deviceModels'
  | 'deviceRateLimit'
  | 'deviceSpendCap'
  | 'orgSpendCap'
  | 'pricesFile'
  | 'keyPolicy'
  | 'keyMaxLifetime'
  | 'adminToken'
  | 'adminPort'
  | 'clientId'
  | 'clientSecret'
  | 'clientAuth'
  | 'redirectUri'
  | 'oauthBaseUrl'
  | 'oauthTokenUrl'
  | 'oauthIssuer'
  | 'oauthScopes'
  | 'apiBaseUrl'
  | 'sessionSecret'
  | 'upstreamCaFile'
  | 'upstreamProxy'
  | 'noProxy'
  | 'plainHttpHosts'
/** Other spellings; what they say stands under the usual names. */
type Spelling = 'addr' | 'rateLimitMax' | 'rateLimitWindow' | 'redisUrl'

export type Settings = Required<Omit<Values, Maybe | Spelling | UpstreamKey>> &
  Pick<Values, Maybe> & {
    /** Whose users are taken; none where only devices come. */
    readonly issuers: readonly IssuerEntry[]
    readonly upstreams: readonly UpstreamEntry[]
    /** None but those of a document. */
    readonly policies: PolicyEntries
  }

export type Invocation =
  | { readonly kind: 'text'; readonly text: string }
  | {
      readonly kind: 'mistakes'
      readonly mistakes: readonly Mistake[]
      /** Nothing was given of what any use of a gate needs: somebody is new to it. */
      readonly noWayChosen: boolean
    }
  | {
      readonly kind: 'run'
      readonly command: CommandName
      readonly settings: Settings
      readonly warnings: readonly string[]
      /** As they were given, secrets left out, for the document that would say the same. */
      readonly given: ReadonlyMap<Key, Given>
      readonly listed: Listings
      /** The path of the document, where there is one. */
      readonly document: string | undefined
    }

export const COMMANDS = ['serve', 'check', 'config'] as const
export type CommandName = (typeof COMMANDS)[number]

/**
 * `flags` as commander has them, and what was wrong with them; a gate may have none. `open` reads the
 * document that they or the environment name; it may be absent if they name none.
 */
export function readSettings(
  name: CommandName | undefined,
  flags: Flags,
  wrong: readonly Mistake[],
  env: Environment,
  open?: OpenDocument,
): Invocation {
  const read = readValues(flags, env, open)
  const mistakes = [...wrong]
  mistakes.push(...read.mistakes, ...unsafeEnvironment(env, read.values.devMode === true))
  if (mistakes.length > 0 || name === undefined) {
    const noWayChosen = read.noWayChosen && wrong.length === 0
    return { kind: 'mistakes', mistakes, noWayChosen }
  }
  // `readValues` has seen to it that what the mode demands is there.
  const { issuers, policies } = read
  const upstreams = upstreamEntries(read.upstreams)
  const settings = { ...(shared(read.values) as Settings), issuers, upstreams, policies }
  const warnings = [...read.warnings, ...egressWarnings(env, settings)]
  const given = withoutSecrets(read.given)
  return {
    kind: 'run',
    command: name,
    settings,
    warnings,
    given,
    listed: {
      ...read.listed,
      upstreams: read.upstreams.map(printed),
    },
    document: documentPath(flags, env),
  }
}

/** What stands in no entry of `upstreams`. */
const shared = (values: Values): Values =>
  Object.fromEntries(Object.entries(values).filter(([key]) => !UPSTREAM_KEYS.has(key)))

/** What may be kept and shown: of a secret, how it was referred to. */
const withoutSecrets = (given: ReadonlyMap<Key, Given>): ReadonlyMap<Key, Given> =>
  new Map(
    [...given].map(([key, each]) => [key, settingOf(key).secret ? { ...each, text: '' } : each]),
  )

const printed = ({ kind, from, own, given, isOneOfSeveral }: UpstreamRead): PrintedUpstream => ({
  kind,
  from,
  own,
  given: withoutSecrets(given),
  isOneOfSeveral,
})

const choosesWay = (mentioned: ReadonlySet<Key>): boolean =>
  [...mentioned].some((key) => key === 'devMode' || settingOf(key).required !== undefined)

/** Entries as a document lists them, for the one that is printed. */
export interface Listings extends PoliciesGiven {
  readonly issuers: readonly IssuerGiven[]
  /** Secrets left out. */
  readonly upstreams: readonly PrintedUpstream[]
}
export type PrintedUpstream = Omit<UpstreamRead, 'values'>

const NONE_LISTED = { issuers: [], policies: [], rules: [] }

const nameOf = ({ name }: { readonly name: string }): string => name

const OWN_ISSUER = 'is set in development mode, which brings its own issuer and upstreams'

interface ValuesRead {
  readonly values: Values
  readonly issuers: readonly IssuerEntry[]
  readonly upstreams: readonly UpstreamRead[]
  readonly policies: PolicyEntries
  readonly listed: Omit<Listings, 'upstreams'>
  readonly mistakes: readonly Mistake[]
  readonly warnings: readonly string[]
  readonly noWayChosen: boolean
  readonly given: ReadonlyMap<Key, Given>
}

function readValues(flags: Flags, env: Environment, open: OpenDocument | undefined): ValuesRead {
  const mistakes: Mistake[] = []
  const warnings: string[] = []
  const values: Record<string, unknown> = {}
  const given = new Map<Key, Given>()
  let document: FromDocument | undefined
  /** Those too whose value could not be read. */
  const mentioned = new Set<Key>()

  const take = (key: Key, text: string, from: string): void => {
    const read = settingOf(key).kind.read(text)
    if (read.ok) values[key] = read.value
    else mistakes.push({ setting: from, message: read.message, hint: read.hint })
  }
  const read = (key: Key, devMode: boolean): void => {
    const setting = settingOf(key)
    const elsewhere = findGiven(setting, flags, env, devMode)
    if (elsewhere && 'message' in elsewhere) {
      mistakes.push(elsewhere)
      mentioned.add(key)
      return
    }
    const found = document ? together(key, elsewhere, document, mistakes) : elsewhere
    if (document?.mentioned.has(key)) mentioned.add(key)
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
  const path = documentPath(flags, env)
  if (path !== undefined) {
    if (!open) throw new Error('nothing here reads a document')
    document = open(path, env, devMode)
    mistakes.push(...document.mistakes)
    if (!document.whole)
      return {
        values,
        issuers: [],
        upstreams: [],
        listed: NONE_LISTED,
        policies: NONE_LISTED,
        mistakes,
        warnings,
        noWayChosen: false,
        given,
      }
  } else if (flags['config'] !== undefined) {
    mistakes.push({ setting: DOCUMENT_FLAG, message: 'names no file', hint: 'give its path' })
  }
  for (const key of KEYS) if (key !== 'devMode') read(key, devMode)

  const signIn = isSignIn(mentioned)
  const mode: Mode = devMode ? 'development' : signIn ? 'sign-in' : 'production'
  const upstreams = upstreamReads(document?.upstreams ?? [], given, values, devMode, mistakes)
  if (!devMode) {
    const lacking = missing(mentioned, signIn, values as Values, upstreams, document?.memberOf)
    mistakes.push(...lacking, ...(document ? lackingEntries(document, mentioned, lacking) : []))
  }
  if (signIn && !given.has('host')) values['host'] = '127.0.0.1'
  const address = readAddress(given)
  for (const respelled of [address, readWindow(given, values)]) {
    Object.assign(values, respelled.values)
    mistakes.push(...respelled.mistakes)
  }
  const addr = given.get('addr')
  for (const key of addr ? (['host', 'port'] as const) : []) {
    const text = address.values[key]
    if (addr && text !== undefined) given.set(key, { from: addr.from, text: String(text) })
  }
  mistakes.push(...contradictions(mode, given, values, upstreams))
  const listed = document ? { issuers: document.issuers, ...document.policies } : NONE_LISTED
  const issuers = issuerEntries(document?.issuers ?? [], given, values, mistakes)
  mistakes.push(...upstreamMistakes(upstreams))
  mistakes.push(...policyMistakes(listed, issuers, upstreamEntries(upstreams).map(nameOf)))
  mistakes.push(...keyPolicyMistakes(values, given, listed))
  if (devMode && document && document.issuers.length > 1) {
    const [{ from = '' } = {}] = document.issuers
    mistakes.push({ setting: from, message: OWN_ISSUER, hint: 'leave development mode' })
  }
  const unkeyed = mode === 'production' && !given.has('identityHashKey')
  if (unkeyed && !mistakes.some(({ setting }) => setting.includes('IDENTITY'))) {
    warnings.push('IDENTITY_HASH_KEY is not set: hashed identities change with every start')
  }
  warnings.push(...cautions(values))
  const noWayChosen = document === undefined && !choosesWay(mentioned)
  return {
    values,
    issuers,
    upstreams,
    listed,
    policies: policyEntries(listed),
    mistakes,
    warnings,
    noWayChosen,
    given,
  }
}

/** One setting alone, from the environment, for commands that need no more. */
export function readSetting<K extends Key>(key: K, env: Environment): Read<Values[K] | undefined> {
  const setting = settingOf(key)
  const found = findGiven(setting, {}, env, false)
  if (found && 'message' in found) return { ok: false, ...found }
  const text = found?.text ?? setting.fallback
  if (text === undefined) return { ok: true, value: undefined }
  return setting.kind.read(text) as Read<Values[K]>
}
