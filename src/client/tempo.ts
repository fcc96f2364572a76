// All durations of the client and its clock, in one value, so that a test can run a day in a second.
// Apps never see it.

export interface Tempo {
  /** The wall clock, in milliseconds: what is stored must mean something to another process. */
  now(): number
  random(): number
  /** Runs later without keeping the process alive; the returned function cancels it. */
  later(delayMs: number, run: () => void): () => void

  readonly checkEveryMs: number
  /** How long a token that the gate accepted is assumed to be accepted. */
  readonly confirmEveryMs: number
  readonly refreshWhenLeftMs: number
  readonly healthTimeoutMs: number
  readonly standingTimeoutMs: number
  readonly bootstrapTimeoutMs: number
  /**
   * A refreshed token can be refreshed again for 10 s; later, that revokes its family. So a refresh
   * whose answer was lost is repeated only if the repeat starts within `resendWithinMs` of the
   * first, and each is abandoned after `refreshTimeoutMs`: 5 s + 4 s < 10 s.
   */
  readonly refreshTimeoutMs: number
  readonly resendWithinMs: number
  readonly resendPauseMs: number
  /** With less than this left, a doubtful token has nothing to lose. */
  readonly lastResortMs: number
  readonly backoffMs: number
}

const MINUTE_MS = 60_000

export const TEMPO: Tempo = {
  now: Date.now,
  random: Math.random,
  later(delayMs, run) {
    const timer = setTimeout(run, delayMs)
    timer.unref()
    return () => clearTimeout(timer)
  },
  checkEveryMs: 30 * MINUTE_MS,
  confirmEveryMs: 50_000,
  refreshWhenLeftMs: 60 * MINUTE_MS,
  healthTimeoutMs: 5000,
  standingTimeoutMs: 3000,
  bootstrapTimeoutMs: 10_000,
  refreshTimeoutMs: 4000,
  resendWithinMs: 5000,
  resendPauseMs: 250,
  lastResortMs: 5 * MINUTE_MS,
  backoffMs: 5000,
}

/** Keeps the process alive, because somebody waits for what comes after. */
export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs))
}
