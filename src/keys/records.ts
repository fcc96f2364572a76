// The port for what an operator's command asks of keys, whichever database holds them. Each change
// stands together with its audit entry, or not at all; a gate on the same database learns of it within a
// second.

import type { KeyRow } from './row.ts'

/** A gate holds all of them in memory, about 600 bytes each. */
export const MAX_KEYS = 10_000

export interface KeyTerms {
  readonly name: string
  readonly policy: string | undefined
  readonly org: string | undefined
  /** Seconds since the epoch; undefined means never. */
  readonly expiresAt: number | undefined
}

/** A new key; the only time that it is seen. */
export interface KeyMade {
  readonly key: string
  readonly row: KeyRow
}

export type KeyAdded =
  | ({ readonly ok: true } & KeyMade)
  | { readonly ok: false; readonly why: 'name_taken' | 'too_many' }

export interface Rotation {
  /** How long the old key stays valid beside the new one; 0 ends it now. */
  readonly overlapSeconds: number
  /** `same`: the new key lives as long as the old one was made for, up to the maximum. */
  readonly expiresAt: number | undefined | 'same'
  /** Undefined means no bound. */
  readonly maxLifetimeSeconds?: number
  /** The policies that exist; undefined if unknown. */
  readonly policies?: readonly string[] | undefined
}

export type KeyRotated =
  | ({ readonly ok: true; readonly old: KeyRow } & KeyMade)
  | { readonly ok: false; readonly why: 'unknown' | 'too_many' | 'policy_gone' }

export interface KeysRevoked {
  /** The names of all keys that match. */
  readonly names: readonly string[]
  /** How many were valid until now: the key itself, and those that a rotation left valid. */
  readonly ended: number
}

export interface KeyListed extends KeyRow {
  readonly seenAt: number | null
}

export interface KeyRecords {
  add(terms: KeyTerms, nowSeconds: number): Promise<KeyAdded>
  rotate(name: string, rotation: Rotation, nowSeconds: number): Promise<KeyRotated>
  /**
   * `given`: a name, a hash as logs show it, or a key that somebody has found. Undefined if nothing
   * matches.
   */
  revoke(given: string, nowSeconds: number): Promise<KeysRevoked | undefined>
  /** All keys, the newest first. */
  pages(): AsyncIterable<readonly KeyListed[]>
  /** The current key of a name: the one that a rotation would replace. */
  current(name: string): Promise<KeyRow | undefined>
  /** The newest key of a name, whether or not it is still valid. */
  newestNamed(name: string): Promise<KeyRow | undefined>
  /** The newest key of each identity, whether or not it is still valid; others are missing. */
  ofIdentities(identities: readonly string[]): Promise<ReadonlyMap<string, KeyRow>>
  ofOrg(org: string): Promise<readonly KeyRow[]>
  /** Names by identity, for reports that know only identities. */
  names(): Promise<ReadonlyMap<string, string>>
}
