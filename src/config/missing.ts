// Settings that must be present, given the upstreams, the way devices enrol, and whether somebody signs in.

import { UPSTREAM_KINDS } from '../names.ts'
import type { Mistake } from './kinds.ts'
import { OWN_SECRETS } from './credential-kinds.ts'
import { flagOf, type Key, KEYS, type Need, settingOf, type Values } from './table.ts'
import { CHOSEN_BY, isKeyless, takes, type UpstreamRead } from './upstreams.ts'

/** Any of these turns on sign-in; the other settings have names that programs share. */
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

/** The kinds that have no rules of their own below. */
const OTHERS = UPSTREAM_KINDS.filter(
  (kind) => kind !== 'tinfoil' && kind !== 'anthropic' && kind !== 'anthropic-oauth',
)

const MISSING = 'is missing'

export const isMissing = ({ message }: Mistake): boolean => message.startsWith(MISSING)

/** What the configured upstreams and enrolment need. */
export function missing(
  mentioned: ReadonlySet<Key>,
  signIn: boolean,
  { bootstrap }: Pick<Values, 'bootstrap'>,
  upstreams: readonly UpstreamRead[],
  memberOf?: (key: Key) => string | undefined,
): Mistake[] {
  // Anthropic may be configured by key or by sign-in: a missing key is reported separately.
  const keyed = mentioned.has('anthropicApiKey') && !signIn
  const keyless = upstreams.some(({ kind, given }) => kind === 'anthropic' && isKeyless(given))
  const anthropic = keyed || (keyless && !signIn)
  const other = OTHERS.some((kind) => mentioned.has(CHOSEN_BY[kind]))
  const tinfoil = mentioned.has('tinfoilApiKey') || !(anthropic || other || signIn)
  const devices = !signIn && upstreams.some((each) => takes(each, 'device'))
  const needs: Readonly<Record<Need, boolean>> = {
    Tinfoil: tinfoil,
    Anthropic: keyed,
    devices,
    OpenAI: mentioned.has(CHOSEN_BY.openai),
    'user tokens':
      tinfoil ||
      bootstrap === 'jwt' ||
      ((anthropic || other) && upstreams.some((each) => takes(each, 'user'))),
    enrolment: devices && bootstrap !== undefined && bootstrap !== 'off',
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
