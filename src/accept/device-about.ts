// What a device is told of itself at `GET /device`: what it may do, until when, and how its caps
// stand. It is the answer to its own token alone.

import type { CapStanding } from '../budget/spend-limit.ts'
import type { Policy } from '../policy/policy.ts'
import type { DeviceAbout } from '../enroll/enrollment.ts'

export function aboutDevice(
  { claims, family, replaced, refreshableUntil }: DeviceAbout,
  { name, models, person }: Policy,
  caps: readonly CapStanding[],
): object {
  const { orgId, userId } = claims
  const { rate, spendPerMonth, spendPerDay } = person
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
      name,
      // Exact names or with a trailing `*`; null: every model.
      models: models ?? null,
      rate_limit: rate ? { requests_per_minute: rate.perMinute, burst: rate.burst } : null,
      // US dollars in a calendar month and in a day, in UTC.
      spend_cap: usd(spendPerMonth),
      spend_cap_day: usd(spendPerDay),
    },
    caps: caps.map((cap) => ({
      scope: cap.scope,
      // Of a month or a day, in UTC.
      period: cap.period,
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

const usd = (microUsd: number | undefined): number | null =>
  microUsd === undefined ? null : microUsd / 1_000_000
