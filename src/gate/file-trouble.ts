// What `/readyz` says of the database's file.

import type { DatabaseFollower } from '../database/follow.ts'

/** Long enough for anything that polls `/readyz` to see it. */
const TELL_LEFT_MS = 600_000

/** Why there is no file, or why the gate switched to another one a short while ago. */
export function fileTrouble({ away, left }: DatabaseFollower, now: number): string | undefined {
  return away ?? (left && now - left.atMs < TELL_LEFT_MS ? left.what : undefined)
}
