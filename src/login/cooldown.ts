// The pause between failed refreshes of all callers: it doubles each time, up to a maximum. Also
// remembers whether the authorization server refuses to refresh the token, or cannot be reached.

import type { Logger } from '../log.ts'
import { type Decision, type Refusal, refused } from '../refusal.ts'
import type { Instant } from '../turn/instant.ts'

export interface Cooldown {
  /** The refusal while the pause lasts. */
  waiting(now: Instant): Refusal | undefined
  /** `definitive`: the server refuses, so that trying again will hardly help. */
  failed(reason: string, now: Instant, definitive?: boolean): Refusal
  recovered(): void
  /**
   * For a caller without a usable token: if the server refuses to refresh it, the session is over,
   * and only a person can go on. The record stays, because a later attempt may succeed.
   */
  orEnded<T>(outcome: Decision<T>): Decision<T>
}

const FIRST_COOLDOWN_MS = 1000
export const MAX_COOLDOWN_MS = 30_000

export function cooldown(log: Logger): Cooldown {
  let failures = 0
  /** Why the server refuses to refresh the token, if it said so. An outage does not count. */
  let refusal: string | undefined
  let retryAtMs = Number.NEGATIVE_INFINITY
  return {
    waiting({ monotonicMs }) {
      const leftMs = retryAtMs - monotonicMs
      return leftMs > 0 ? unavailable('waiting to try again', leftMs) : undefined
    },
    failed(reason, now, definitive = false) {
      const cooldownMs = Math.min(FIRST_COOLDOWN_MS * 2 ** failures, MAX_COOLDOWN_MS)
      failures += 1
      refusal = definitive ? reason : undefined
      retryAtMs = now.monotonicMs + cooldownMs
      log.warn({ reason, failures, definitive }, 'tokens cannot be refreshed')
      return unavailable(reason, cooldownMs)
    },
    recovered() {
      if (failures > 0) log.info({ failures }, 'tokens are refreshed again')
      failures = 0
      refusal = undefined
      retryAtMs = Number.NEGATIVE_INFINITY
    },
    orEnded: (outcome) =>
      !outcome.ok && outcome.code === 'login_unavailable' && refusal !== undefined
        ? refused('session_ended', { reason: refusal })
        : outcome,
  }
}

function unavailable(reason: string, leftMs: number): Refusal {
  return refused('login_unavailable', { reason, retryAfterSeconds: leftMs / 1000 })
}
