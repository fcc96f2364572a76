// Finds keys on disk: by name, by hash, by the key itself, or all of them.

import type { Database } from 'bun:sqlite'
import { digestOf, isMeantAsKey } from './format.ts'
import type { KeyListed } from './records.ts'
import { KEY_COLUMNS, type KeyRow } from './row.ts'

const PAGE = 500

/** `before` is the `seq` of the last key seen. */
function pageOfKeys(db: Database, before: number): KeyListed[] {
  return db
    .query<KeyListed, [number, number]>(
      `SELECT ${KEY_COLUMNS}, (SELECT at FROM api_key_seen
         WHERE api_key_seen.key_sha256 = api_keys.key_sha256) AS seenAt
       FROM api_keys WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2`,
    )
    .all(before, PAGE)
}

/** All keys, the newest first. */
export function* keyPages(db: Database): Generator<readonly KeyListed[]> {
  let before = Number.MAX_SAFE_INTEGER
  for (;;) {
    const page = pageOfKeys(db, before)
    yield page
    if (page.length < PAGE) return
    before = page.at(-1)?.seq ?? 0
  }
}

/** The current key of a name: the one that a rotation would replace. */
export function currentKey(db: Database, name: string): KeyRow | undefined {
  const found = db
    .query<KeyRow, [string]>(
      `SELECT ${KEY_COLUMNS} FROM api_keys
       WHERE name = ?1 AND revoked_at IS NULL AND replaced_by IS NULL`,
    )
    .get(name)
  return found ?? undefined
}

/** The newest key of a name, whether or not it is still valid. */
export function newestKey(db: Database, name: string): KeyRow | undefined {
  const found = db
    .query<KeyRow, [string]>(
      `SELECT ${KEY_COLUMNS} FROM api_keys WHERE name = ?1 ORDER BY seq DESC LIMIT 1`,
    )
    .get(name)
  return found ?? undefined
}

/** The newest key of each, whether or not it is still valid. */
export function keysOfIdentities(
  db: Database,
  identities: readonly string[],
): ReadonlyMap<string, KeyRow> {
  const rows = db
    .query<KeyRow, [string]>(
      `SELECT ${KEY_COLUMNS} FROM api_keys WHERE seq IN (SELECT max(seq) FROM api_keys
         WHERE identity IN (SELECT value FROM json_each(?1)) GROUP BY identity)`,
    )
    .all(JSON.stringify(identities))
  return new Map(rows.map((row) => [row.identity, row]))
}

export function keysOfOrg(db: Database, org: string): KeyRow[] {
  return db.query<KeyRow, [string]>(`SELECT ${KEY_COLUMNS} FROM api_keys WHERE org = ?1`).all(org)
}

/** Names by identity, for reports that know only identities. */
export function namesOfKeys(db: Database): ReadonlyMap<string, string> {
  const rows = db
    .query<Pick<KeyRow, 'identity' | 'name'>, []>('SELECT identity, name FROM api_keys')
    .all()
  return new Map(rows.map(({ identity, name }) => [identity, name]))
}

/** By name, by hash as logs show it, or by the key itself. */
export function keysCalled(db: Database, given: string): KeyRow[] {
  if (isMeantAsKey(given)) {
    return db
      .query<KeyRow, [string]>(`SELECT ${KEY_COLUMNS} FROM api_keys WHERE key_sha256 = ?1`)
      .all(digestOf(given))
  }
  return db
    .query<KeyRow, [string]>(`SELECT ${KEY_COLUMNS} FROM api_keys WHERE name = ?1 OR identity = ?1`)
    .all(given)
}
