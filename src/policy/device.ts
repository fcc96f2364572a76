// What a device may do: the policy that its gate gives it, and never more than its own token says.

import type { DefaultPolicies } from './from-settings.ts'
import { microUsd } from './from-settings.ts'
import { narrowed, NO_LIMITS, type Policy, policy } from './policy.ts'
import type { PolicyOf } from './select.ts'

/** What the token of a device says of its limits and of whose it is. */
export interface DeviceEntitlements {
  readonly models: readonly string[] | undefined
  /** Requests a minute. */
  readonly rateLimit: number | undefined
  /** US dollars a month. */
  readonly spendCap: number | undefined
  /** The name of the policy that its enrolment code gave it. */
  readonly policy: string | undefined
  readonly orgId: string | undefined
}

/** Asked once for each token that is remembered. */
export function devicePolicies(policyOf: PolicyOf, { device, ratedDevice }: DefaultPolicies) {
  return (own: DeviceEntitlements): Policy | undefined => {
    const given = policyOf({ kind: 'device', org: own.orgId, policy: own.policy })
    if (!given) return undefined
    const base = given === device && own.rateLimit !== undefined ? ratedDevice : given
    return narrowed(base, ownPolicy(own))
  }
}

function ownPolicy({ models, rateLimit, spendCap }: DeviceEntitlements): Policy {
  return policy({
    name: 'own',
    models,
    person: {
      ...NO_LIMITS,
      rate: rateLimit === undefined ? undefined : { perMinute: rateLimit, burst: rateLimit },
      spendPerMonth: microUsd(spendCap),
    },
  })
}
