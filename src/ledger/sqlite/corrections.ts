// Corrections of spending in the SQLite file, for `postern spend`.

import type { Database } from 'bun:sqlite'
import { inTransaction } from '../../database/database.ts'
import { periodFrom, spanOf } from '../../turn/calendar.ts'
import type { Corrections, NewCorrection } from '../corrections.ts'
import { personsSpent } from './person-days.ts'
import { addCorrection, correctionsIn } from './spend-corrections.ts'
import { spentByEach } from './usage-report.ts'

export function sqliteCorrections(database: Database): Corrections {
  return {
    in: async (period) => correctionsIn(database, period),
    add: async (correction, beside) =>
      inTransaction(database, () => {
        const periods = periodsOf(correction.month)
        const spent = periods.map((month) => spentOf(database, { ...correction, month }))
        const spentMicroUsd = Math.min(...spent)
        if (correction.creditMicroUsd > spentMicroUsd) return { ok: false, spentMicroUsd } as const
        for (const month of periods) addCorrection(database, { ...correction, month })
        beside()
        return { ok: true } as const
      }),
  }
}

/** What was spent on a day was also spent in its month. */
function periodsOf(written: string): string[] {
  const month = written.slice(0, '2026-11'.length)
  return month === written ? [month] : [month, written]
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
