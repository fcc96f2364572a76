// A token bucket for each identity, kept as one number: the generic cell rate algorithm's
// theoretical arrival time (ITU-T I.371, annex A). Pure but for its own table; `now` is an argument.
//
// The table is bounded. A bucket that has filled up again says no more than an absent one, so only
// those are dropped: an exhausted bucket is never brought back to life by eviction. The price: in
// a table full of buckets that are all in use, a newcomer is refused until the first has filled.
//
// It is two tables: those used since the last turn, and those used only before it. A turn comes when
// the longest-lived of the latter must have filled, and drops them all at once. (One table in the
// order of use needs each key taken out and put in again: it is full of holes then, which whoever
// looks for the oldest walks through, 20 µs a request at 20,000 keys.)

import type { BucketDecision, BucketOptions, Buckets, RatedBuckets } from '../port.ts'
import { type BucketRate, bucketRate } from '../rate.ts'

interface BoundedOptions extends BucketOptions {
  readonly maxKeys?: number
}

/** With 64-digit keys seen as up to 150 MB of resident memory, the two tables and their growth. */
const MAX_KEYS = 250_000
/** Times of months of uptime, in milliseconds, are no more exact; without it a burst lacks its last. */
const ROUNDING_MS = 1e-3
/** How many of each table a newcomer looks at where both are full, for one that has filled. */
const SWEEP = 4
/** Where buckets fill faster than this, the two tables still need not turn more often. */
const MIN_TURN_MS = 1000

export function buckets({ perMinute, burst, maxKeys }: BoundedOptions): Buckets {
  const table = ratedBuckets(maxKeys)
  const rate = bucketRate(perMinute, burst)
  return {
    take: (key, now) => table.take(key, rate, now),
    giveBack: (key, now) => table.giveBack(key, rate, now),
    get size() {
      return table.size
    },
  }
}

export function ratedBuckets(maxKeys = MAX_KEYS): RatedBuckets {
  /** The longest time that any bucket here takes to fill. */
  let turnMs = MIN_TURN_MS
  /** Key → when the bucket will be full; a key is in one of them. */
  let recent = new Map<string, number>()
  let former = new Map<string, number>()
  let turnAt = Number.NEGATIVE_INFINITY

  const turn = (now: number): void => {
    former = recent
    recent = new Map()
    turnAt = now + turnMs
  }
  const sweep = (table: Map<string, number>, now: number): void => {
    let looked = 0
    for (const [key, at] of table) {
      if (looked++ >= SWEEP) return
      if (at <= now) table.delete(key)
    }
  }
  const isFull = (now: number): boolean => {
    if (recent.size + former.size < maxKeys) return false
    sweep(former, now)
    sweep(recent, now)
    return recent.size + former.size >= maxKeys
  }
  return {
    take(key, rate, now) {
      const { intervalMs, capacityMs } = rate
      if (capacityMs + ROUNDING_MS > turnMs) turnMs = capacityMs + ROUNDING_MS
      if (now >= turnAt) turn(now)
      const mine = recent.get(key)
      const at = mine ?? former.get(key)
      if (at === undefined && isFull(now)) return decide(false, rate, capacityMs, intervalMs)
      const debtMs = Math.max(0, (at ?? now) - now)
      const next = debtMs + intervalMs
      // A refused request leaves its bucket as it was.
      if (next > capacityMs + ROUNDING_MS) return decide(false, rate, debtMs, next - capacityMs)
      if (mine === undefined && at !== undefined) former.delete(key)
      recent.set(key, now + next)
      return decide(true, rate, next, 0)
    },
    giveBack(key, rate, now) {
      const table = recent.has(key) ? recent : former
      const at = table.get(key)
      const debtMs = Math.max(0, (at ?? now) - rate.intervalMs - now)
      if (at !== undefined) table.set(key, now + debtMs)
      return decide(true, rate, debtMs, 0)
    },
    get size() {
      return recent.size + former.size
    },
  }
}

function decide(
  allowed: boolean,
  { intervalMs, capacityMs }: BucketRate,
  debtMs: number,
  retryMs: number,
): BucketDecision {
  return {
    allowed,
    remaining: Math.max(0, Math.floor((capacityMs - debtMs + ROUNDING_MS) / intervalMs)),
    resetSeconds: Math.min(debtMs, capacityMs) / 1000,
    retryAfterSeconds: retryMs / 1000,
  }
}
