// Turns flags and environment into settings, or into every mistake at once. Nothing else in the tree
// reads the environment, and nothing is bound or requested before this succeeds. Mistakes never repeat a
// value: it may be a secret, perhaps pasted into the wrong setting.

import type { OpenDocument } from './from-document.ts'
import {
  documentPath,
  type ProcessEnvironment,
  findGiven,
  type Flags,
  type Given,
} from './given.ts'
import type { FallbackEntry } from './fallback.ts'
import type { IssuerEntry } from './issuers.ts'
import type { Mistake, Read } from './kinds.ts'
import type { PolicyEntries } from './policies.ts'
import { type Listings, type PrintedUpstream, readValues } from './read-values.ts'
import { type Key, settingOf, type Values } from './table.ts'
import { egressWarnings, unsafeEnvironment } from './unsafe-environment.ts'
import {
  UPSTREAM_KEYS,
  upstreamEntries,
  type UpstreamEntry,
  type UpstreamKey,
  type UpstreamRead,
} from './upstreams.ts'

/** Settings that may be absent: they have no default, or only one use of the gate needs them. */
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
/** Alternative spellings: their values appear under the usual names. */
type Spelling = 'addr' | 'rateLimitMax' | 'rateLimitWindow' | 'redisUrl'

export type Settings = Required<Omit<Values, Maybe | Spelling | UpstreamKey>> &
  Pick<Values, Maybe> & {
    /** The issuers whose users are admitted; empty in a gate for devices only. */
    readonly issuers: readonly IssuerEntry[]
    readonly upstreams: readonly UpstreamEntry[]
    /** Only a document has policies. */
    readonly policies: PolicyEntries
    /** The same: what stands in for what. */
    readonly fallback: readonly FallbackEntry[]
  }

export type Invocation =
  | { readonly kind: 'text'; readonly text: string }
  | {
      readonly kind: 'mistakes'
      readonly mistakes: readonly Mistake[]
      /** Nothing that any use of a gate needs was given: somebody is trying it for the first time. */
      readonly noWayChosen: boolean
    }
  | {
      readonly kind: 'run'
      readonly command: CommandName
      readonly settings: Settings
      readonly warnings: readonly string[]
      /** As they were given, without secrets, for `postern config`. */
      readonly given: ReadonlyMap<Key, Given>
      readonly listed: Listings
      /** The path of the document, if there is one. */
      readonly document: string | undefined
    }

export const COMMANDS = ['serve', 'check', 'config'] as const
export type CommandName = (typeof COMMANDS)[number]

/**
 * `flags`, with their mistakes. `open` reads the document that flags or environment name; it may be absent if
 * they name none.
 */
export function readSettings(
  name: CommandName | undefined,
  flags: Flags,
  wrong: readonly Mistake[],
  env: ProcessEnvironment,
  open?: OpenDocument,
): Invocation {
  const read = readValues(flags, env, open)
  const mistakes = [...wrong]
  mistakes.push(...read.mistakes, ...unsafeEnvironment(env, read.values.devMode === true))
  if (mistakes.length > 0 || name === undefined) {
    const noWayChosen = read.noWayChosen && wrong.length === 0
    return { kind: 'mistakes', mistakes, noWayChosen }
  }
  // `readValues` has checked that everything the mode needs is present.
  const { issuers, policies, fallback } = read
  const upstreams = upstreamEntries(read.upstreams)
  const settings = { ...(shared(read.values) as Settings), issuers, upstreams, policies, fallback }
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

/** The settings outside the entries of `upstreams`. */
const shared = (values: Values): Values =>
  Object.fromEntries(Object.entries(values).filter(([key]) => !UPSTREAM_KEYS.has(key)))

/** The part that may be kept and shown: for a secret, its reference. */
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

/** Reads one setting from the environment, for commands that need no more. */
export function readSetting<K extends Key>(
  key: K,
  env: ProcessEnvironment,
): Read<Values[K] | undefined> {
  const setting = settingOf(key)
  const found = findGiven(setting, undefined, env, false)
  if (found && 'message' in found) return { ok: false, ...found }
  const text = found?.text ?? setting.fallback
  if (text === undefined) return { ok: true, value: undefined }
  return setting.kind.read(text) as Read<Values[K]>
}
