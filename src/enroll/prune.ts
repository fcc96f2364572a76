// Deletes rows that are no longer needed: names of what has expired anyway. A day of margin keeps
// whatever two clocks, or one that was set back, could still consider valid.

import type { Database } from 'bun:sqlite'
import { unsynced } from '../database/unsynced.ts'

const MARGIN_SECONDS = 86_400
/** An operator may ask about a code for this long after its end. */
const CODE_MARGIN_SECONDS = 30 * 86_400
/**
 * Rows for one call: some milliseconds, in which the whole gate waits. The next call takes the
 * rest.
 */
const MAX_ROWS = 50

/**
 * `nowSeconds`: now, minus the allowance for refreshes. Writes nothing if there is nothing to
 * delete; true if there may be more.
 */
export function pruneEnrolment(db: Database, nowSeconds: number): boolean {
  const before = nowSeconds - MARGIN_SECONDS
  const forgotten = [
    forget(db, 'withdrawals', 'until', before),
    forget(db, 'device_families', 'dead_at', before),
    // Codes are few, and their column has no index.
    forget(db, 'enrolment_codes', 'expires_at', nowSeconds - CODE_MARGIN_SECONDS),
  ]
  return forgotten.includes(MAX_ROWS)
}

/** Returns the number of deleted rows. */
function forget(
  db: Database,
  table: 'withdrawals' | 'device_families' | 'enrolment_codes',
  column: 'until' | 'dead_at' | 'expires_at',
  before: number,
): number {
  const key = table === 'enrolment_codes' ? 'id' : 'seq'
  const stale = db
    .query<{ 1: number }, [number]>(`SELECT 1 FROM ${table} WHERE ${column} < ?1 LIMIT 1`)
    .get(before)
  if (stale === null) return 0
  const rows = `SELECT ${key} FROM ${table} WHERE ${column} < ?1 ORDER BY ${column} LIMIT ${MAX_ROWS}`
  const forgetting = db.transaction((): number => {
    if (table === 'device_families') {
      for (const beside of ['device_names', 'device_seen']) {
        db.query(`DELETE FROM ${beside} WHERE seq IN (${rows})`).run(before)
      }
    }
    return db.query(`DELETE FROM ${table} WHERE ${key} IN (${rows})`).run(before).changes
  })
  return unsynced(db, () => forgetting.immediate())
}
