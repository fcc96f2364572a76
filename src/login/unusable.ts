// What is thrown where the session's file cannot be used, so that callers can refuse instead of
// failing. It quotes neither path nor content.

import { SQLiteError } from 'bun:sqlite'
import { codeOf, DatabaseUnusable, troubleOf, type Unusable } from '../database/trouble.ts'

export class SessionsUnusable extends Error {
  /** `moved`: the file was deleted or replaced, so that nobody would find what is written. */
  readonly reason: Unusable | 'moved' | 'too_large'
  /** SQLite's own, for the log. */
  readonly code: string

  constructor(reason: SessionsUnusable['reason'], code: string = reason) {
    super(`the session cannot be kept: ${reason}`)
    this.reason = reason
    this.code = code
  }
}

/** Whatever SQLite throws becomes SessionsUnusable. */
export function reported<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw unusableFrom(error)
  }
}

const LOCKED_FOR_MS = 2000
const TRY_AGAIN_MS = 25

/**
 * Tries again for two seconds where another process holds the lock. The connection itself waits a
 * moment only (LOGIN_PRAGMAS), since all of the gate waits with it. The first try is made at once.
 */
export async function whenFree<T>(write: () => T): Promise<T> {
  const until = performance.now() + LOCKED_FOR_MS
  for (;;) {
    try {
      return write()
    } catch (error) {
      const isLocked = error instanceof SessionsUnusable && error.reason === 'locked'
      if (!isLocked || performance.now() >= until) throw error
    }
    await Bun.sleep(TRY_AGAIN_MS)
  }
}

/** Throws what is no failure of the file: bugs stay what they are. */
export function unusableFrom(error: unknown): SessionsUnusable {
  if (error instanceof SessionsUnusable) return error
  if (error instanceof DatabaseUnusable) {
    return new SessionsUnusable(error.code === 'moved' ? 'moved' : error.reason, error.code)
  }
  if (!(error instanceof SQLiteError)) throw error
  return new SessionsUnusable(troubleOf(error), codeOf(error))
}
