// A token bucket for each identity, kept as one number: the generic cell rate algorithm's
// theoretical arrival time (ITU-T I.371, annex A). Pure but for its own table; `now` is an argument.
//
// The table is bounded. A bucket that has filled up again says no more than an absent one, so only
// those are dropped: an exhausted bucket is never brought back to life by eviction. The price: in
// a table full of buckets that are all in use, a newcomer is refused until the first has filled.

export interface BucketDecision {
  readonly allowed: boolean
  /** The bucket's size. */
  readonly limit: number
  /** Whole requests that may follow at once. */
  readonly remaining: number
  /** Until the bucket is full again. */
  readonly resetSeconds: number
  /** For a refused request: until it may come again. */
  readonly retryAfterSeconds: number
}

export interface Buckets {
  /** Monotonic milliseconds. */
  take(key: string, now: number): BucketDecision
  /** Gives back what `take` took, where the request went nowhere for no fault of its own. */
  giveBack(key: string, now: number): BucketDecision
  readonly size: number
}

export interface BucketOptions {
  readonly perMinute: number
  readonly burst: number
  readonly maxKeys?: number
}

/** About 130 bytes of heap each with a 64-digit key; seen as up to 140 MB of resident memory in all. */
const MAX_KEYS = 500_000
/** Times of months of uptime, in milliseconds, are no more exact; without it a burst lacks its last. */
const ROUNDING_MS = 1e-3
/** How many of the longest untouched buckets a request looks at, so that cleaning needs no timer. */
const SWEEP = 4

export function buckets({ perMinute, burst, maxKeys = MAX_KEYS }: BucketOptions): Buckets {
  const intervalMs = 60_000 / perMinute
  const capacityMs = (60_000 * burst) / perMinute
  /** Key → when the bucket will be full, in the order of their last use. */
  const fullAt = new Map<string, number>()

  const sweep = (now: number): void => {
    let looked = 0
    for (const [key, at] of fullAt) {
      if (looked++ >= SWEEP) return
      if (at <= now) fullAt.delete(key)
    }
  }
  const decide = (allowed: boolean, debtMs: number, retryMs: number): BucketDecision => ({
    allowed,
    limit: burst,
    remaining: Math.max(0, Math.floor((capacityMs - debtMs + ROUNDING_MS) / intervalMs)),
    resetSeconds: Math.min(debtMs, capacityMs) / 1000,
    retryAfterSeconds: retryMs / 1000,
  })

  return {
    take(key, now) {
      const at = fullAt.get(key)
      sweep(now)
      if (at === undefined && fullAt.size >= maxKeys) {
        return decide(false, capacityMs, intervalMs)
      }
      const debtMs = Math.max(0, (at ?? now) - now)
      const next = debtMs + intervalMs
      // A refused request leaves its bucket, and its place in the order, as they were.
      if (next > capacityMs + ROUNDING_MS) return decide(false, debtMs, next - capacityMs)
      fullAt.delete(key)
      fullAt.set(key, now + next)
      return decide(true, next, 0)
    },
    giveBack(key, now) {
      const debtMs = Math.max(0, (fullAt.get(key) ?? now) - intervalMs - now)
      if (fullAt.has(key)) fullAt.set(key, now + debtMs)
      return decide(true, debtMs, 0)
    },
    get size() {
      return fullAt.size
    },
  }
}
