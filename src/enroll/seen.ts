// When each device was last seen, to the minute: noted in memory as requests come, and written in the
// background in small transactions, so that no request costs a write and no write holds up a request.

import type { Database } from 'bun:sqlite'
import type { DeviceClaims } from './device-token.ts'
import { markSeen } from './families.ts'
import type { RememberedToken } from './remembered.ts'
import { unsynced } from '../database/unsynced.ts'

export interface SeenDevices {
  /** Costs one comparison, except for the first request in each minute. */
  note(known: RememberedToken, nowSeconds: number): void
  /** Seen, and not on the disk yet. */
  has(family: DeviceClaims['family']): boolean
  /** Throws if the disk fails: what is not written stays for the next time. */
  flush(db: Database): void
}

const MINUTE_SECONDS = 60
/** Beyond this number in one minute, some are written a minute later. */
const MAX_PENDING = 250_000
/** A transaction of some milliseconds. */
const FLUSH_ROWS = 300

export function seenDevices(): SeenDevices {
  const pending = new Map<string, number>()
  return {
    note(known, nowSeconds) {
      const minute = Math.floor(nowSeconds / MINUTE_SECONDS)
      if (known.seenMinute === minute || pending.size >= MAX_PENDING) return
      known.seenMinute = minute
      pending.set(known.claims.family, minute * MINUTE_SECONDS)
    },
    has: (family) => pending.has(family),
    flush(db) {
      if (pending.size === 0) return
      const rows = [...pending.entries().take(FLUSH_ROWS)]
      unsynced(db, () => db.transaction(() => markSeen(db, rows)).immediate())
      for (const [family, at] of rows) if (pending.get(family) === at) pending.delete(family)
    },
  }
}
