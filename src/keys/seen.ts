// When each key was last seen, to the minute: noted in memory as requests come, and written in the
// background in small transactions. Bounded by the number of keys.

import type { Database } from 'bun:sqlite'
import { unsynced } from '../database/unsynced.ts'
import type { Instant } from '../turn/instant.ts'
import type { KnownKey } from './row.ts'

export interface SeenKeys {
  /** Costs one comparison, except for the first request in each minute. */
  note(key: KnownKey, nowSeconds: number): void
  /** Throws if the disk fails: what is not written stays for the next time. */
  flush(db: Database, now: Instant): void
  /** Makes the next flush write, however recent the last one is. */
  hurry(): void
}

const MINUTE_SECONDS = 60
const FLUSH_MS = 1000
/** A transaction of some milliseconds. */
const FLUSH_ROWS = 300

export function seenKeys(): SeenKeys {
  const pending = new Map<string, number>()
  let flushedAtMs = Number.NEGATIVE_INFINITY
  return {
    note(key, nowSeconds) {
      const minute = Math.floor(nowSeconds / MINUTE_SECONDS)
      if (key.seenMinute === minute) return
      key.seenMinute = minute
      pending.set(key.row.digest, minute * MINUTE_SECONDS)
    },
    flush(db, now) {
      if (pending.size === 0 || now.monotonicMs - flushedAtMs < FLUSH_MS) return
      flushedAtMs = now.monotonicMs
      const rows = [...pending.entries().take(FLUSH_ROWS)]
      const write = db.transaction(() => {
        for (const [digest, at] of rows) markSeen(db, digest, at)
      })
      unsynced(db, () => write.immediate())
      for (const [digest, at] of rows) if (pending.get(digest) === at) pending.delete(digest)
    },
    hurry() {
      flushedAtMs = Number.NEGATIVE_INFINITY
    },
  }
}

/** Several gates may share one file. A key that is not in it is skipped. */
function markSeen(db: Database, digest: string, at: number): void {
  db.query(
    `INSERT INTO api_key_seen (key_sha256, at)
       SELECT key_sha256, ?2 FROM api_keys WHERE key_sha256 = ?1
     ON CONFLICT (key_sha256) DO UPDATE SET at = max(at, excluded.at)`,
  ).run(digest, at)
}
