// Finds families by the value of one column, a part at a time.

import type { Database } from 'bun:sqlite'

const COLUMNS = {
  family: 'device_families',
  owner: 'device_families',
  device_hash: 'device_families',
  device_key: 'device_families',
  head_jti: 'device_families',
  label: 'device_names',
  user_id: 'device_names',
  org_id: 'device_names',
} as const

export interface FamilySelector {
  readonly by: keyof typeof COLUMNS
  readonly value: string
}

export const isNamedBy = (text: string): text is FamilySelector['by'] =>
  Object.hasOwn(COLUMNS, text)

export interface FamilyFound {
  readonly seq: number
  readonly family: string
  readonly revoked_at: number | null
}

/**
 * In the order of enrolment. Includes revoked families, because skipping a thousand takes time too.
 */
export function familiesNamed(
  db: Database,
  { by, value }: FamilySelector,
  { after, upTo, limit }: { readonly after: number; readonly upTo: number; readonly limit: number },
): FamilyFound[] {
  const table = COLUMNS[by]
  const join = table === 'device_names' ? 'CROSS JOIN device_families USING (seq)' : ''
  return db
    .query<FamilyFound, [string, number, number, number]>(
      `SELECT seq, family, revoked_at FROM ${table} ${join}
       WHERE ${by} = ?1 AND ${table}.seq > ?2 AND ${table}.seq <= ?3
       ORDER BY ${table}.seq LIMIT ?4`,
    )
    .all(value, after, upTo, limit)
}

export function isAnyNamed(db: Database, { by, value }: FamilySelector): boolean {
  return db.query(`SELECT 1 FROM ${COLUMNS[by]} WHERE ${by} = ?1 LIMIT 1`).get(value) !== null
}

export function newestFamily(db: Database): number {
  const found = db
    .query<{ seq: number | null }, []>('SELECT max(seq) AS seq FROM device_families')
    .get()
  return found?.seq ?? 0
}
