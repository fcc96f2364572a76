// Corrections of spending in the SQLite file, for `postern spend`.

import type { Database } from 'bun:sqlite'
import { inTransaction } from '../../database/database.ts'
import { monthEndMs } from '../../turn/calendar.ts'
import type { Corrections, NewCorrection } from '../corrections.ts'
import { addCorrection, correctionsIn } from './spend-corrections.ts'
import { spentByEach } from './usage-report.ts'

export function sqliteCorrections(database: Database): Corrections {
  return {
    in: async (month) => correctionsIn(database, month),
    add: async (correction, beside) =>
      inTransaction(database, () => {
        const spentMicroUsd = spentOf(database, correction)
        if (correction.creditMicroUsd > spentMicroUsd) return { ok: false, spentMicroUsd } as const
        addCorrection(database, correction)
        beside()
        return { ok: true } as const
      }),
  }
}

/** Charges minus credits. */
function spentOf(database: Database, { kind, name, month }: NewCorrection): number {
  const sinceMs = Date.parse(`${month}-01T00:00:00Z`)
  const filter = { sinceMs, untilMs: monthEndMs(sinceMs), [kind]: name }
  const charged = spentByEach(database, kind, filter).get(name)?.chargedMicroUsd ?? 0
  return correctionsIn(database, month)
    .filter((each) => each.kind === kind && each.name === name)
    .reduce((spent, { creditMicroUsd }) => spent - creditMicroUsd, charged)
}
