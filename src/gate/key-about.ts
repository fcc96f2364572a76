// What `GET /device` tells the holder of a key about it.

import type { CredentialAbout } from '../accept/caller-about.ts'
import type { KeyRow } from '../keys/row.ts'

export function keyAbout({ name, createdAt, ...row }: KeyRow): CredentialAbout {
  const ends = Math.min(row.expiresAt ?? Infinity, row.overlapEndsAt ?? Infinity)
  return {
    name,
    issuedAt: createdAt,
    expiresAt: ends === Infinity ? undefined : ends,
    replaced: row.replacedBy !== null,
  }
}
