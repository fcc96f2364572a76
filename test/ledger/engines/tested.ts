// What an engine of the ledger hands to the suite.

import type { CorrectionEntry } from '../../../src/ledger/corrections.ts'
import type { CommandLedger, GateLedger } from '../../../src/ledger/engine.ts'
import type { Opening, Outcome } from '../../../src/ledger/port.ts'
import { NOON, opening, outcome, type recordingLog } from '../../settle/ledger-parts.ts'

export interface TestedGateOptions {
  readonly log: ReturnType<typeof recordingLog>['log']
  readonly nowMs?: number
  readonly maxWaiting?: number
  readonly flushEveryMs?: number
}

export interface TestedLedger {
  /** A gate that starts now on what is there. */
  gate(options: TestedGateOptions): GateLedger
  /** What a command sees while gates run. */
  readonly command: CommandLedger
  /** What corrections have put into the audit trail. */
  audited(): readonly CorrectionEntry[]
  /** From now on the audit trail cannot be written. */
  failAudit(): void
  remove(): void
}

export interface TestedEngine {
  readonly name: string
  /** An empty ledger. */
  make(): TestedLedger
}

export type Written = readonly (readonly [Partial<Opening>, Partial<Outcome>?])[]

/** Closed where an outcome is given, otherwise under way. */
export async function write({ ledger }: GateLedger, rows: Written): Promise<void> {
  for (const [begin, end] of rows) {
    const entry = ledger.open(opening(begin))
    if (end) ledger.close(entry, outcome(end))
  }
  if (!(await ledger.flush(NOON))) throw new Error('not all rows were written')
}
