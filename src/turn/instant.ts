// The two clocks of a decision, read once where a request arrives and passed along: the wall clock
// is for what others wrote down (`exp`), the monotonic one for everything that we measure, since a
// wall clock can be set back.

export interface Instant {
  readonly epochSeconds: number
  /** Milliseconds, comparable only within this process. */
  readonly monotonicMs: number
}

export function instant(): Instant {
  return { epochSeconds: Date.now() / 1000, monotonicMs: performance.now() }
}
