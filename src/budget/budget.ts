// May they spend this now? Two questions with the rest of the road between them: the rate, as soon
// as somebody is admitted, and a place among the running requests, when all is known to be well.

import type { Admitted } from '../admit/admitted.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import { type BucketDecision, type Buckets, buckets } from '../state/memory/bucket.ts'
import { type Concurrency, concurrency, type Lease } from '../state/memory/concurrency.ts'
import { limitsOf, rateHeaders, type Told } from './rate-headers.ts'

declare const proof: unique symbol

export interface Reserved extends Lease {
  readonly [proof]: true
}

export interface Budget {
  /** Spends one request of the identity's rate and says so in the headers, allowed or not. */
  spend(admitted: Admitted, told: Told): Decision<undefined>
  /** A place among the running requests; where there is none, the rate gets its request back. */
  reserve(admitted: Admitted, told: Told): Decision<Reserved>
  readonly underWay: number
}

export interface BudgetOptions {
  /** 0 disables. */
  readonly rateLimitRpm: number
  readonly rateLimitBurst: number
  readonly maxUpstreamConcurrency: number
  readonly maxIdentityConcurrency: number
}

export function budget(options: BudgetOptions): Budget {
  const common = rateLimiter(options.rateLimitRpm, options.rateLimitBurst)
  /** One for each rate that an operator has granted; a device's own stands in place of the common. */
  const granting = new Map<number, RateLimiter | undefined>()
  const limiterOf = ({ device }: Admitted): RateLimiter | undefined => {
    if (device?.rateLimit === undefined) return common
    const { rateLimit } = device
    return granting.getOrInsertComputed(rateLimit, () => rateLimiter(rateLimit, rateLimit))
  }
  const places: Concurrency = concurrency({
    maxTotal: options.maxUpstreamConcurrency,
    maxPerIdentity: options.maxIdentityConcurrency,
  })
  return {
    spend(admitted, told) {
      const decision = limiterOf(admitted)?.take(admitted.identity, told)
      return decision?.allowed === false ? tooFast(decision) : granted(undefined)
    },
    reserve(admitted, told) {
      const lease = places.acquire(admitted.identity)
      if (!lease.ok) limiterOf(admitted)?.giveBack(admitted.identity, told)
      return lease as Decision<Reserved>
    },
    get underWay() {
      return places.underWay
    },
  }
}

export interface RateLimiter {
  take(key: string, told: Told): BucketDecision
  giveBack(key: string, told: Told): void
}

/** Undefined where `perMinute` is 0: no limit, and no header that speaks of one. */
export function rateLimiter(perMinute: number, burst: number): RateLimiter | undefined {
  if (perMinute === 0) return undefined
  const table: Buckets = buckets({ perMinute, burst })
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

export function tooFast({ retryAfterSeconds }: BucketDecision): Decision<never> {
  return refused('rate_limit_exceeded', { retryAfterSeconds })
}
