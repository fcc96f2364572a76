// A device's credential: its token as `Authorization: Bearer` or as `x-api-key`, the way SDKs send
// an API key, with or without the prefix that some of them insist on. A key is taken in its place.

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

/** The one token that was sent; apiKeyHelper of Claude Code sends it both ways. */
export function deviceToken(sent: DeviceCredentials): Decision<string> {
  const { authorization, apiKey, query } = sent
  if (apiKey === null) return bearerToken(authorization, query)
  const key = bearerToken(`Bearer ${apiKey}`, query)
  if (!key.ok || authorization === null) return key
  const bearer = bearerToken(authorization, query)
  if (!bearer.ok) return bearer
  return bareToken(key.value) === bareToken(bearer.value) ? key : TWO_CREDENTIALS
}

/** Without a promise for a key, and for what is no one token. */
export type AdmitDevice = (
  sent: DeviceCredentials,
  now: Instant,
) => Decision<Admitted> | Promise<Decision<Admitted>>

/** `policyOf`: undefined where the gate has none for such a device. */
export function deviceAdmission(
  verify: (token: string, now: Instant) => Promise<EnrollDecision<DeviceClaims>>,
  policyOf: (claims: DeviceClaims) => Policy | undefined,
  admitKey: AdmitKey,
): AdmitDevice {
  /** Claims are one object for as long as their token is remembered. */
  const made = new WeakMap<DeviceClaims, Decision<Admitted>>()
  const decide = (claims: DeviceClaims): Decision<Admitted> => {
    const policy = policyOf(claims)
    if (!policy) return refused('policy_unknown')
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
