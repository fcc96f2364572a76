// The policies made from the flat settings, one for each kind of caller. They do what these settings
// did before there were policies, so a gate that is started as before behaves as before.

import type { CallerKind } from '../names.ts'
import { type Limits, NO_LIMITS, type Policy, policy, type Rate } from './policy.ts'

export interface PolicySettings {
  /** 0 means no limit. */
  readonly rateLimitRpm: number
  readonly rateLimitBurst: number
  readonly maxIdentityConcurrency: number
  /** US dollars a month. */
  readonly orgSpendCap?: number | undefined
  readonly requireStreamUsage?: boolean | undefined
}

export interface DefaultPolicies extends Readonly<Record<CallerKind, Policy>> {
  /** For a device whose token has a rate, which replaces RATE_LIMIT_RPM and may exceed it. */
  readonly ratedDevice: Policy
}

/**
 * `callers` of each upstream decide who reaches it (dispatch/choose.ts). MAX_REQUEST_BODY_BYTES,
 * MAX_PAYLOAD_SIZE and REQUIRE_EHBP belong to the upstreams and hold for every caller there. DEVICE_* go
 * into a device's token when it is issued.
 */
export function defaultPolicies(settings: PolicySettings): DefaultPolicies {
  const { rateLimitRpm: perMinute, rateLimitBurst: burst, maxIdentityConcurrency } = settings
  const rate: Rate | undefined = perMinute === 0 ? undefined : { perMinute, burst }
  const person: Limits = { ...NO_LIMITS, rate, concurrency: maxIdentityConcurrency }
  const organisation = { ...NO_LIMITS, spendPerMonth: microUsd(settings.orgSpendCap) }
  const { requireStreamUsage: streamUsage = false } = settings
  const of = (name: string, own = person): Policy =>
    policy({ name, person: own, organisation, streamUsage })
  return {
    user: of('users'),
    device: of('devices'),
    ratedDevice: of('devices', { ...person, rate: undefined }),
    key: of('keys'),
    session: of('session'),
  }
}

export const microUsd = (usd: number | undefined): number | undefined =>
  usd === undefined ? undefined : Math.round(usd * 1_000_000)
