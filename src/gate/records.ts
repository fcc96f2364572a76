// What the operator's commands ask, in the database of a gate that may be running. The gate's own setting
// names it. No gate is asked, none has to run, and no file is created: a code in a database that no gate
// reads would be useless.

import { SQLiteError } from 'bun:sqlite'
import { resolve } from 'node:path'
import { ADVICE } from '../database/advice.ts'
import { store } from '../database/store.ts'
import { troubleOf, type Unusable } from '../database/trouble.ts'
import type { DatabaseAddress } from '../config/address-kinds.ts'
import type { AuditRecords, DeviceRecords } from '../enroll/records.ts'
import { sqliteAudit, sqliteDevices } from '../enroll/sqlite/records.ts'
import type { KeyRecords } from '../keys/records.ts'
import { sqliteKeys } from '../keys/sqlite/records.ts'
import type { CommandLedger } from '../ledger/engine.ts'
import { commandLedger } from './ledger.ts'
import { TABLES } from './migrations.ts'

export interface OperatorRecords {
  readonly ledger: CommandLedger
  readonly devices: DeviceRecords
  readonly keys: KeyRecords
  readonly audit: AuditRecords
}

export type RecordsAnswer<T> =
  | { readonly ok: true; readonly value: T }
  /** `message`: what is wrong and what to do, in lines for a terminal. */
  | { readonly ok: false; readonly message: string }

/** `read` cannot write. */
export async function withRecords<T>(
  address: DatabaseAddress,
  mode: 'read' | 'existing',
  work: (records: OperatorRecords) => Promise<T>,
): Promise<RecordsAnswer<T>> {
  const { file } = address
  if (file === ':memory:') {
    const message =
      'DATABASE_URL is sqlite::memory:, which is inside the gate alone\n' +
      '    give the gate and this command a file: DATABASE_URL=sqlite:/path/to/postern.db'
    return { ok: false, message }
  }
  const opened = store(file, TABLES).open({ mode })
  if (!opened.ok) return unusable(file, opened.reason)
  const { database } = opened
  const ledger = commandLedger({ address, database })
  try {
    const value = await work({
      ledger,
      devices: sqliteDevices(database),
      keys: sqliteKeys(database),
      audit: sqliteAudit(database),
    })
    return { ok: true, value }
  } catch (error) {
    if (!(error instanceof SQLiteError)) throw error
    return unusable(file, troubleOf(error))
  } finally {
    await ledger.close()
    database.close()
  }
}

function unusable(file: string, reason: Unusable): { ok: false; message: string } {
  const { what, todo } = ADVICE[reason]
  const message =
    `the database cannot be used: ${reason}; DATABASE_URL names its file\n` +
    `    ${resolve(file)}: ${what}\n    ${todo}`
  return { ok: false, message }
}

/** For `postern check`; changes nothing. Undefined if the database lives as long as the process. */
export async function inspectRecords(
  { file }: DatabaseAddress,
  nowMs: number,
): Promise<{ readonly ok: boolean; readonly what: string } | undefined> {
  const found = store(file, TABLES).inspect(nowMs)
  switch (found?.kind) {
    case undefined:
      return undefined
    case 'absent':
      return { ok: true, what: 'none yet; a gate creates it when it starts' }
    case 'sound':
      return { ok: true, what: `sound, ${megabytes(found.bytes)}` }
    case 'parted': {
      const what =
        `its log (-wal) was deleted under the gate that runs (process ${found.pid})\n` +
        '    restart that gate; what it wrote since may be lost'
      return { ok: false, what }
    }
    case 'unusable': {
      const { what, todo } = ADVICE[found.reason]
      const detail = found.detail === found.reason ? '' : ` (${found.detail})`
      return { ok: false, what: `${what}${detail}\n    ${todo}` }
    }
  }
}

const megabytes = (bytes: number): string =>
  bytes < 1e6 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`
