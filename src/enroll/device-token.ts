// A device's token: signed and verified here, and nowhere else. Its `typ`, `iss` and `aud` are its own
// (RFC 8725 §3.11, §3.12), so that neither a user's token passes for it nor it for a user's (attack
// 23). Pure: revocations.ts knows whether a token was withdrawn.

import { CompactSign, compactVerify } from 'jose'
import { DEVICE_TOKEN_TYPE } from '../token/bare.ts'
import { CLOCK_SKEW_SECONDS, parseCompact } from '../token/compact.ts'
import type { JsonObject } from '../token/strict-json.ts'
import { type Entitlements, entitlementMembers, readEntitlements } from './entitlements.ts'
import type { DeviceKeys } from './keys.ts'

export interface DeviceClaims extends Entitlements {
  /** The device's own id; only for the token, never for a log. */
  readonly deviceId: string
  /**
   * Identifies the device to limits, logs and tables: an HMAC, 64 hexadecimal digits (see
   * bootstrap.ts).
   */
  readonly deviceHash: string
  readonly jti: string
  /** All tokens that come from one enrolment by refreshing. */
  readonly family: string
  /** Seconds since the epoch, whole. */
  readonly issuedAt: number
  readonly expiresAt: number
}

export type OpenedToken =
  | { readonly ok: true; readonly value: DeviceClaims }
  | { readonly ok: false; readonly expired: boolean; readonly reason: string }

export const DEVICE_ISSUER = 'postern'
export const DEVICE_AUDIENCE = 'postern-device'
/** The maximum of JWT_EXPIRATION_HOURS. */
export const MAX_LIFETIME_SECONDS = 366 * 86_400

const HS256 = 'HS256'
const SIZES = { [HS256]: [32, 32] } as const
const DEVICE_ID = /^[\x21-\x7e]{1,200}$/
const FAMILY = /^fam_[0-9a-f]{32}$/
const JTI = /^tok_[0-9a-f]{32}$/

export function isDeviceId(value: unknown): value is string {
  return typeof value === 'string' && DEVICE_ID.test(value)
}

export function isFamily(value: unknown): value is string {
  return typeof value === 'string' && FAMILY.test(value)
}

export function isJti(value: unknown): value is string {
  return typeof value === 'string' && JTI.test(value)
}

/**
 * Equal claims under one key give the same text, so that a repeated refresh gets the same answer.
 */
export async function signDeviceToken(claims: DeviceClaims, keys: DeviceKeys): Promise<string> {
  const { kid, key } = keys.signing
  const members = {
    iss: DEVICE_ISSUER,
    aud: DEVICE_AUDIENCE,
    sub: claims.deviceHash,
    device_id: claims.deviceId,
    ...entitlementMembers(claims),
    family: claims.family,
    jti: claims.jti,
    iat: claims.issuedAt,
    exp: claims.expiresAt,
  }
  return new CompactSign(Buffer.from(JSON.stringify(members)))
    .setProtectedHeader({ alg: HS256, typ: DEVICE_TOKEN_TYPE, kid })
    .sign(await key)
}

/**
 * `bare`: the token without its prefix. `allowanceSeconds`: how long past its `exp` it still opens.
 */
export async function openDeviceToken(
  bare: string,
  keys: DeviceKeys,
  nowSeconds: number,
  allowanceSeconds = 0,
): Promise<OpenedToken> {
  const parsed = parseCompact(bare, SIZES)
  if (!parsed.ok) return wrong(parsed.reason)
  const { typ, kid } = parsed.value.header
  if (typ !== DEVICE_TOKEN_TYPE) return wrong('typ is that of another kind of token')
  const found = typeof kid === 'string' ? keys.find(kid) : undefined
  if (!found) return wrong('kid is unknown')
  try {
    await compactVerify(bare, await found.key, { algorithms: [HS256] })
  } catch {
    return wrong('signature is wrong')
  }
  return readClaims(parsed.value.claims, nowSeconds, allowanceSeconds)
}

function readClaims(claims: JsonObject, nowSeconds: number, allowanceSeconds: number): OpenedToken {
  const { iss, aud, sub, device_id: deviceId, family, jti, iat, exp, cnf } = claims
  if (iss !== DEVICE_ISSUER) return wrong('iss is another')
  if (aud !== DEVICE_AUDIENCE) return wrong('aud is another')
  // RFC 7800 §3.1: a verifier that cannot check the proof must not accept the token as a bearer token.
  if (cnf !== undefined) return wrong('cnf asks for a proof of possession')
  if (typeof sub !== 'string' || !/^[0-9a-f]{64}$/.test(sub)) return wrong('sub is not a device')
  if (!isDeviceId(deviceId)) return wrong('device_id is malformed')
  if (!isFamily(family)) return wrong('family is malformed')
  if (!isJti(jti)) return wrong('jti is malformed')
  if (!isSeconds(iat) || !isSeconds(exp)) return wrong('iat or exp is not a date')
  if (iat > nowSeconds + CLOCK_SKEW_SECONDS) return wrong('iat is in the future')
  if (exp > nowSeconds + MAX_LIFETIME_SECONDS + CLOCK_SKEW_SECONDS) {
    return wrong('exp is too far ahead')
  }
  // No leeway: the same clock issued the token.
  if (exp + allowanceSeconds <= nowSeconds) {
    return { ok: false, expired: true, reason: 'exp is past' }
  }
  const read = readEntitlements(claims)
  if (!read.ok) return wrong(read.reason)
  const times = { issuedAt: iat, expiresAt: exp }
  return { ok: true, value: { deviceId, deviceHash: sub, jti, family, ...times, ...read.value } }
}

function wrong(reason: string): OpenedToken {
  return { ok: false, expired: false, reason }
}

function isSeconds(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}
