// A device's credential: its token as `Authorization: Bearer` or as `x-api-key`, the way SDKs send
// an API key, with or without the prefix that some of them insist on.

import type { DeviceClaims } from '../enroll/device-token.ts'
import { bareToken } from '../enroll/device-token.ts'
import type { EnrollDecision } from '../enroll/refusals.ts'
import type { Instant } from '../turn/instant.ts'
import { type Decision, granted } from '../refusal.ts'
import { type Admitted, permitted } from './admitted.ts'
import { bearerToken, TWO_CREDENTIALS } from './bearer.ts'

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
  const bare = bareToken(key.value)
  const same = bare !== undefined && bareToken(bearer.value) === bare
  return same ? key : TWO_CREDENTIALS
}

export type AdmitDevice = (sent: DeviceCredentials, now: Instant) => Promise<Decision<Admitted>>

export function deviceAdmission(
  verify: (token: string, now: Instant) => Promise<EnrollDecision<DeviceClaims>>,
): AdmitDevice {
  return async (sent, now) => {
    const token = deviceToken(sent)
    if (!token.ok) return token
    const claims = await verify(token.value, now)
    if (!claims.ok) return claims
    const { deviceHash, orgId, models = [], rateLimit, spendCap } = claims.value
    return granted(
      permitted(deviceHash, {
        org: orgId,
        models,
        rateLimit,
        spendCapMicroUsd: spendCap === undefined ? undefined : Math.round(spendCap * 1_000_000),
      }),
    )
  }
}
