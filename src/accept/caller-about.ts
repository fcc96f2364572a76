// The answer of `GET /device`: the caller's identity, expiry, policy and caps. The shape is the same for
// every kind of caller; members that a kind does not have are null.

import type { Admitted } from '../admit/admitted.ts'
import type { CapStanding } from '../budget/spend-limit.ts'
import type { DeviceAbout } from '../enroll/enrollment.ts'

/** What a credential says besides whom it admits; times are seconds since the epoch. */
export interface CredentialAbout {
  readonly device?: string
  readonly family?: string
  readonly label?: string | undefined
  readonly name?: string | undefined
  readonly userId?: string | undefined
  readonly issuedAt?: number | undefined
  /** Undefined: never expires, or lasts as long as the session. */
  readonly expiresAt?: number | undefined
  readonly refreshableUntil?: number | undefined
  /** A newer one has replaced it. */
  readonly replaced?: boolean
}

export function deviceAbout(about: DeviceAbout): CredentialAbout {
  const { claims, family, replaced, refreshableUntil } = about
  return {
    device: claims.deviceHash,
    family: claims.family,
    label: family?.label,
    name: family?.name,
    userId: claims.userId,
    issuedAt: claims.issuedAt,
    expiresAt: claims.expiresAt,
    // Refreshing a replaced token counts as theft.
    refreshableUntil: replaced ? undefined : refreshableUntil,
    replaced,
  }
}

/** For a verified token, whose dates are numbers. */
export function userAbout({ iat, exp }: Readonly<Record<string, unknown>>): CredentialAbout {
  return {
    issuedAt: typeof iat === 'number' ? iat : undefined,
    expiresAt: typeof exp === 'number' ? exp : undefined,
  }
}

export function callerAbout(
  { kind, identity, org, policy: { name, models, person } }: Admitted,
  about: CredentialAbout,
  caps: readonly CapStanding[],
): object {
  const { rate, spendPerMonth, spendPerDay } = person
  return {
    kind,
    // As logs, `postern devices`, `postern key list` and `postern usage` show it.
    identity,
    device: about.device ?? null,
    family: about.family ?? null,
    label: about.label ?? null,
    name: about.name ?? null,
    user_id: about.userId ?? null,
    org_id: org ?? null,
    issued_at: utc(about.issuedAt),
    expires_at: utc(about.expiresAt),
    refreshable_until: utc(about.refreshableUntil),
    replaced: about.replaced ?? false,
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
      // Minus credits.
      spent_micro_usd: cap.spentMicroUsd,
      estimated_micro_usd: cap.estimatedMicroUsd,
      credited_micro_usd: cap.creditedMicroUsd,
      reserved_micro_usd: cap.reservedMicroUsd,
      left_micro_usd: cap.leftMicroUsd,
      resets_at: new Date(cap.resetsAtMs).toISOString(),
    })),
  }
}

const utc = (epochSeconds: number | undefined): string | null =>
  epochSeconds === undefined ? null : new Date(epochSeconds * 1000).toISOString()

const usd = (microUsd: number | undefined): number | null =>
  microUsd === undefined ? null : microUsd / 1_000_000
