// A rate in the form that a bucket uses. Pure.

/** How fast a bucket fills, and how long it takes to fill when it is empty. */
export interface BucketRate {
  readonly intervalMs: number
  readonly capacityMs: number
}

export function bucketRate(perMinute: number, burst: number): BucketRate {
  return { intervalMs: 60_000 / perMinute, capacityMs: (60_000 * burst) / perMinute }
}
