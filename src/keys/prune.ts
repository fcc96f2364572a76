// Deletes ended keys. The last row of a name stays a year longer than one that a rotation has
// replaced: usage reports find the name by it.

import type { Database } from 'bun:sqlite'
import { unsynced } from '../database/unsynced.ts'

const DAY_SECONDS = 86_400
const REPLACED_DAYS = 30
const ENDED_DAYS = 400
/** For one call: some milliseconds. */
const MAX_ROWS = 50

/**
 * True if there may be more. The row that changed last always stays; otherwise its number would be
 * reused, and a gate would believe that it has read the new row already.
 */
const ENDED = `SELECT seq FROM api_keys
  WHERE changed < (SELECT max(changed) FROM api_keys) AND (
    (replaced_by IS NOT NULL AND overlap_ends_at < ?1)
    OR revoked_at < ?2 OR expires_at < ?2)
  LIMIT ${MAX_ROWS}`

export function pruneKeys(db: Database, nowSeconds: number): boolean {
  const replaced = nowSeconds - REPLACED_DAYS * DAY_SECONDS
  const ended = nowSeconds - ENDED_DAYS * DAY_SECONDS
  const rows = db.query<{ seq: number }, [number, number]>(ENDED).all(replaced, ended)
  if (rows.length === 0) return false
  const forget = db.transaction(() => {
    for (const { seq } of rows) {
      db.query(
        'DELETE FROM api_key_seen WHERE key_sha256 = (SELECT key_sha256 FROM api_keys WHERE seq = ?1)',
      ).run(seq)
      db.query('DELETE FROM api_keys WHERE seq = ?1').run(seq)
    }
  })
  unsynced(db, () => forget.immediate())
  return rows.length === MAX_ROWS
}
