// May they spend this now? Two questions with the rest of the road between them: the rate, as soon
// as somebody is admitted, and a place among the running requests, when all is known to be well.

import type { Admitted } from '../admit/admit.ts'
import type { Instant } from '../instant.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import { type BucketDecision, type Buckets, buckets } from './bucket.ts'
import { type Concurrency, concurrency, type Lease } from './concurrency.ts'
import { rateHeaders } from './rate-headers.ts'

declare const proof: unique symbol

export interface Reserved extends Lease {
  readonly [proof]: true
}

export interface Budget {
  /** Spends one request of the identity's rate and says so in `headers`, allowed or not. */
  spend(admitted: Admitted, headers: Headers, now: Instant): Decision<undefined>
  /** A place among the running requests; where there is none, the rate gets its request back. */
  reserve(admitted: Admitted, headers: Headers, now: Instant): Decision<Reserved>
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
  const limiter = rateLimiter(options.rateLimitRpm, options.rateLimitBurst)
  const places: Concurrency = concurrency({
    maxTotal: options.maxUpstreamConcurrency,
    maxPerIdentity: options.maxIdentityConcurrency,
  })
  return {
    spend({ identity }, headers, now) {
      const decision = limiter?.take(identity, headers, now)
      return decision?.allowed === false ? tooFast(decision) : granted(undefined)
    },
    reserve({ identity }, headers, now) {
      const lease = places.acquire(identity)
      if (!lease.ok) limiter?.giveBack(identity, headers, now)
      return lease as Decision<Reserved>
    },
    get underWay() {
      return places.underWay
    },
  }
}

export interface RateLimiter {
  take(key: string, headers: Headers, now: Instant): BucketDecision
  giveBack(key: string, headers: Headers, now: Instant): void
}

/** Undefined where `perMinute` is 0: no limit, and no header that speaks of one. */
export function rateLimiter(perMinute: number, burst: number): RateLimiter | undefined {
  if (perMinute === 0) return undefined
  const table: Buckets = buckets({ perMinute, burst })
  const windowSeconds = (burst * 60) / perMinute
  return {
    take(key, headers, now) {
      const decision = table.take(key, now.monotonicMs)
      rateHeaders(decision, windowSeconds, headers)
      return decision
    },
    giveBack(key, headers, now) {
      rateHeaders(table.giveBack(key, now.monotonicMs), windowSeconds, headers)
    },
  }
}

export function tooFast({ retryAfterSeconds }: BucketDecision): Decision<never> {
  return refused('rate_limit_exceeded', { retryAfterSeconds })
}
