// What a device may do: its gate's policy for it, narrowed by its own token.

import { ROUTE_GROUPS } from '../names.ts'
import type { DefaultPolicies } from './from-settings.ts'
import { microUsd } from './from-settings.ts'
import { narrowed, NO_LIMITS, type Policy, policy } from './policy.ts'
import type { PolicyOf } from './select.ts'

/** A device token's claims about limits and ownership. */
export interface DeviceEntitlements {
  readonly models: readonly string[] | undefined
  /** Requests a minute. */
  readonly rateLimit: number | undefined
  /** US dollars a month. */
  readonly spendCap: number | undefined
  /** The policy named by its enrolment code. */
  readonly policy: string | undefined
  /** The policy of the user who enrolled it: what that keeps from them, it keeps from their devices. */
  readonly userPolicy?: string | undefined
  readonly orgId: string | undefined
}

/** Called once for each remembered token. */
export function devicePolicies(policyOf: PolicyOf, { device, ratedDevice }: DefaultPolicies) {
  return (own: DeviceEntitlements): Policy | undefined => {
    const given = policyOf({ kind: 'device', org: own.orgId, policy: own.policy })
    if (!given) return undefined
    const base = given === device && own.rateLimit !== undefined ? ratedDevice : given
    if (own.userPolicy === undefined) return narrowed(base, ownPolicy(own))
    const ofUser = policyOf({ kind: 'user', policy: own.userPolicy })
    if (!ofUser) return undefined
    // By the name of the one that somebody wrote.
    const both = given === device ? narrowed(ofUser, base) : narrowed(base, ofUser)
    return narrowed(both, ownPolicy(own))
  }
}

function ownPolicy({ models, rateLimit, spendCap }: DeviceEntitlements): Policy {
  return policy({
    name: 'own',
    models,
    // A token says nothing of routes.
    routes: ROUTE_GROUPS,
    person: {
      ...NO_LIMITS,
      rate: rateLimit === undefined ? undefined : { perMinute: rateLimit, burst: rateLimit },
      spendPerMonth: microUsd(spendCap),
    },
  })
}
