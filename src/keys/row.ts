// One key as the database has it, and how it stands at a moment.

export interface KeyRow {
  readonly seq: number
  /** Greater than that of every row that changed before. */
  readonly changed: number
  readonly name: string
  readonly digest: string
  readonly identity: string
  /** The name of its policy. */
  readonly policy: string | null
  readonly org: string | null
  /** Times are seconds since the epoch. */
  readonly createdAt: number
  /** Null: never. */
  readonly expiresAt: number | null
  readonly revokedAt: number | null
  /** The `seq` of the key that a rotation made. */
  readonly replacedBy: number | null
  readonly overlapEndsAt: number | null
}

/** In the memory of a gate. */
export interface KnownKey {
  readonly row: KeyRow
  /** Of the last request that was noted (seen.ts). */
  seenMinute: number
}

export const KEY_COLUMNS = `seq, changed, name, key_sha256 AS digest, identity, policy, org,
  created_at AS createdAt, expires_at AS expiresAt, revoked_at AS revokedAt,
  replaced_by AS replacedBy, overlap_ends_at AS overlapEndsAt`

/** `replaced`: a rotation made another, and the overlap is over. */
export type KeyStanding = 'good' | 'expired' | 'revoked' | 'replaced'

type Ends = Pick<KeyRow, 'expiresAt' | 'revokedAt' | 'overlapEndsAt'>

/** A revocation is told before an end that comes by itself. */
export function standingOf(key: Ends, nowSeconds: number): KeyStanding {
  if (key.revokedAt !== null) return 'revoked'
  if (key.overlapEndsAt !== null && key.overlapEndsAt <= nowSeconds) return 'replaced'
  return key.expiresAt !== null && key.expiresAt <= nowSeconds ? 'expired' : 'good'
}
