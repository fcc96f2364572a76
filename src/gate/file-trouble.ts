// What is said when the database file cannot be used: at a start, and by `/readyz`.

import { ADVICE, isLasting } from '../database/advice.ts'
import type { DatabaseFollower } from '../database/follow.ts'
import { unusableFrom } from '../database/trouble.ts'

/** Long enough for anything that polls `/readyz` to see it. */
const TELL_LEFT_MS = 600_000

/** Why there is no usable file, or why the gate recently switched to another one. */
export function fileTrouble({ away, left }: DatabaseFollower, now: number): string | undefined {
  return away ?? (left && now - left.atMs < TELL_LEFT_MS ? left.what : undefined)
}

export interface StartTrouble {
  /** What is wrong and what to do, in lines for a terminal. */
  readonly message: string
  /** A restart does not help. */
  readonly isLasting: boolean
}

/** Undefined if the error is not about the database. */
export function startTrouble(error: unknown): StartTrouble | undefined {
  const unusable = unusableFrom(error)
  if (!unusable) return undefined
  const { what, todo } = ADVICE[unusable.reason]
  const message = `${unusable.message}; DATABASE_URL names its file\n    ${what}\n    ${todo}`
  return { message, isLasting: isLasting(unusable.reason) }
}
