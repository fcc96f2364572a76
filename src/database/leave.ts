// Leaves a database file that was moved, or whose log was deleted, and saves what the log still holds.
//
// The last connection to close decides what happens to the log. If it may write, it saves the log into
// the file and deletes the log by its name, unless another process has the file open. If it is
// read-only, it changes nothing. `keeper` is read-only, so the order in which `base` and `keeper`
// close decides whether the old log is saved.

import type { Database } from 'bun:sqlite'
import { rmSync } from 'node:fs'
import { INDEX, LOG, type Marks, sizeOf } from './marks.ts'

/** How long to wait for other programs' reads before the log is saved; the whole gate waits. */
const SAVE_BUSY_MS = 100

export interface StandingFile {
  readonly base: Database
  /** How long `base` waits for others, before its user has set that. */
  readonly busyTimeoutMs: number
  readonly keeper: Database
  readonly marks: Marks
  /** Where SQLite keeps the log: beside the file that a link points to. */
  readonly real: string
  /** All three of them. */
  readonly files: readonly string[]
}

/**
 * Whether nobody can have written to the database since the log was deleted: opening the database
 * recreates the missing files, and writing makes the log longer than 0 bytes.
 */
export function isUntouched({ marks, real }: StandingFile, found: Marks): boolean {
  if (found.log === undefined) return found.index === marks.index || found.index === undefined
  if (found.log === marks.log) return found.index === undefined
  return sizeOf(real + LOG) === 0
}

/** Saves the log into its own file, wherever that is now. True if that worked. */
export function leaveMoved(
  { base, busyTimeoutMs, keeper, marks, real }: StandingFile,
  found: Marks,
): boolean {
  const saved = checkpointed(base, busyTimeoutMs)
  closeWhole(base)
  keeper.close()
  // SQLite would take an old log at this path for the log of the new file.
  try {
    if (found.log !== undefined && found.log === marks.log) rmSync(real + LOG, { force: true })
    if (found.index !== undefined && found.index === marks.index) {
      rmSync(real + INDEX, { force: true })
    }
  } catch {
    // The folder is not writable any more, so nothing can be opened for writing there either.
  }
  return saved
}

/** True if the content of the deleted log is in the file now. */
export function leaveLog(
  { base, busyTimeoutMs, keeper, real }: StandingFile,
  isUntouched: boolean,
): boolean {
  if (!isUntouched) {
    closeWhole(base)
    keeper.close()
    return false
  }
  // A process that has the file open without a log opened it before the deletion, with the old log
  // and its locks.
  if (sizeOf(real + LOG) === undefined && checkpointed(base, busyTimeoutMs)) {
    closeWhole(base)
    keeper.close()
    return true
  }
  keeper.close()
  try {
    // Only with exclusive access: saving the log now would corrupt the pages of another writer.
    base.run(`PRAGMA busy_timeout = ${SAVE_BUSY_MS}; PRAGMA locking_mode = EXCLUSIVE`)
    base.run('BEGIN IMMEDIATE')
    base.run('COMMIT')
    return checkpointed(base, SAVE_BUSY_MS)
  } catch {
    return false
  } finally {
    closeWhole(base)
  }
}

function checkpointed(database: Database, busyTimeoutMs: number): boolean {
  try {
    database.run(`PRAGMA busy_timeout = ${busyTimeoutMs}`)
    const done = database.query<{ busy: number }, []>('PRAGMA wal_checkpoint(TRUNCATE)').get()
    return done?.busy === 0
  } catch {
    return false
  }
}

/**
 * Together with its statements. Otherwise SQLite keeps the file and its locks until the last of
 * them is collected.
 */
export function closeWhole(database: Database): void {
  try {
    database.close(true)
  } catch {
    // Nothing of this connection is in use.
  }
}
