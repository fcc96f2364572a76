// Restores the spending of the current month and day, and the operator's corrections, into the caps, so
// that neither a restart nor a switch to another file resets a cap.

import { orgKey, personKey } from '../budget/spend-limit.ts'
import type { GateLedger } from '../ledger/engine.ts'
import type { Spent } from '../ledger/reports.ts'
import { describeBug, type Logger } from '../log.ts'
import type { SpendCaps } from '../state/port.ts'
import { dayOf, dayStartMs, monthOf, monthStartMs } from '../turn/calendar.ts'

export interface RestoreOptions {
  readonly caps: SpendCaps
  readonly ledger: Omit<GateLedger, 'ledger'>
  readonly log: Logger
  readonly everyMs?: number
}

/**
 * A cap that a reload adds includes earlier spending that is already written. Requests that were running,
 * and the spending of other gates on the same file, are added from the ledger later.
 */
const EVERY_MS = 60_000

export interface Restored {
  /** Restores at once, as after a switch to another file: it only raises known amounts. */
  again(): Promise<void>
  stop(): void
}

/** Await it before the first request. Rejects if the ledger cannot be read. */
export async function restoreCaps(options: RestoreOptions): Promise<Restored> {
  const { caps, ledger, log, everyMs = EVERY_MS } = options
  for (const [period, sinceMs] of periodsAt(Date.now())) {
    restore(caps, await ledger.spentAtStart(sinceMs), period)
  }
  const corrections = await ledger.followCorrections(({ kind, name, creditMicroUsd, month }) =>
    caps.credit(kind === 'org' ? orgKey(name) : personKey(name), creditMicroUsd, month),
  )
  let isFailing = false
  const again = async (): Promise<void> => {
    for (const [period, sinceMs] of periodsAt(Date.now())) {
      const found = await ledger.reports.spent(sinceMs)
      if (found.ok) {
        restore(caps, found.value, period)
        isFailing = false
        continue
      }
      const { reason } = found
      if (!isFailing) log.error({ reason }, 'what the database says was spent could not be read')
      isFailing = true
      return
    }
  }
  let isRunning = false
  let isStopped = false
  const inTime = async (): Promise<void> => {
    if (isRunning) return
    isRunning = true
    try {
      await again()
    } catch (error) {
      // The ledger was closed during the query.
      if (!isStopped) log.error(describeBug(error), 'what was spent could not be counted')
    } finally {
      isRunning = false
    }
  }
  const timer = setInterval(() => void inTime(), everyMs)
  timer.unref()
  return {
    again,
    stop() {
      isStopped = true
      clearInterval(timer)
      corrections.stop()
    },
  }
}

const periodsAt = (now: number): (readonly [written: string, sinceMs: number])[] => [
  [monthOf(now), monthStartMs(now)],
  [dayOf(now), dayStartMs(now)],
]

function restore(caps: SpendCaps, spent: Spent, period: string): void {
  for (const [identity, sums] of [...spent.device, ...spent.person]) {
    caps.restore(personKey(identity), sums.chargedMicroUsd, period, sums.estimatedMicroUsd)
  }
  for (const [org, sums] of spent.org) {
    caps.restore(orgKey(org), sums.chargedMicroUsd, period, sums.estimatedMicroUsd)
  }
}
