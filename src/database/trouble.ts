// What can be wrong with the database, and the name that each error of SQLite or the system maps to.

import { SQLiteError } from 'bun:sqlite'

export type Unusable =
  /** Written by a later version of this program: using it would lose what that version added. */
  | 'newer_schema'
  /** Tables of an earlier version; the next start of a gate updates them. */
  | 'older_schema'
  /** An SQLite file, but of another program. */
  | 'foreign_file'
  | 'missing'
  | DatabaseTrouble

/** What can go wrong with our own file. */
export type DatabaseTrouble =
  'disk_full' | 'disk_error' | 'read_only' | 'locked' | 'corrupt' | 'cannot_open' | 'failed'

/** The database cannot be used, at the start or later. */
export class DatabaseUnusable extends Error {
  readonly reason: Unusable
  readonly code: string

  constructor(reason: Unusable, code: string = reason) {
    super(`the database cannot be used: ${reason}`)
    this.reason = reason
    this.code = code
  }
}

/** Undefined if the error is not about the database. */
export function unusableFrom(error: unknown): DatabaseUnusable | undefined {
  if (error instanceof DatabaseUnusable) return error
  return error instanceof SQLiteError
    ? new DatabaseUnusable(troubleOf(error), codeOf(error))
    : undefined
}

const TROUBLES: readonly (readonly [prefix: string, trouble: DatabaseTrouble])[] = [
  ['SQLITE_FULL', 'disk_full'],
  ['ENOSPC', 'disk_full'],
  ['EDQUOT', 'disk_full'],
  ['SQLITE_IOERR', 'disk_error'],
  ['EIO', 'disk_error'],
  ['SQLITE_READONLY', 'read_only'],
  ['SQLITE_PERM', 'read_only'],
  ['EROFS', 'read_only'],
  ['EACCES', 'read_only'],
  ['EPERM', 'read_only'],
  ['SQLITE_BUSY', 'locked'],
  ['SQLITE_LOCKED', 'locked'],
  ['SQLITE_CORRUPT', 'corrupt'],
  ['SQLITE_NOTADB', 'corrupt'],
  ['SQLITE_CANTOPEN', 'cannot_open'],
  ['ENOENT', 'cannot_open'],
  ['ENOTDIR', 'cannot_open'],
  ['EISDIR', 'cannot_open'],
  // A file where the folder should be.
  ['EEXIST', 'cannot_open'],
]

export function troubleOf(error: unknown): DatabaseTrouble {
  const code = codeOf(error)
  return TROUBLES.find(([prefix]) => code.startsWith(prefix))?.[1] ?? 'failed'
}

/** SQLite's or the system's name for the error; never its message, which may quote a path. */
export function codeOf(error: unknown): string {
  if (error instanceof SQLiteError) return error.code ?? 'SQLITE_ERROR'
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : 'UNKNOWN'
}
