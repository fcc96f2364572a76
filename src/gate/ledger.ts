// Which ledger there is: for a gate, and for a command. No other file names an engine.

import type { Database } from 'bun:sqlite'
import type { DatabaseAddress } from '../config/address-kinds.ts'
import type { DatabaseConnection } from '../database/connection.ts'
import type { DatabaseFollower } from '../database/follow.ts'
import { audit } from '../enroll/audit.ts'
import type { CommandLedger, GateLedger } from '../ledger/engine.ts'
import { sqliteCommandLedger, sqliteGateLedger } from '../ledger/sqlite/engine.ts'
import type { Logger } from '../log.ts'

export interface GateLedgerOptions {
  readonly address: DatabaseAddress
  readonly file: DatabaseFollower
  /** The one that stays open. */
  readonly connection: DatabaseConnection
  readonly log: Logger
  readonly nowMs: number
}

export interface CommandLedgerOptions {
  readonly address: DatabaseAddress
  /** Open for the command. */
  readonly database: Database
}

interface LedgerEngine {
  gate(options: GateLedgerOptions): GateLedger
  command(options: CommandLedgerOptions): CommandLedger
}

/** One that is forgotten here is a compile error. */
const ENGINES: Readonly<Record<DatabaseAddress['engine'], LedgerEngine>> = {
  sqlite: {
    gate: ({ file, connection, log, nowMs }) =>
      sqliteGateLedger(
        {
          writing: file.connect({ busyTimeoutMs: 0 }),
          reading: file.connect({ busyTimeoutMs: 0 }),
          standing: connection,
        },
        { log, nowMs },
      ),
    command: ({ database }) => sqliteCommandLedger(database, (entry) => audit(database, entry)),
  },
}

export const gateLedger = (options: GateLedgerOptions): GateLedger =>
  ENGINES[options.address.engine].gate(options)

export const commandLedger = (options: CommandLedgerOptions): CommandLedger =>
  ENGINES[options.address.engine].command(options)
