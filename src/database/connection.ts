// What a user of the gate's database holds: a connection that goes over to another file with the rest
// of the process. It must never be kept past one piece of work, and neither may its statements.

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
