// Which ledger there is: the one of the SQLite file, for a gate and for a command.

import type { Database } from 'bun:sqlite'
import type { DatabaseFollower } from '../database/follow.ts'
import type { Corrections } from '../ledger/corrections.ts'
import type { Ledger } from '../ledger/port.ts'
import type { Reports, ReportsAtOnce } from '../ledger/reports.ts'
import { sqliteCorrections } from '../ledger/sqlite/corrections.ts'
import { sqliteReports } from '../ledger/sqlite/reports.ts'
import { sqliteReportsAtOnce } from '../ledger/sqlite/reports-at-once.ts'
import { sqliteLedger } from '../ledger/sqlite/writer.ts'
import type { Logger } from '../log.ts'

export interface GateLedger {
  readonly ledger: Ledger
  readonly reports: Reports
}

export function gateLedger(file: DatabaseFollower, log: Logger, nowMs: number): GateLedger {
  return {
    ledger: sqliteLedger(file.connect({ busyTimeoutMs: 0 }), { log, nowMs }),
    // Of its own: what it reads must not change what the ledger's connection has prepared.
    reports: sqliteReports(file.connect({ busyTimeoutMs: 0 })),
  }
}

export interface OpenLedger {
  readonly reports: ReportsAtOnce
  readonly corrections: Corrections
}

/** The ledger in a database that is open for one piece of work. */
export function ledgerIn(database: Database): OpenLedger {
  return { reports: sqliteReportsAtOnce(database), corrections: sqliteCorrections(database) }
}
