// When to check again. Pure. Jitter, because thousands of devices enrolled in the same hour would
// otherwise return in the same minute; backoff, because a gate that has just started is busy enough.

import type { Problem } from './api.ts'
import { type Grant, renewsAtMs } from './grant.ts'
import type { Tempo } from './tempo.ts'

const MAX_RETRY_AFTER_MS = 3_600_000

/** When all is well: every 30 minutes, or when the token is due for renewal if that is sooner. */
export function nextCheckMs(grant: Grant, nowMs: number, whenLeftMs: number, tempo: Tempo): number {
  const untilRenewal = renewsAtMs(grant, whenLeftMs) - nowMs
  const jitter = 0.9 + 0.2 * tempo.random()
  if (untilRenewal > tempo.checkEveryMs) return tempo.checkEveryMs * jitter
  // Spread over a tenth of the remaining lifetime; never at once, or a wrong clock would cause a
  // storm.
  const spread = 0.1 * (grant.expiresAtMs - nowMs - untilRenewal) * tempo.random()
  return Math.min(
    tempo.checkEveryMs,
    Math.max(tempo.backoffMs / 5, Math.max(untilRenewal, 0) + spread),
  )
}

/** `failures` in a row, from 1; `grant` is the token that is valid meanwhile. */
export function retryMs(
  failures: number,
  { retryAfterSeconds = 0 }: Problem,
  grant: Grant | undefined,
  tempo: Tempo,
): number {
  const ceiling = Math.min(tempo.checkEveryMs, tempo.backoffMs * 2 ** Math.min(failures - 1, 20))
  const backoff = ceiling * (0.5 + 0.5 * tempo.random())
  const asked = Math.min(retryAfterSeconds * 1000, MAX_RETRY_AFTER_MS)
  return Math.min(Math.max(backoff, asked), lastChanceMs(grant, tempo))
}

/** Not later than when the last resort is due (renewal.ts), and often after that. */
function lastChanceMs(grant: Grant | undefined, tempo: Tempo): number {
  if (!grant) return Number.POSITIVE_INFINITY
  const untilMs = grant.expiresAtMs - tempo.now() - tempo.lastResortMs
  return untilMs > 0 ? untilMs + 1 : tempo.lastResortMs / 4
}
