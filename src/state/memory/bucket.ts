// A token bucket for each identity, kept as one number: the theoretical arrival time of the generic
// cell rate algorithm (ITU-T I.371, annex A). Pure except for its own table; `now` is an argument.
//
// The table is bounded. A full bucket says no more than an absent one, so only full buckets are
// dropped: eviction never revives an exhausted bucket. The price: when the table is full and every
// bucket is in use, a newcomer is refused until the first bucket has filled.
//
// The table consists of two maps: buckets used since the last turn, and buckets used only before it. A
// turn comes when the longest-lived bucket of the older map must have filled, and drops that map at
// once. (One map in the order of use would need every key deleted and inserted again. It fills with
// holes, and the search for its oldest entry walks through them: 20 µs a request at 20,000 keys.)

import type { BucketDecision, BucketOptions, Buckets, RatedBuckets } from '../port.ts'
import { type BucketRate, bucketRate } from '../rate.ts'

interface BoundedOptions extends BucketOptions {
  readonly maxKeys?: number
}

/**
 * With 64-digit keys, both maps and their growth were measured at up to 150 MB of resident memory.
 */
const MAX_KEYS = 250_000
/**
 * The precision of millisecond times after months of uptime; without it a burst loses its last
 * request.
 */
const ROUNDING_MS = 1e-3
/** How many entries of each map a newcomer checks for a full bucket when the table is full. */
const SWEEP = 4
/** The maps turn no more often than this, however fast buckets fill. */
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
  /** From a key to the time at which its bucket is full. Each key is in one of the two maps. */
  let recent = new Map<string, number>()
  let former = new Map<string, number>()
  let turnAt = Number.NEGATIVE_INFINITY
  let latestNow = Number.NEGATIVE_INFINITY

  /**
   * Requests that wait for a signature get here in another order than they arrived in. Going by the
   * earlier time would cost a burst its last request.
   */
  const forward = (now: number): number => (latestNow = Math.max(latestNow, now))
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
  const latest = (own: number | undefined, others: readonly string[]): number | undefined => {
    let at = own
    for (const each of others) {
      const theirs = recent.get(each) ?? former.get(each)
      if (theirs !== undefined && (at === undefined || theirs > at)) at = theirs
    }
    return at
  }
  const isFull = (now: number): boolean => {
    if (recent.size + former.size < maxKeys) return false
    sweep(former, now)
    sweep(recent, now)
    return recent.size + former.size >= maxKeys
  }
  return {
    take(key, rate, arrivedAt, others) {
      const { intervalMs, capacityMs } = rate
      const now = forward(arrivedAt)
      if (capacityMs + ROUNDING_MS > turnMs) turnMs = capacityMs + ROUNDING_MS
      if (now >= turnAt) turn(now)
      const mine = recent.get(key)
      const own = mine ?? former.get(key)
      const at = others ? latest(own, others) : own
      if (own === undefined && isFull(now)) return decide(false, rate, capacityMs, intervalMs)
      const debtMs = Math.max(0, (at ?? now) - now)
      const next = debtMs + intervalMs
      // A refused request leaves its bucket as it was.
      if (next > capacityMs + ROUNDING_MS) return decide(false, rate, debtMs, next - capacityMs)
      if (mine === undefined && own !== undefined) former.delete(key)
      recent.set(key, now + next)
      return decide(true, rate, next, 0)
    },
    giveBack(key, rate, arrivedAt) {
      const now = forward(arrivedAt)
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
