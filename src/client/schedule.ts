// When to look again: pure. Jitter, because thousands of devices that were enrolled in one hour
// would else come back in one minute; backoff, because a gate that just came up has enough to do.

import type { Problem } from './api.ts'
import { type Grant, renewsAtMs } from './grant.ts'
import type { Tempo } from './tempo.ts'

const MAX_RETRY_AFTER_MS = 3_600_000

/** All is well: every 30 minutes, or when the token has to be renewed if that is sooner. */
export function nextCheckMs(grant: Grant, nowMs: number, whenLeftMs: number, tempo: Tempo): number {
  const untilRenewal = renewsAtMs(grant, whenLeftMs) - nowMs
  const jitter = 0.9 + 0.2 * tempo.random()
  if (untilRenewal > tempo.checkEveryMs) return tempo.checkEveryMs * jitter
  // Spread over a tenth of what is left after it; never at once, or an odd clock would make a storm.
  const spread = 0.1 * (grant.expiresAtMs - nowMs - untilRenewal) * tempo.random()
  return Math.min(
    tempo.checkEveryMs,
    Math.max(tempo.backoffMs / 5, Math.max(untilRenewal, 0) + spread),
  )
}

/** `failures` in a row, from 1; `grant` is the token that is good meanwhile. */
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

/** Not past the moment when the last resort is due (renewal.ts), and often after it. */
function lastChanceMs(grant: Grant | undefined, tempo: Tempo): number {
  if (!grant) return Number.POSITIVE_INFINITY
  const untilMs = grant.expiresAtMs - tempo.now() - tempo.lastResortMs
  return untilMs > 0 ? untilMs + 1 : tempo.lastResortMs / 4
}
