// A connection to the gate's database that switches to another file together with the rest of the
// process. Never keep the open database, or a statement of it, past one piece of work.

import type { Database } from 'bun:sqlite'
import type { OpenedDatabase } from './database.ts'

export interface DatabaseConnection {
  /** The open database. Throws DatabaseUnusable if no usable one exists. */
  get(): Database
  /** The same as a value, after a check of the file at the path. */
  open(): OpenedDatabase
  /**
   * For work whose result is answered once it is written. Checks the path before and after `work`,
   * and throws DatabaseUnusable if the gate switched files in between, because nobody would find
   * what was written.
   */
  write<T>(work: (database: Database) => T): T
  /**
   * Changes with each file: whatever was read or prepared under another number belongs to another
   * file.
   */
  readonly file: number
  /** The next use reopens it. */
  close(): void
}
