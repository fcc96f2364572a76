// What a token with a valid signature must say (RFC 7519 §4.1, RFC 9068 §4). Pure: `now` is an
// argument, nothing is fetched, no signature is checked.

import type { JsonObject } from '../token/strict-json.ts'
import { CLOCK_SKEW_SECONDS } from '../token/compact.ts'
import { claimAt, type ClaimPath } from './claim-path.ts'

export type AudienceClaim = 'aud' | 'azp' | 'client_id'

export interface ClaimRules {
  readonly issuer: string
  readonly audiences: readonly string[]
  /** The first of these claims that a token has counts. */
  readonly audienceClaims: readonly AudienceClaim[]
  readonly subject: ClaimPath
  /** The token's scopes are those of all these claims together. */
  readonly scopes: readonly ClaimPath[]
  /** Whether scopes may be lists, besides one text with spaces. */
  readonly scopeLists: boolean
  /** Further claims that a token must have, each with one of several values. */
  readonly required: readonly RequiredClaim[]
  /** Undefined: users have no groups. */
  readonly groups: ClaimPath | undefined
  /** Undefined: users have no organisation. */
  readonly organisation?: ClaimPath | undefined
}

export interface RequiredClaim {
  readonly path: ClaimPath
  readonly oneOf: ReadonlySet<string>
}

export interface Claims {
  readonly issuer: string
  readonly subject: string
  /** Seconds since the epoch. */
  readonly expiresAt: number
  readonly scopes: ReadonlySet<string>
  readonly groups: readonly string[]
  readonly organisation: string | undefined
}

export type Checked =
  | { readonly ok: true; readonly value: Claims }
  | { readonly ok: false; readonly expired: boolean; readonly reason: string }

/** A token with a longer lifetime is a mistake of its issuer, or not an access token. */
const MAX_LIFETIME_SECONDS = 366 * 86_400
const MAX_SUBJECT_BYTES = 1024

/** `nowSeconds` is since the epoch. */
export function checkClaims(claims: JsonObject, rules: ClaimRules, nowSeconds: number): Checked {
  const { iss, exp, nbf, iat } = claims
  if (iss !== rules.issuer) return wrong('iss is another')
  const audience = rules.audienceClaims.find((name) => Object.hasOwn(claims, name))
  if (audience === undefined) return wrong(`${rules.audienceClaims.join(', ')} is missing`)
  if (!namesAudience(claims[audience], audience, rules.audiences)) {
    return wrong(`${audience} is another`)
  }
  const subject = claimAt(claims, rules.subject)
  if (typeof subject !== 'string' || subject === '') return wrong('the subject is missing')
  if (Buffer.byteLength(subject) > MAX_SUBJECT_BYTES) return wrong('the subject is too long')
  if (!isNumericDate(exp)) return wrong('exp is missing')
  if (exp + CLOCK_SKEW_SECONDS < nowSeconds) {
    return { ok: false, expired: true, reason: 'exp is past' }
  }
  if (exp > nowSeconds + MAX_LIFETIME_SECONDS) return wrong('exp is too far ahead')
  for (const [name, time] of [
    ['nbf', nbf],
    ['iat', iat],
  ] as const) {
    if (time === undefined) continue
    if (!isNumericDate(time)) return wrong(`${name} is not a date`)
    if (time > nowSeconds + CLOCK_SKEW_SECONDS) return wrong(`${name} is in the future`)
  }
  const lacks = rules.required.find((each) => !says(claims, each))
  if (lacks) return wrong(`${lacks.path.join('.')} is not what it must be`)
  const scopes = scopesOf(claims, rules)
  if (!scopes) return wrong('scope is not a string')
  const groups = rules.groups ? groupsOf(claims, rules.groups) : []
  if (!groups) return wrong('groups are neither text nor a list of texts, or left out')
  const organisation = rules.organisation && claimAt(claims, rules.organisation)
  if (organisation !== undefined && !isOrganisation(organisation)) {
    return wrong('the organisation is not 1 to 200 ASCII characters')
  }
  const who = { issuer: rules.issuer, subject, groups, organisation }
  return { ok: true, value: { ...who, expiresAt: exp, scopes } }
}

/** The same form as for devices, because it is shown in logs and reports. */
const ORGANISATION = /^[\x21-\x7e](?:[\x20-\x7e]{0,198}[\x21-\x7e])?$/

function isOrganisation(value: unknown): value is string {
  return typeof value === 'string' && ORGANISATION.test(value)
}

function wrong(reason: string): Checked {
  return { ok: false, expired: false, reason }
}

function isNumericDate(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

/** RFC 7519 §4.1.3: `aud` is a string or an array of strings; the other claims name one client. */
function namesAudience(value: unknown, claim: AudienceClaim, accepted: readonly string[]): boolean {
  const named = claim === 'aud' && Array.isArray(value) ? value : [value]
  return isTexts(named) && named.some((each) => accepted.includes(each))
}

/**
 * Matches one of the texts, or a list with one of them; `true` and numbers match as JSON writes
 * them.
 */
function says(claims: JsonObject, { path, oneOf }: RequiredClaim): boolean {
  const said = claimAt(claims, path)
  const all: readonly unknown[] = Array.isArray(said) ? said : [said]
  return all.some(
    (each) =>
      (typeof each === 'string' || typeof each === 'boolean' || typeof each === 'number') &&
      oneOf.has(String(each)),
  )
}

function scopesOf(
  claims: JsonObject,
  { scopes: paths, scopeLists }: ClaimRules,
): Set<string> | undefined {
  const scopes = new Set<string>()
  for (const path of paths) {
    const said = claimAt(claims, path)
    if (said === undefined) continue
    const named = typeof said === 'string' ? said.split(' ') : scopeLists && said
    if (!isTexts(named)) return undefined
    for (const each of named) if (each !== '') scopes.add(each)
  }
  return scopes
}

/**
 * Undefined if the token leaves its groups out: a policy that a group narrows must not be missed.
 */
function groupsOf(claims: JsonObject, path: ClaimPath): readonly string[] | undefined {
  const said = claimAt(claims, path)
  if (said === undefined) return isLeftOut(claims, path[0] ?? '') ? undefined : []
  if (typeof said === 'string') return said === '' ? [] : [said]
  return isTexts(said) ? said : undefined
}

/**
 * A token with too many groups names a URL to ask for them (OpenID Connect Core §5.6.2), which this
 * gate does not do; Entra also sets `hasgroups`.
 */
function isLeftOut(claims: JsonObject, name: string): boolean {
  const { _claim_names: elsewhere, hasgroups } = claims
  const isElsewhere =
    typeof elsewhere === 'object' && elsewhere !== null && Object.hasOwn(elsewhere, name)
  return isElsewhere || (name === 'groups' && hasgroups === true)
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string')
}
