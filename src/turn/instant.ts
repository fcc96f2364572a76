// The two clocks of a decision, read once when a request arrives and passed along. Times that others
// wrote down (`exp`) are compared with the wall clock. Everything that we measure uses the monotonic
// clock, because a wall clock can be set back.

export interface Instant {
  readonly epochSeconds: number
  /** Milliseconds, comparable only within this process. */
  readonly monotonicMs: number
}

export function instant(): Instant {
  return { epochSeconds: Date.now() / 1000, monotonicMs: performance.now() }
}
