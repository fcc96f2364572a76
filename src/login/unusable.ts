// The error for a session file that cannot be used, so that callers can refuse instead of failing. It
// quotes neither path nor content.

import { SQLiteError } from 'bun:sqlite'
import { codeOf, DatabaseUnusable, troubleOf, type Unusable } from '../database/trouble.ts'

export class SessionsUnusable extends Error {
  /** `moved`: the file was deleted or replaced, so nobody would find what is written. */
  readonly reason: Unusable | 'moved' | 'too_large'
  /** SQLite's code, for the log. */
  readonly code: string

  constructor(reason: SessionsUnusable['reason'], code: string = reason) {
    super(`the session cannot be kept: ${reason}`)
    this.reason = reason
    this.code = code
  }
}

/** Turns SQLite's errors into SessionsUnusable. */
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
 * Retries for two seconds while another process holds the lock. The connection itself waits only a
 * moment (LOGIN_PRAGMAS), because the whole gate waits with it. The first attempt is made at once.
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

/** Rethrows errors that are not about the file: bugs stay bugs. */
export function unusableFrom(error: unknown): SessionsUnusable {
  if (error instanceof SessionsUnusable) return error
  if (error instanceof DatabaseUnusable) {
    return new SessionsUnusable(error.code === 'moved' ? 'moved' : error.reason, error.code)
  }
  if (!(error instanceof SQLiteError)) throw error
  return new SessionsUnusable(troubleOf(error), codeOf(error))
}
