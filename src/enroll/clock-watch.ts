// Compares the wall clock with the monotonic one, which nobody sets: whether it was set back, and what it
// would show if it had never jumped ahead.

import type { Instant } from '../turn/instant.ts'

export interface ClockWatch {
  /** True once for each time that the wall clock was set back by more than the tolerance. */
  wasSetBack(now: Instant): boolean
  /** Seconds since the epoch, never later than the wall clock. */
  steadySeconds(now: Instant): number
}

export function clockWatch(began: Instant, toleranceSeconds: number): ClockWatch {
  const aheadAtStart = aheadOf(began)
  /** How far the wall clock has been ahead since it was last set back. */
  let furthestAhead = aheadAtStart
  return {
    wasSetBack(now) {
      const ahead = aheadOf(now)
      const isBack = ahead < furthestAhead - toleranceSeconds
      furthestAhead = isBack ? ahead : Math.max(furthestAhead, ahead)
      return isBack
    },
    steadySeconds: (now) => Math.min(now.epochSeconds, aheadAtStart + now.monotonicMs / 1000),
  }
}

const aheadOf = ({ epochSeconds, monotonicMs }: Instant): number =>
  epochSeconds - monotonicMs / 1000
