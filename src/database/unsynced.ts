// Enrolment's connection waits for the disk at each commit (enroll/schema.ts), which takes some
// milliseconds, and with it waits the whole gate. What a power cut may take back without harm does not wait: the next
// commit that does carries it along.

import type { Database } from 'bun:sqlite'

/** Not to be called in a transaction, where SQLite keeps to what it had. */
export function unsynced<T>(db: Database, work: () => T): T {
  const before = db.query<{ synchronous: number }, []>('PRAGMA synchronous').get()?.synchronous ?? 2
  db.run('PRAGMA synchronous = NORMAL')
  try {
    return work()
  } finally {
    db.run(`PRAGMA synchronous = ${before}`)
  }
}
