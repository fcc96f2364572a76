// Revocations that were begun and not finished, on disk. The process that begins one works on it until
// the end; if it dies or the disk fails meanwhile, a gate on the same file, or the next that starts,
// finds the row and finishes it.

import type { Database } from 'bun:sqlite'
import { isNamedBy, type FamilySelector } from './named-families.ts'
import type { AuditedAct } from './records.ts'

export interface Unfinished {
  readonly id: number
  readonly group: FamilySelector
  readonly after: number
  readonly upTo: number
  readonly act: AuditedAct
}

interface UnfinishedRow {
  readonly id: number
  readonly named_by: string
  readonly value: string
  readonly after: number
  readonly up_to: number
  readonly at: number
  readonly actor: string
}

/**
 * Nobody pauses for this long between two parts, though a clock that was set back may suggest it.
 */
const LEFT_ALONE_SECONDS = 2

/** Returns the row's id. */
export function noteUnfinished(
  db: Database,
  { by, value }: FamilySelector,
  after: number,
  upTo: number,
  { at, actor }: AuditedAct,
): number {
  const { lastInsertRowid } = db
    .query(
      `INSERT INTO unfinished_revocations (named_by, value, after, up_to, at, actor, worked_at)
       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5)`,
    )
    .run(by, value, after, upTo, at, actor)
  return Number(lastInsertRowid)
}

/** Undefined if somebody has finished it. */
export function findUnfinished(db: Database, id: number): Unfinished | undefined {
  const row = db
    .query<UnfinishedRow, [number]>('SELECT * FROM unfinished_revocations WHERE id = ?1')
    .get(id)
  return row ? unfinished(row) : undefined
}

/** `waits`: there is one, and another process may be working on it. */
export function findLeftAlone(db: Database, nowSeconds: number): Unfinished | 'waits' | undefined {
  const row = db
    .query<UnfinishedRow, [number, number]>(
      `SELECT * FROM unfinished_revocations
       ORDER BY abs(worked_at - ?1) < ?2, id LIMIT 1`,
    )
    .get(nowSeconds, LEFT_ALONE_SECONDS)
  if (!row) return undefined
  const { worked_at: workedAt } = row as UnfinishedRow & { readonly worked_at: number }
  return Math.abs(workedAt - nowSeconds) < LEFT_ALONE_SECONDS ? 'waits' : unfinished(row)
}

export function noteFurther(db: Database, id: number, after: number, nowSeconds: number): void {
  db.query('UPDATE unfinished_revocations SET after = ?2, worked_at = ?3 WHERE id = ?1').run(
    id,
    after,
    nowSeconds,
  )
}

export function noteFinished(db: Database, id: number): void {
  db.query('DELETE FROM unfinished_revocations WHERE id = ?1').run(id)
}

function unfinished(row: UnfinishedRow): Unfinished {
  // A later version may know more columns; what is not understood must not be skipped.
  if (!isNamedBy(row.named_by)) throw new Error('an unfinished revocation cannot be read')
  return {
    id: row.id,
    group: { by: row.named_by, value: row.value },
    after: row.after,
    upTo: row.up_to,
    act: { at: row.at, actor: row.actor, action: 'revoke' },
  }
}
