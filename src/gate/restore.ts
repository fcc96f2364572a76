// What a month has already cost each, and what an operator has corrected of it, told to the caps: so
// that neither a restart nor another file revives a cap.

import { deviceKey, orgKey } from '../budget/charge.ts'
import type { Connection } from '../database/connection.ts'
import type { Reports, Spent } from '../ledger/reports.ts'
import { followCorrections } from '../ledger/sqlite/spend-corrections.ts'
import type { Logger } from '../log.ts'
import type { SpendCaps } from '../state/memory/spend.ts'
import { monthOf, monthStartMs } from '../turn/calendar.ts'
import { ledgerIn } from './ledger.ts'

export interface RestoreOptions {
  readonly caps: SpendCaps
  readonly connection: Connection
  readonly reports: Reports
  readonly log: Logger
}

export interface Restored {
  /** For another file: it only ever raises what is known. */
  again(): Promise<void>
  stop(): void
}

/** To be awaited before the first request. Rejects where the file cannot be read. */
export async function restoreCaps(options: RestoreOptions): Promise<Restored> {
  const { caps, connection, reports, log } = options
  const startedMs = Date.now()
  const spent = await ledgerIn(connection.get()).reports.spent(monthStartMs(startedMs))
  restore(caps, spent, startedMs)
  const corrections = followCorrections({
    connection,
    log,
    onCorrection: ({ kind, name, creditMicroUsd, month }) =>
      caps.credit(kind === 'org' ? orgKey(name) : deviceKey(name), creditMicroUsd, month),
  })
  return {
    async again() {
      const now = Date.now()
      const found = await reports.spent(monthStartMs(now))
      if (found.ok) restore(caps, found.value, now)
      else log.error({ reason: found.reason }, 'what the database says was spent could not be read')
    },
    stop: corrections.stop,
  }
}

function restore(caps: SpendCaps, spent: Spent, now: number): void {
  const month = monthOf(now)
  for (const [device, sums] of spent.device) {
    caps.restore(deviceKey(device), sums.chargedMicroUsd, month, sums.estimatedMicroUsd)
  }
  for (const [org, sums] of spent.org) {
    caps.restore(orgKey(org), sums.chargedMicroUsd, month, sums.estimatedMicroUsd)
  }
}
