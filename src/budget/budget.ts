// Two checks: the rates right after admission, and a concurrency slot just before dispatch. A caller
// and their organisation both have limits; what the first check took is given back if the second
// refuses.

import type { Admitted } from '../admit/admitted.ts'
import type { Policy, Rate } from '../policy/policy.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { BucketDecision, Concurrency, Counters, Lease } from '../state/port.ts'
import { type BucketRate, bucketRate } from '../state/rate.ts'
import {
  type AdvertisedLimit,
  limitsOf,
  rateHeaders,
  type RateHeaderTarget,
} from './rate-headers.ts'

declare const proof: unique symbol

export interface Reserved extends Lease {
  readonly [proof]: true
}

export interface Budget {
  /**
   * Spends one request of each rate and writes the narrower limit into the headers, allowed or not.
   */
  spend(admitted: Admitted, told: RateHeaderTarget): Decision<undefined>
  /** Takes a concurrency slot; if there is none, the rates get their request back. */
  reserve(admitted: Admitted, told: RateHeaderTarget): Decision<Reserved>
  readonly underWay: number
}

export interface BudgetOptions {
  readonly counters: Counters
  readonly maxUpstreamConcurrency: () => number
}

/** A rate as its bucket and its headers need it, computed once for each policy. */
interface RateLimit extends BucketRate, AdvertisedLimit {}

interface RateLimits {
  readonly person: RateLimit | undefined
  readonly organisation: RateLimit | undefined
}

const SPENT = granted(undefined)

export function budget({ counters, maxUpstreamConcurrency }: BudgetOptions): Budget {
  const persons = counters.ratedBuckets()
  const organisations = counters.ratedBuckets()
  const limitsOfPolicy = new WeakMap<Policy, RateLimits>()
  const slots: Concurrency = counters.concurrency(maxUpstreamConcurrency)
  const limitsBy = (policy: Policy): RateLimits => {
    const found = limitsOfPolicy.get(policy)
    if (found) return found
    const { person, organisation } = policy
    const limits = { person: rateLimit(person.rate), organisation: rateLimit(organisation.rate) }
    limitsOfPolicy.set(policy, limits)
    return limits
  }

  return {
    spend({ identity, former, org, policy }, told) {
      const { person, organisation } = limitsBy(policy)
      const now = told.at.monotonicMs
      const mine = person && persons.take(identity, person, now, former)
      if (person && mine?.allowed === false) {
        rateHeaders(mine, person, told)
        return tooFast(mine)
      }
      if (org === undefined || !organisation) {
        if (person && mine) rateHeaders(mine, person, told)
        return SPENT
      }
      const ours = organisations.take(org, organisation, now)
      if (!ours.allowed) {
        if (person) persons.giveBack(identity, person, now)
        rateHeaders(ours, organisation, told)
        return tooFast(ours, ORGANISATION_TOO_FAST)
      }
      tellNarrowest(mine, person, ours, organisation, told)
      return SPENT
    },
    reserve({ identity, former, org, policy }, told) {
      const most = policy.person.concurrency
      const lease = slots.acquire(identity, most, org, policy.organisation.concurrency, former)
      if (lease.ok) return lease as Decision<Reserved>
      const { person, organisation } = limitsBy(policy)
      const now = told.at.monotonicMs
      const mine = person && persons.giveBack(identity, person, now)
      if (org !== undefined && organisation) {
        const ours = organisations.giveBack(org, organisation, now)
        tellNarrowest(mine, person, ours, organisation, told)
      } else if (person && mine) rateHeaders(mine, person, told)
      return lease
    },
    get underWay() {
      return slots.underWay
    },
  }
}

function rateLimit(rate: Rate | undefined): RateLimit | undefined {
  if (!rate || rate.perMinute === Infinity) return undefined
  const { perMinute, burst } = rate
  return { ...bucketRate(perMinute, burst), ...limitsOf(burst, (burst * 60) / perMinute) }
}

/**
 * The headers have room for one limit: the one with fewer requests left, or else the slower to
 * refill.
 */
function tellNarrowest(
  mine: BucketDecision | undefined,
  person: RateLimit | undefined,
  ours: BucketDecision,
  organisation: RateLimit,
  told: RateHeaderTarget,
): void {
  const isMine =
    mine !== undefined &&
    (mine.remaining < ours.remaining ||
      (mine.remaining === ours.remaining && mine.resetSeconds >= ours.resetSeconds))
  if (isMine && person) rateHeaders(mine, person, told)
  else rateHeaders(ours, organisation, told)
}

export interface RateLimiter {
  take(key: string, told: RateHeaderTarget): BucketDecision
  giveBack(key: string, told: RateHeaderTarget): void
}

/** Undefined if `perMinute` is 0: no limit, and no header about one. */
export function rateLimiter(
  counters: Counters,
  perMinute: number,
  burst: number,
): RateLimiter | undefined {
  if (perMinute === 0) return undefined
  const table = counters.buckets({ perMinute, burst })
  const limits = limitsOf(burst, (burst * 60) / perMinute)
  return {
    take(key, told) {
      const decision = table.take(key, told.at.monotonicMs)
      rateHeaders(decision, limits, told)
      return decision
    },
    giveBack(key, told) {
      rateHeaders(table.giveBack(key, told.at.monotonicMs), limits, told)
    },
  }
}

const ORGANISATION_TOO_FAST = "the organisation's rate limit is exceeded"

export function tooFast({ retryAfterSeconds }: BucketDecision, message?: string): Decision<never> {
  return refused('rate_limit_exceeded', {
    retryAfterSeconds,
    ...(message !== undefined && { message }),
  })
}
