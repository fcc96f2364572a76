// How a gate learns what other processes write into its file: it checks a few times a second whether
// anything was written, and reads only then.

import type { Database } from 'bun:sqlite'
import { type Instant, instant } from '../turn/instant.ts'

/** `PRAGMA data_version` costs 2 µs; nothing else is read while it stays the same. */
export const POLL_MS = 250
/** The pause when a turn left something to do. */
const GO_ON_MS = 5

/**
 * Changes with each commit of another connection, never with one of this connection
 * (sqlite.org/pragma.html#pragma_data_version).
 */
export function versionOf(db: Database): number | undefined {
  return db.query<{ data_version: number }, []>('PRAGMA data_version').get()?.data_version
}

export interface Polling {
  start(): void
  stop(): void
}

/** `turn` returns whether it left something to do, and must not throw. */
export function polling(turn: (now: Instant) => boolean, pollMs: number = POLL_MS): Polling {
  let timer: NodeJS.Timeout | undefined
  const tick = (): void => {
    const isBehind = turn(instant())
    timer = setTimeout(tick, isBehind ? Math.min(GO_ON_MS, pollMs) : pollMs).unref()
  }
  return {
    start() {
      timer ??= setTimeout(tick, pollMs).unref()
    },
    stop() {
      clearTimeout(timer)
      timer = undefined
    },
  }
}
