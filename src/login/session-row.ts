// The session's row in the gate's file, and the newest version of it that this process knows. If the gate
// switches to a file that holds no row or an older one, the known row is carried over.

import type { Database } from 'bun:sqlite'
import type { DatabaseConnection } from '../database/connection.ts'
import { inTransaction } from '../database/database.ts'
import { MAX_PLAINTEXT_BYTES, OVERHEAD_BYTES } from './seal.ts'
import { reported } from './unusable.ts'

export interface SessionRow {
  readonly version: unknown
  readonly id: unknown
  readonly sealed: unknown
  readonly beganMs: number
  readonly writtenMs: number
}

export interface SessionRows {
  read(): SessionRow | null
  /**
   * Runs `work` in a transaction that is on disk when this returns. Throws SessionsUnusable if the file
   * cannot be written, and then has changed nothing.
   */
  write<T>(work: (found: SessionRow | null, to: SessionRowWriter) => T): T
  /** Notes that the row's record opened. */
  opened(row: SessionRow, version: number): void
  /** The newest version seen: an older row put back is not accepted (attack 41). */
  readonly newestVersion: number
  /** Removes the old sealed content from the write-ahead log, where it still is. Best effort. */
  forgetLog(): void
}

export interface SessionRowWriter {
  begin(version: number, id: string, sealed: Buffer, nowMs: number): void
  replace(version: number, sealed: Buffer, nowMs: number): void
  reseal(sealed: Buffer): void
  end(version: number): void
}

export function sessionRows(connection: DatabaseConnection): SessionRows {
  let newestVersion = 0
  /** The newest row that this process has read or written, as it is in the file. */
  let newest: SessionRow | undefined
  let file = connection.file

  const read = (database: Database): SessionRow | null =>
    database
      .query<SessionRow, [number]>(
        `SELECT version, id, CASE WHEN length(sealed) <= ?1 THEN sealed END AS sealed,
           began_ms AS beganMs, written_ms AS writtenMs
         FROM login_session WHERE only = 1`,
      )
      .get(OVERHEAD_BYTES + MAX_PLAINTEXT_BYTES)

  const carryOver = (database: Database): void => {
    if (connection.file === file) return
    const there = read(database)
    const isOlder = !isVersion(there?.version) || there.version < newestVersion
    const { version, id, sealed, beganMs, writtenMs } = newest ?? {}
    if (isOlder && isVersion(version)) {
      inTransaction(database, () =>
        database
          .query<unknown, any[]>(
            `INSERT OR REPLACE INTO login_session
               (only, version, id, sealed, began_ms, written_ms) VALUES (1, ?1, ?2, ?3, ?4, ?5)`,
          )
          .run(version, id, sealed, beganMs, writtenMs),
      )
    }
    ;({ file } = connection)
  }

  return {
    read() {
      const database = connection.get()
      carryOver(database)
      return read(database)
    },
    write: (work) =>
      reported(() => {
        const { result, after, version } = connection.write((database) => {
          carryOver(database)
          return inTransaction(database, () => {
            const to = writer(database)
            const result = work(read(database), to)
            return { result, after: read(database), version: to.version }
          })
        })
        newest = after ?? undefined
        newestVersion = version ?? newestVersion
        return result
      }),
    opened(row, version) {
      newestVersion = version
      newest = row
    },
    get newestVersion() {
      return newestVersion
    },
    forgetLog() {
      try {
        connection.get().run('PRAGMA wal_checkpoint(TRUNCATE)')
      } catch {
        // Another process is reading: a later checkpoint removes the log.
      }
    },
  }
}

function writer(database: Database): SessionRowWriter & { readonly version: number | undefined } {
  let written: number | undefined
  return {
    get version() {
      return written
    },
    begin(version, id, sealed, nowMs) {
      written = version
      database
        .query(
          `INSERT OR REPLACE INTO login_session
             (only, version, id, sealed, began_ms, written_ms) VALUES (1, ?1, ?2, ?3, ?4, ?4)`,
        )
        .run(version, id, sealed, Math.trunc(nowMs))
    },
    replace(version, sealed, nowMs) {
      written = version
      database
        .query('UPDATE login_session SET version = ?1, sealed = ?2, written_ms = ?3 WHERE only = 1')
        .run(version, sealed, Math.trunc(nowMs))
    },
    reseal(sealed) {
      database.query('UPDATE login_session SET sealed = ?1 WHERE only = 1').run(sealed)
    },
    end(version) {
      written = version
      database
        .query(`UPDATE login_session SET version = ?1, id = NULL, sealed = NULL WHERE only = 1`)
        .run(version)
    },
  }
}

export function isVersion(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) > 0
}
