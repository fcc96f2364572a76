// What a token whose signature is right must say (RFC 7519 §4.1, RFC 9068 §4). Pure: `now` is an
// argument, nothing is fetched, no signature is looked at.

import type { JsonObject } from '../token/strict-json.ts'
import { CLOCK_SKEW_SECONDS } from '../token/compact.ts'

export interface ClaimRules {
  readonly issuer: string
  readonly audiences: readonly string[]
}

export interface Claims {
  readonly issuer: string
  readonly subject: string
  /** Seconds since the epoch. */
  readonly expiresAt: number
  readonly scopes: ReadonlySet<string>
}

export type Checked =
  | { readonly ok: true; readonly value: Claims }
  | { readonly ok: false; readonly expired: boolean; readonly reason: string }

/** A token that claims a longer life is a mistake of its issuer, or nobody's access token. */
const MAX_LIFETIME_SECONDS = 366 * 86_400
const MAX_SUBJECT_BYTES = 1024

/** `nowSeconds` is since the epoch. */
export function checkClaims(claims: JsonObject, rules: ClaimRules, nowSeconds: number): Checked {
  const { iss, aud, sub, exp, nbf, iat, scope } = claims
  if (iss !== rules.issuer) return wrong('iss is another')
  if (!namesAudience(aud, rules.audiences)) return wrong('aud is another')
  if (typeof sub !== 'string' || sub === '') return wrong('sub is missing')
  if (Buffer.byteLength(sub) > MAX_SUBJECT_BYTES) return wrong('sub is too long')
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
    if (!isNumericDate(time)) return wrong(`${name} is no date`)
    if (time > nowSeconds + CLOCK_SKEW_SECONDS) return wrong(`${name} is in the future`)
  }
  if (scope !== undefined && typeof scope !== 'string') return wrong('scope is no string')
  const scopes = new Set((scope ?? '').split(' ').filter((each) => each !== ''))
  return { ok: true, value: { issuer: iss, subject: sub, expiresAt: exp, scopes } }
}

function wrong(reason: string): Checked {
  return { ok: false, expired: false, reason }
}

function isNumericDate(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

/** RFC 7519 §4.1.3: a string, or an array of strings. */
function namesAudience(aud: unknown, accepted: readonly string[]): boolean {
  const named = Array.isArray(aud) ? aud : [aud]
  return (
    named.every((each) => typeof each === 'string') && named.some((each) => accepted.includes(each))
  )
}
