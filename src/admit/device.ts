// Admits devices and keys: the token or key as `Authorization: Bearer` or `x-api-key`, as SDKs send an
// API key, with or without the prefix that some of them require.

import type { DeviceClaims } from '../enroll/device-token.ts'
import { bareToken, ownToken } from '../token/bare.ts'
import type { EnrollDecision } from '../enroll/refusals.ts'
import { isMeantAsKey } from '../keys/format.ts'
import type { Instant } from '../turn/instant.ts'
import type { Policy } from '../policy/policy.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import { type Admitted, permitted } from './admitted.ts'
import { bearerToken, TWO_CREDENTIALS } from './bearer.ts'
import type { AdmitKey } from './key.ts'

export interface DeviceCredentials {
  readonly authorization: string | null
  readonly apiKey: string | null
  /** The raw query, without its `?`. */
  readonly query: string
}

/** The one token that was sent; Claude Code's apiKeyHelper sends it in both headers. */
export function deviceToken(sent: DeviceCredentials): Decision<string> {
  const { authorization, apiKey, query } = sent
  if (apiKey === null) return bearerToken(authorization, query)
  const key = bearerToken(`Bearer ${apiKey}`, query)
  if (!key.ok || authorization === null) return key
  const bearer = bearerToken(authorization, query)
  if (!bearer.ok) return bearer
  return bareToken(key.value) === bareToken(bearer.value) ? key : TWO_CREDENTIALS
}

/** Synchronous for a key, and if there is not exactly one token. */
export type AdmitDevice = (
  sent: DeviceCredentials,
  now: Instant,
) => Decision<Admitted> | Promise<Decision<Admitted>>

/** `policyOf` returns undefined if the gate has no policy for such a device. */
export function deviceAdmission(
  verify: (token: string, now: Instant) => Promise<EnrollDecision<DeviceClaims>>,
  policyOf: (claims: DeviceClaims) => Policy | undefined,
  admitKey: AdmitKey,
): AdmitDevice {
  /** The claims stay the same object as long as their token is remembered. */
  const made = new WeakMap<DeviceClaims, Decision<Admitted>>()
  const decide = (claims: DeviceClaims): Decision<Admitted> => {
    const policy = policyOf(claims)
    if (!policy) return refused('policy_unknown', { reason: `device ${claims.deviceHash}` })
    return granted(permitted('device', claims.deviceHash, policy, { org: claims.orgId }))
  }
  const admitted = async (token: string, now: Instant): Promise<Decision<Admitted>> => {
    const claims = await verify(token, now)
    if (!claims.ok) return claims
    const known = made.get(claims.value)
    if (known) return known
    const decision = decide(claims.value)
    made.set(claims.value, decision)
    return decision
  }
  return (sent, now) => {
    const token = deviceToken(sent)
    if (!token.ok) return token
    const bare = ownToken(token.value)
    return bare !== undefined && isMeantAsKey(bare)
      ? admitKey(bare, now)
      : admitted(token.value, now)
  }
}
