// Rows of `withdrawals`: what was revoked or retired, and until when that must be known.

import type { Database } from 'bun:sqlite'

export interface RevocationRow {
  readonly seq: number
  readonly kind: 'retired' | 'token' | 'family'
  readonly name: string
  readonly at: number
  readonly until: number
}

/**
 * Whether the last row that was read is still where it was. It is not if a backup was restored into
 * the file itself (`.restore`): numbers are then reused, and newer rows have lower ones.
 */
export function isThere(db: Database, { seq, name }: Pick<RevocationRow, 'seq' | 'name'>): boolean {
  if (seq === 0) return true
  const found = db
    .query<{ name: string }, [number]>('SELECT name FROM withdrawals WHERE seq = ?1')
    .get(seq)
  return found?.name === name
}

export function isKnown(db: Database, kind: RevocationRow['kind'], name: string): boolean {
  const found = db
    .query<{ 1: number }, [string, string]>(
      'SELECT 1 FROM withdrawals WHERE name = ?1 AND kind = ?2 LIMIT 1',
    )
    .get(name, kind)
  return found !== null
}

export function insertUnlessKnown(
  db: Database,
  { kind, name, at, until }: Omit<RevocationRow, 'seq'>,
): void {
  if (isKnown(db, kind, name)) return
  db.query('INSERT INTO withdrawals (kind, name, at, until) VALUES (?1, ?2, ?3, ?4)').run(
    kind,
    name,
    at,
    until,
  )
}
