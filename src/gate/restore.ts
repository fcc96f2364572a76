// What the month and the day have already cost each, and what an operator has corrected, told to the caps: so
// that neither a restart nor another file revives a cap.

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
 * A cap that a reload brings counts what was spent before it, as far as that is written; what was under
 * way then, and what another gate on the same file spends, the ledger tells later.
 */
const EVERY_MS = 60_000

export interface Restored {
  /** At once, as for another file: it only ever raises what is known. */
  again(): Promise<void>
  stop(): void
}

/** To be awaited before the first request. Rejects where the ledger cannot be read. */
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
      // The ledger is closed under a question that is still being answered.
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
