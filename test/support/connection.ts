// A connection of a test's own choosing, where nothing at its path is looked at.

import type { Database } from 'bun:sqlite'
import type { DatabaseConnection } from '../../src/database/connection.ts'
import { type OpenedDatabase } from '../../src/database/database.ts'
import { DatabaseUnusable } from '../../src/database/trouble.ts'

/** Opened when it is first used, and again after it was closed. */
export function connectionBy(make: () => OpenedDatabase): DatabaseConnection {
  let database: Database | undefined
  const open = (): OpenedDatabase => {
    if (database) return { ok: true, database }
    const opened = make()
    if (opened.ok) ({ database } = opened)
    return opened
  }
  const get = (): Database => {
    const opened = open()
    if (opened.ok) return opened.database
    throw new DatabaseUnusable(opened.reason, opened.code)
  }
  return {
    open,
    get,
    write: (work) => work(get()),
    file: 1,
    close() {
      database?.close()
      database = undefined
    },
  }
}

export const connectionTo = (database: Database): DatabaseConnection =>
  connectionBy(() => ({ ok: true, database }))
