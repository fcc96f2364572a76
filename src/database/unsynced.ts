// Enrolment's connection waits for the disk at each commit (enroll/schema.ts), and the whole gate waits
// with it for some milliseconds. Writes that a power cut may undo without harm skip that wait; the next
// synced commit carries them along.

import type { Database } from 'bun:sqlite'

/** Not inside a transaction, where SQLite ignores the change. */
export function unsynced<T>(db: Database, work: () => T): T {
  const before = db.query<{ synchronous: number }, []>('PRAGMA synchronous').get()?.synchronous ?? 2
  db.run('PRAGMA synchronous = NORMAL')
  try {
    return work()
  } finally {
    db.run(`PRAGMA synchronous = ${before}`)
  }
}
