// The ledger in the gate's SQLite file, put together from its parts.

import type { Database } from 'bun:sqlite'
import type { DatabaseConnection } from '../../database/connection.ts'
import type { Logger } from '../../log.ts'
import type { CommandLedger, GateLedger } from '../engine.ts'
import { type AuditCorrection, sqliteCorrections } from './corrections.ts'
import { sqliteFormerNames } from './former-names.ts'
import { sqliteReports } from './reports.ts'
import { sqliteReportsAtOnce } from './reports-at-once.ts'
import { followCorrections } from './spend-corrections.ts'
import { sqliteLedger, type SqliteLedgerOptions } from './writer.ts'

export interface LedgerConnections {
  /** Belongs to the writer alone. */
  readonly writing: DatabaseConnection
  /** Of its own: what it reads must not change what the writer's connection has prepared. */
  readonly reading: DatabaseConnection
  /** For what is read at start and four times a second; others may use it too. */
  readonly standing: DatabaseConnection
}

export const sqliteGateLedger = (
  connections: LedgerConnections,
  options: SqliteLedgerOptions,
): GateLedger => ({
  ledger: sqliteLedger(connections.writing, options),
  ...sqliteBooks(connections, options.log),
})

/** What a gate reads. */
export function sqliteBooks(
  { reading, standing }: Pick<LedgerConnections, 'reading' | 'standing'>,
  log: Pick<Logger, 'error'>,
): Omit<GateLedger, 'ledger'> {
  return {
    reports: sqliteReports(reading),
    formerNames: sqliteFormerNames(standing, { log }),
    spentAtStart: async (sinceMs) => sqliteReportsAtOnce(standing.get()).spent(sinceMs),
    followCorrections: async (onCorrection) =>
      followCorrections({ connection: standing, log, onCorrection }),
  }
}

/** `audit` writes a correction's entry into the audit trail of the same database. */
export function sqliteCommandLedger(database: Database, audit: AuditCorrection): CommandLedger {
  return {
    reports: sqliteReportsAtOnce(database),
    corrections: sqliteCorrections(database, audit),
    // The database is its opener's.
    async close() {},
  }
}
