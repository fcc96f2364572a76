// Contradictions between settings. Pure; single values are checked elsewhere, and none is changed here.

import { isListed } from './egress-kinds.ts'
import type { Given } from './given.ts'
import { isLoopback } from '../hosts.ts'
import type { Mistake } from './kinds.ts'
import { UPSTREAM_KINDS } from '../names.ts'
import { developmentMistakes, signInMistakes } from './mode-demands.ts'
import { OWN_SECRETS } from './credential-kinds.ts'
import { type Key, KEYS, settingOf, type Values } from './table.ts'
import { callersOf, isKeyless, keysOf, takes, type UpstreamRead } from './upstreams.ts'

export type Mode = 'development' | 'sign-in' | 'production'

/** `given` and `values` after other spellings were applied. */
export function contradictions(
  mode: Mode,
  given: ReadonlyMap<Key, Given>,
  values: Values,
  upstreams: readonly UpstreamRead[],
): Mistake[] {
  const several = upstreams.filter(({ isOneOfSeveral }) => isOneOfSeveral)
  const mistakes = [
    ...keySetMistakes(given, values),
    ...sharedSecrets([given, ...several.map((each) => each.given)]),
    ...plainHttpMistakes(given, values, ASKED),
    ...several.flatMap((each) => plainHttpMistakes(each.given, each.values, keysOf(each.kind))),
    ...callerMistakes(mode, upstreams),
    ...keylessMistakes(upstreams),
    ...keyLifetimeMistakes(given, values),
    ...oldKeyMistakes(given),
  ]
  if (mode === 'development') mistakes.push(...developmentMistakes(given, values))
  if (mode === 'sign-in') mistakes.push(...signInMistakes(given, values, upstreams))
  return mistakes
}

function oldKeyMistakes(given: ReadonlyMap<Key, Given>): Mistake[] {
  const old = given.get('identityHashKeyOld')
  if (!old || given.has('identityHashKey')) return []
  const message = 'is given without IDENTITY_HASH_KEY, in whose place it stood'
  return [{ setting: old.from, message, hint: 'give the key of now as well' }]
}

/**
 * One secret must not serve two purposes: anybody who may see one would have the other. Secrets from two
 * providers are not ours to choose.
 */
function sharedSecrets(all: readonly ReadonlyMap<Key, Given>[]): Mistake[] {
  const mistakes: Mistake[] = []
  const seen = new Map<string, { readonly from: string; readonly own: boolean }>()
  const secrets = KEYS.flatMap((key) => all.map((given) => [key, given.get(key)] as const))
  for (const [key, found] of secrets) {
    const { secret, kind } = settingOf(key)
    if (!found || !secret) continue
    const own = OWN_SECRETS.has(kind)
    // Hexadecimal digits are case-insensitive.
    const values = own ? found.text.toLowerCase().split(',') : [found.text.toLowerCase()]
    for (const value of new Set(values.map((each) => each.trim()))) {
      const other = seen.get(value)
      if (other && (own || other.own)) {
        mistakes.push({
          setting: found.from,
          message: `holds the same secret as ${other.from}`,
          hint: 'make one for each, with: openssl rand -hex 32',
        })
      }
      seen.set(value, { from: found.from, own })
    }
  }
  return mistakes
}

/** Personal mode has no devices. */
function callerMistakes(mode: Mode, upstreams: readonly UpstreamRead[]): Mistake[] {
  if (mode !== 'sign-in') return []
  return upstreams.flatMap((each) => {
    const from = callersOf(each)
    if (!from || !takes(each, 'device')) return []
    const message = 'names devices, and none can enrol at this gate'
    const hint = 'leave device out, or CLIENT_ID'
    return [{ setting: from.from, message, hint }]
  })
}

/** Anthropic itself always needs a key. */
function keylessMistakes(upstreams: readonly UpstreamRead[]): Mistake[] {
  return upstreams.flatMap(({ kind, given }) => {
    const none = given.get('anthropicKeyHeader')
    if (kind !== 'anthropic' || !none || !isKeyless(given)) return []
    const { from } = none
    if (given.has('anthropicApiKey')) {
      return [
        { setting: from, message: 'is none, though there is a key', hint: 'leave out either' },
      ]
    }
    if (given.has('anthropicBaseUrl')) return []
    const hint = 'give the address of the server that needs no key'
    return [{ setting: from, message: "is none, and Anthropic's own API needs a key", hint }]
  })
}

/** A default follows the longest lifetime (keys.ts), so only explicit values can contradict it. */
function keyLifetimeMistakes(given: ReadonlyMap<Key, Given>, values: Values): Mistake[] {
  const { keyExpires = 0, keyMaxLifetime = Infinity } = values
  const expires = given.get('keyExpires')
  if (!expires || keyExpires <= keyMaxLifetime) return []
  return [
    {
      setting: expires.from,
      message: 'is longer than KEY_MAX_LIFETIME lets a key live',
      hint: 'make it shorter, or that longer',
    },
  ]
}

function keySetMistakes(given: ReadonlyMap<Key, Given>, values: Values): Mistake[] {
  const { jwksRefreshSeconds: refresh, jwksMaxStaleSeconds: stale } = values
  if (refresh === undefined || stale === undefined || stale >= refresh) return []
  return [
    {
      setting: given.get('jwksMaxStaleSeconds')?.from ?? 'JWKS_MAX_STALE_SECONDS',
      message: 'is less than JWKS_REFRESH_SECONDS, so that keys would die between two reads',
      hint: 'make it at least as long',
    },
  ]
}

/** Requests and responses must not cross a foreign network in clear text. */
const ASKED: readonly Key[] = [
  'jwksUrl',
  'oauthBaseUrl',
  'oauthTokenUrl',
  'apiBaseUrl',
  ...UPSTREAM_KINDS.flatMap(keysOf),
]

function plainHttpMistakes(
  given: ReadonlyMap<Key, Given>,
  values: Values,
  asked: readonly Key[],
): Mistake[] {
  return asked.flatMap((key) => {
    const url = values[key]
    if (!(url instanceof URL) || url.protocol !== 'http:' || isLoopback(url.hostname)) return []
    const host = url.hostname.replace(/^\[|\]$/g, '')
    if (isListed(host, values.plainHttpHosts ?? [])) return []
    return [
      {
        setting: given.get(key)?.from ?? settingOf(key).env,
        message: 'is not https',
        hint: 'use https; plain http is for loopback, and for private hosts in PLAIN_HTTP_HOSTS',
      },
    ]
  })
}

/** For one of several issuers. */
export const issuerContradictions = (
  given: ReadonlyMap<Key, Given>,
  values: Values,
): readonly Mistake[] => [
  ...keySetMistakes(given, values),
  ...plainHttpMistakes(given, values, ['jwksUrl']),
]
