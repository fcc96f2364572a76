// What `/readyz` says about the database file.

import type { DatabaseFollower } from '../database/follow.ts'

/** Long enough for anything that polls `/readyz` to see it. */
const TELL_LEFT_MS = 600_000

/** Why there is no usable file, or why the gate recently switched to another one. */
export function fileTrouble({ away, left }: DatabaseFollower, now: number): string | undefined {
  return away ?? (left && now - left.atMs < TELL_LEFT_MS ? left.what : undefined)
}
