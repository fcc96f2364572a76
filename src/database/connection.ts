// A connection to the gate's database that switches to another file together with the rest of the
// process. Never keep the open database, or a statement of it, past one piece of work.

import type { Database } from 'bun:sqlite'
import type { OpenedDatabase } from './database.ts'

export interface DatabaseConnection {
  /** The open database. Throws DatabaseUnusable where there is none that can be used. */
  get(): Database
  /** The same as a value, after a look at what stands at the path now. */
  open(): OpenedDatabase
  /**
   * For what is answered when it is written: looks at the path before and after `work`, and throws
   * DatabaseUnusable where the file was left meanwhile, so that nobody would find what was written.
   */
  write<T>(work: (database: Database) => T): T
  /** Another number for another file: what was read or prepared before belongs to the old one. */
  readonly file: number
  /** The next use opens it anew. */
  close(): void
}
