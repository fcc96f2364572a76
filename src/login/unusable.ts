// What is thrown where the session's file cannot be used, so that callers can refuse instead of
// failing. It quotes neither path nor content.

import { SQLiteError } from 'bun:sqlite'
import { codeOf, DatabaseUnusable, troubleOf, type Unusable } from '../state/database.ts'

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

/** Throws what is no failure of the file: bugs stay what they are. */
export function unusableFrom(error: unknown): SessionsUnusable {
  if (error instanceof SessionsUnusable) return error
  if (error instanceof DatabaseUnusable) {
    return new SessionsUnusable(error.code === 'moved' ? 'moved' : error.reason, error.code)
  }
  if (!(error instanceof SQLiteError)) throw error
  return new SessionsUnusable(troubleOf(error), codeOf(error))
}
