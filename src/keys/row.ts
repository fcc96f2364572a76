// A key as the database has it, and its standing at a moment.

export interface KeyRow {
  readonly seq: number
  /** Greater than for every row that changed before. */
  readonly changed: number
  readonly name: string
  readonly digest: string
  readonly identity: string
  /** The name of its policy. */
  readonly policy: string | null
  readonly org: string | null
  /** Times are seconds since the epoch. */
  readonly createdAt: number
  /** Null: never expires. */
  readonly expiresAt: number | null
  readonly revokedAt: number | null
  /** The `seq` of the key that replaced it in a rotation. */
  readonly replacedBy: number | null
  readonly overlapEndsAt: number | null
}

/** A key in a gate's memory. */
export interface KnownKey {
  readonly row: KeyRow
  /** The minute of the last request that was noted (seen.ts). */
  seenMinute: number
}

export const KEY_COLUMNS = `seq, changed, name, key_sha256 AS digest, identity, policy, org,
  created_at AS createdAt, expires_at AS expiresAt, revoked_at AS revokedAt,
  replaced_by AS replacedBy, overlap_ends_at AS overlapEndsAt`

/** `replaced`: a rotation made another key, and the overlap is over. */
export type KeyStanding = 'good' | 'expired' | 'revoked' | 'replaced'

type Ends = Pick<KeyRow, 'expiresAt' | 'revokedAt' | 'overlapEndsAt'>

/** A revocation takes precedence over an expiry. */
export function standingOf(key: Ends, nowSeconds: number): KeyStanding {
  if (key.revokedAt !== null) return 'revoked'
  if (key.overlapEndsAt !== null && key.overlapEndsAt <= nowSeconds) return 'replaced'
  return key.expiresAt !== null && key.expiresAt <= nowSeconds ? 'expired' : 'good'
}
