// Corrections of spending in the SQLite file, for `postern spend`.

import type { Database } from 'bun:sqlite'
import { inTransaction } from '../../database/database.ts'
import { periodFrom, spanOf } from '../../turn/calendar.ts'
import {
  type CorrectionEntry,
  type Corrections,
  entryOf,
  type NewCorrection,
  periodsOf,
} from '../corrections.ts'
import { personsSpent } from './person-days.ts'
import { addCorrection, correctionsIn } from './spend-corrections.ts'
import { spentByEach } from './usage-report.ts'

/** The audit trail belongs to others; it is called inside the correction's own transaction. */
export type AuditCorrection = (entry: CorrectionEntry) => void

export function sqliteCorrections(database: Database, audit: AuditCorrection): Corrections {
  return {
    in: async (period) => correctionsIn(database, period),
    add: async (correction, former = []) =>
      inTransaction(database, () => {
        const periods = periodsOf(correction.month)
        const names = [correction.name, ...former]
        const spent = periods.map((month) =>
          names.reduce((sum, name) => sum + spentOf(database, { ...correction, name, month }), 0),
        )
        const spentMicroUsd = Math.min(...spent)
        if (correction.creditMicroUsd > spentMicroUsd) return { ok: false, spentMicroUsd } as const
        for (const month of periods) addCorrection(database, { ...correction, month })
        audit(entryOf(correction))
        return { ok: true } as const
      }),
  }
}

/** Charges minus credits. */
function spentOf(database: Database, { kind, name, month: written }: NewCorrection): number {
  const { period, startMs } = periodFrom(written)
  const between = { sinceMs: startMs, untilMs: spanOf(period, startMs).endMs }
  const sums =
    spentByEach(database, kind, { ...between, [kind]: name }).get(name) ??
    (kind === 'device' ? personsSpent(database, between, name).get(name) : undefined)
  return correctionsIn(database, written)
    .filter((each) => each.kind === kind && each.name === name)
    .reduce((spent, { creditMicroUsd }) => spent - creditMicroUsd, sums?.chargedMicroUsd ?? 0)
}
