// Which ledger there is: for a gate, and for a command. No other file names an engine.

import type { Database } from 'bun:sqlite'
import type { DatabaseConnection } from '../database/connection.ts'
import type { DatabaseFollower } from '../database/follow.ts'
import { audit } from '../enroll/audit.ts'
import type { CommandLedger, GateLedger } from '../ledger/engine.ts'
import { sqliteCommandLedger, sqliteGateLedger } from '../ledger/sqlite/engine.ts'
import type { Logger } from '../log.ts'

export interface GateLedgerOptions {
  readonly file: DatabaseFollower
  /** The one that stays open. */
  readonly connection: DatabaseConnection
  readonly log: Logger
  readonly nowMs: number
}

export function gateLedger({ file, connection, log, nowMs }: GateLedgerOptions): GateLedger {
  const connections = {
    writing: file.connect({ busyTimeoutMs: 0 }),
    reading: file.connect({ busyTimeoutMs: 0 }),
    standing: connection,
  }
  return sqliteGateLedger(connections, { log, nowMs })
}

/** The ledger in a database that is open for one command. */
export const commandLedger = (database: Database): CommandLedger =>
  sqliteCommandLedger(database, (entry) => audit(database, entry))
