// While an engine cannot write: what is logged of it, each thing once, and what `health` says.

import type { Logger } from '../log.ts'
import type { LedgerHealth } from './port.ts'

export interface OutageCause {
  /** A short name for the log and `/readyz`; it quotes neither path nor content. */
  readonly reason: string
  readonly code: string
  /** It counts as a failure only after this time; 0 by default. */
  readonly graceMs?: number
}

export interface Outage {
  /** Whether the last attempt failed. */
  readonly isNow: boolean
  failed(cause: OutageCause, waiting: number, nowMs: number): void
  recovered(waiting: number, nowMs: number): void
  /** Logged once when losses begin during an outage, and once after it with the total. */
  tellLost(lost: number): void
  health(waiting: number, lost: number): LedgerHealth
}

export function outage(log: Pick<Logger, 'error' | 'info'>): Outage {
  let failing: Failing | undefined
  let lostTold = 0
  return {
    get isNow() {
      return failing !== undefined
    },
    failed({ reason, code, graceMs = 0 }, waiting, nowMs) {
      failing ??= { sinceMs: nowMs, reason, told: false }
      failing.reason = reason
      if (failing.told || nowMs - failing.sinceMs < graceMs) return
      failing.told = true
      log.error(
        { reason, code, waiting },
        'the ledger cannot be written; inference goes on, and rows wait in memory',
      )
    },
    recovered(waiting, nowMs) {
      if (failing?.told) {
        log.info({ after_ms: nowMs - failing.sinceMs, waiting }, 'the ledger is written again')
      }
      failing = undefined
    },
    tellLost(lost) {
      if (lost === lostTold || failing?.lossTold) return
      lostTold = lost
      if (failing) failing.lossTold = true
      log.error({ lost }, 'the ledger has lost rows')
    },
    health(waiting, lost) {
      if (!failing?.told) return { ok: true, waiting, lost }
      return { ok: false, sinceMs: failing.sinceMs, reason: failing.reason, waiting, lost }
    },
  }
}

interface Failing {
  readonly sinceMs: number
  reason: string
  told: boolean
  lossTold?: boolean
}
