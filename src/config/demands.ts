// What settings demand of one another: which must be there for the use that is made of the gate, and
// which cannot stand together. Pure, over what was given and what it was read as; no single value is
// judged here, and none is changed.

import { isListed } from './egress-kinds.ts'
import type { Given } from './given.ts'
import { isLoopback } from '../hosts.ts'
import { type Mistake, OWN_SECRETS } from './kinds.ts'
import { isEverybody } from './networks.ts'
import { callersOf, keysOf, takes, takesDevices, type UpstreamRead } from './upstreams.ts'
import { flagOf, type Key, KEYS, type Need, settingOf, type Values } from './table.ts'

/** Any of these says that somebody is to sign in; the others have names that programs share. */
const SIGN_IN: readonly Key[] = [
  'clientId',
  'oauthBaseUrl',
  'oauthTokenUrl',
  'oauthIssuer',
  'oauthScopes',
]

export function isSignIn(mentioned: ReadonlySet<Key>): boolean {
  return SIGN_IN.some((key) => mentioned.has(key))
}

const MISSING = 'is missing'

export const isMissing = ({ message }: Mistake): boolean => message.startsWith(MISSING)

/** What the upstreams that are configured, and the way devices enrol, cannot do without. */
export function missing(
  mentioned: ReadonlySet<Key>,
  signIn: boolean,
  { bootstrap }: Pick<Values, 'bootstrap'>,
  upstreams: readonly UpstreamRead[],
  memberOf?: (key: Key) => string | undefined,
): Mistake[] {
  // Of the two ways to Anthropic the key may be the one to leave out: it is told of by itself.
  const anthropic = mentioned.has('anthropicApiKey') && !signIn
  const openai = mentioned.has('openaiUpstreamUrl')
  const tinfoil = mentioned.has('tinfoilApiKey') || !(anthropic || openai || signIn)
  const needs: Readonly<Record<Need, boolean>> = {
    Tinfoil: tinfoil,
    Anthropic: anthropic,
    OpenAI: openai,
    'user tokens':
      tinfoil ||
      bootstrap === 'jwt' ||
      ((anthropic || openai) && upstreams.some((each) => takes(each, 'user'))),
    enrolment: anthropic && bootstrap !== undefined && bootstrap !== 'off',
    'signing in': signIn,
  }
  return KEYS.flatMap((key) => {
    const { required, env, about, kind } = settingOf(key)
    if (required === undefined || !needs[required] || mentioned.has(key)) return []
    const make = OWN_SECRETS.has(kind) ? ' Make one with: openssl rand -hex 32.' : ''
    const member = memberOf?.(key)
    const inDocument = member === undefined ? '' : `Write ${member}, or set`
    const hint = `${about} ${inDocument || 'Set'} ${env} or ${flagOf(env)}.${make}`
    return [{ setting: env, message: `${MISSING}; it is needed for ${required}`, hint }]
  })
}

/**
 * The longest that the runtime's timer keeps an idle connection for sure: it counts to 64 ticks of
 * four seconds, and the first of them may be nearly over.
 */
export const LONGEST_IDLE_SECONDS = 252

/** What is no mistake, and has to be known all the same. */
export function cautions({ keepAliveSeconds = 0, trustedProxies }: Values): string[] {
  if (trustedProxies?.some(isEverybody)) {
    return ['TRUSTED_PROXIES holds everybody: any client can give itself any address']
  }
  if (keepAliveSeconds <= LONGEST_IDLE_SECONDS || trustedProxies) return []
  return [
    `KEEP_ALIVE_SECONDS is above ${LONGEST_IDLE_SECONDS} and TRUSTED_PROXIES is not set: no idle connection is ever closed; name the load balancer in TRUSTED_PROXIES to leave open its connections alone`,
  ]
}

export type Mode = 'development' | 'sign-in' | 'production'

/** `given` and `values` with other spellings applied. */
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
    ...keyLifetimeMistakes(given, values),
    ...oldKeyMistakes(given),
  ]
  if (mode === 'development') mistakes.push(...developmentMistakes(given, values))
  if (mode === 'sign-in') mistakes.push(...signInMistakes(given, values))
  return mistakes
}

function oldKeyMistakes(given: ReadonlyMap<Key, Given>): Mistake[] {
  const old = given.get('identityHashKeyOld')
  if (!old || given.has('identityHashKey')) return []
  const message = 'is given without IDENTITY_HASH_KEY, in whose place it stood'
  return [{ setting: old.from, message, hint: 'give the key of now as well' }]
}

/**
 * One secret for two purposes: who may see one of them then has the other. What two providers gave is
 * theirs to choose.
 */
function sharedSecrets(all: readonly ReadonlyMap<Key, Given>[]): Mistake[] {
  const mistakes: Mistake[] = []
  const seen = new Map<string, { readonly from: string; readonly own: boolean }>()
  const secrets = KEYS.flatMap((key) => all.map((given) => [key, given.get(key)] as const))
  for (const [key, found] of secrets) {
    const { secret, kind } = settingOf(key)
    if (!found || !secret) continue
    const own = OWN_SECRETS.has(kind)
    // Hexadecimal digits mean the same in capitals.
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

/** Devices enrol beside Anthropic's key alone. */
function callerMistakes(mode: Mode, upstreams: readonly UpstreamRead[]): Mistake[] {
  if (mode === 'development' || (mode === 'production' && takesDevices(upstreams))) return []
  return upstreams.flatMap((each) => {
    const from = callersOf(each)
    if (!from || !takes(each, 'device')) return []
    const message = 'names devices, and none can enrol at this gate'
    const hint = 'set ANTHROPIC_API_KEY and JWT_SECRET, or leave device out'
    return [{ setting: from.from, message, hint }]
  })
}

/** What nobody has set follows the longest lifetime; see keys.ts. */
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

/** What is asked there, or told from there, must not be in clear on a network that is not one's own. */
const ASKED: readonly Key[] = [
  'jwksUrl',
  'oauthBaseUrl',
  'oauthTokenUrl',
  'apiBaseUrl',
  'tinfoilBaseUrl',
  'tinfoilAttestationUrl',
  'anthropicBaseUrl',
  'openaiUpstreamUrl',
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

/** Of one issuer among several. */
export const issuerContradictions = (
  given: ReadonlyMap<Key, Given>,
  values: Values,
): readonly Mistake[] => [
  ...keySetMistakes(given, values),
  ...plainHttpMistakes(given, values, ['jwksUrl']),
]

/** One person on their own machine, with one account. */
function signInMistakes(given: ReadonlyMap<Key, Given>, values: Values): Mistake[] {
  const mistakes: Mistake[] = []
  const apiKey = given.get('anthropicApiKey')
  if (apiKey) {
    mistakes.push({
      setting: apiKey.from,
      message: 'is given together with CLIENT_ID',
      hint: 'one gate has one Anthropic: by a key, or by a sign-in',
    })
  }
  const { clientSecret, clientAuth } = values
  if (clientAuth !== undefined && (clientAuth === 'none') === (clientSecret !== undefined)) {
    mistakes.push({
      setting: given.get('clientAuth')?.from ?? 'CLIENT_AUTH',
      message: clientSecret
        ? 'is none, though CLIENT_SECRET is given'
        : `is ${clientAuth}, though there is no CLIENT_SECRET`,
      hint: 'give the secret and a way to show it, or neither',
    })
  }
  const why = 'whoever signs in here signs in for their own machine alone'
  return [...mistakes, ...notLoopback(given, values, why, 'leave CLIENT_ID out')]
}

/** What development mode brings of its own, or would leave unused, and who may reach it. */
function developmentMistakes(given: ReadonlyMap<Key, Given>, values: Values): Mistake[] {
  const mistakes: Mistake[] = []
  for (const [key, { from }] of given) {
    if (!settingOf(key).notInDev) continue
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
      message: `is set, but without ${settingOf(key).env} an embedded upstream answers instead`,
      hint: 'give the key too, or leave both out',
    })
  }
  const why = 'development mode hands out a token to whoever asks'
  return [...mistakes, ...notLoopback(given, values, why, 'leave development mode')]
}

function notLoopback(
  given: ReadonlyMap<Key, Given>,
  values: Values,
  why: string,
  instead: string,
): Mistake[] {
  if (isLoopback(String(values.host))) return []
  return [
    {
      setting: given.get('addr')?.from ?? given.get('host')?.from ?? 'HOST',
      message: `is not loopback, and ${why}`,
      hint: `use 127.0.0.1, or ${instead}`,
    },
  ]
}
