// What a device is told of itself at `GET /device`: what it may do, until when, and how its caps
// stand. It is the answer to its own token alone.

import type { CapStanding } from '../budget/charge.ts'
import type { DeviceAbout } from '../enroll/enroll.ts'

export interface CommonRate {
  readonly perMinute: number
  readonly burst: number
}

export function aboutDevice(
  { claims, family, replaced, refreshableUntil }: DeviceAbout,
  caps: readonly CapStanding[],
  common: CommonRate | undefined,
): object {
  const { models, rateLimit, spendCap, orgId, userId } = claims
  const own = rateLimit === undefined ? undefined : { perMinute: rateLimit, burst: rateLimit }
  const rate = own ?? common
  return {
    // As logs, `postern devices` and `postern usage` show it.
    device: claims.deviceHash,
    family: claims.family,
    label: family?.label ?? null,
    name: family?.name ?? null,
    user_id: userId ?? null,
    org_id: orgId ?? null,
    issued_at: utc(claims.issuedAt),
    expires_at: utc(claims.expiresAt),
    // A token that was replaced counts as stolen where it is refreshed.
    refreshable_until: replaced ? null : utc(refreshableUntil),
    replaced,
    policy: {
      // Exact names or with a trailing `*`; null: every model.
      models: models ?? null,
      rate_limit: rate ? { requests_per_minute: rate.perMinute, burst: rate.burst } : null,
      // US dollars a calendar month.
      spend_cap: spendCap ?? null,
    },
    caps: caps.map((cap) => ({
      scope: cap.scope,
      limit_micro_usd: cap.limitMicroUsd,
      // Less what was credited.
      spent_micro_usd: cap.spentMicroUsd,
      estimated_micro_usd: cap.estimatedMicroUsd,
      credited_micro_usd: cap.creditedMicroUsd,
      reserved_micro_usd: cap.reservedMicroUsd,
      left_micro_usd: cap.leftMicroUsd,
      resets_at: new Date(cap.resetsAtMs).toISOString(),
    })),
  }
}

const utc = (epochSeconds: number): string => new Date(epochSeconds * 1000).toISOString()
