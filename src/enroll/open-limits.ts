// How many devices strangers may enrol in an hour: from one address, from the networks around it, and
// in total. An owner of many addresses must not use up everybody's share: a /48 has 65,536 networks
// that each count as one address.

import type { BucketDecision, Buckets, Counters } from '../state/port.ts'
import { widerNetworks } from '../config/networks.ts'

export interface OpenLimits {
  /** For IPv6, a /64. */
  readonly openPerAddressPerHour: number
  /** A /48, or a /24 of IPv4. */
  readonly openPerSitePerHour: number
  /** A /32, or a /16 of IPv4. */
  readonly openPerBlockPerHour: number
  /** For the whole gate. Using it up takes networks of several providers. */
  readonly openPerHour: number
}

export type OpenDecision =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly by: string; readonly decision: BucketDecision }

/** Takes one from each count, or none. */
export function openEnrolments(
  counters: Counters,
  limits: OpenLimits,
): (addressKey: string, nowMs: number) => OpenDecision {
  const perBlock = perHour(counters, limits.openPerBlockPerHour)
  const perSite = perHour(counters, limits.openPerSitePerHour)
  const perAddress = perHour(counters, limits.openPerAddressPerHour)
  const overall = perHour(counters, limits.openPerHour)
  return (addressKey, nowMs) => {
    const wider = widerNetworks(addressKey)
    // The widest network first, so that one owner of many addresses fills no table with them.
    const counts: readonly (readonly [by: string, table: Buckets, key: string])[] = [
      ...(wider
        ? ([
            ['rate of one provider’s network', perBlock, wider.block],
            ['rate of one network', perSite, wider.site],
          ] as const)
        : []),
      ['rate of one address', perAddress, addressKey],
      ['rate of all addresses', overall, ''],
    ]
    for (const [at, [by, table, key]] of counts.entries()) {
      const decision = table.take(key, nowMs)
      if (decision.allowed) continue
      for (const [, taken, its] of counts.slice(0, at)) taken.giveBack(its, nowMs)
      return { allowed: false, by, decision }
    }
    return { allowed: true }
  }
}

export function perHour(counters: Counters, count: number): Buckets {
  return counters.buckets({ perMinute: count / 60, burst: count })
}
