// Adds, rotates and revokes keys on disk, each in one transaction with its audit entry. A gate on the
// same file learns of it within its next poll. Call these from one command at a time: each waits for
// the others.

import type { Database } from 'bun:sqlite'
import { randomBytes } from 'node:crypto'
import { audit } from '../enroll/audit.ts'
import { currentKey, keysCalled } from './find.ts'
import { digestOf, makeKey } from './format.ts'
import {
  type KeyAdded,
  type KeyMade,
  type KeyRotated,
  type KeysRevoked,
  type KeyTerms,
  MAX_KEYS,
  type Rotation,
} from './records.ts'
import { KEY_COLUMNS, type KeyRow, standingOf } from './row.ts'

export function addKey(db: Database, terms: KeyTerms, nowSeconds: number): KeyAdded {
  const adding = db.transaction((): KeyAdded => {
    if (currentKey(db, terms.name)) return { ok: false, why: 'name_taken' }
    if (isFull(db, nowSeconds)) return { ok: false, why: 'too_many' }
    const identity = randomBytes(32).toString('hex')
    const made = insert(db, { ...terms, identity }, nowSeconds)
    note(db, 'key add', terms.name, nowSeconds)
    return { ok: true, ...made }
  })
  return adding.immediate()
}

export function rotateKey(
  db: Database,
  name: string,
  { overlapSeconds, expiresAt, maxLifetimeSeconds = Infinity, policies }: Rotation,
  nowSeconds: number,
): KeyRotated {
  const rotating = db.transaction((): KeyRotated => {
    const old = currentKey(db, name)
    if (!old) return { ok: false, why: 'unknown' }
    if (old.policy !== null && policies?.includes(old.policy) === false) {
      return { ok: false, why: 'policy_gone' }
    }
    if (isFull(db, nowSeconds)) return { ok: false, why: 'too_many' }
    const madeFor = old.expiresAt === null ? Infinity : old.expiresAt - old.createdAt
    const lifetime = Math.min(madeFor, maxLifetimeSeconds)
    const same = lifetime === Infinity ? undefined : nowSeconds + lifetime
    // First, because the new key has the same name.
    change(db, old.seq, 'replaced_by = -1, overlap_ends_at = ?2', nowSeconds + overlapSeconds)
    const { policy, org, identity } = old
    const terms = {
      name,
      policy: policy ?? undefined,
      org: org ?? undefined,
      identity,
      expiresAt: expiresAt === 'same' ? same : expiresAt,
    }
    const made = insert(db, terms, nowSeconds)
    db.query('UPDATE api_keys SET replaced_by = ?2 WHERE seq = ?1').run(old.seq, made.row.seq)
    note(db, 'key rotate', name, nowSeconds)
    return { ok: true, ...made, old: rowOf(db, old.seq) }
  })
  return rotating.immediate()
}

/**
 * `given`: a name, a hash as logs show it, or a key that somebody has found. Undefined if nothing
 * matches.
 */
export function revokeKeys(
  db: Database,
  given: string,
  nowSeconds: number,
): KeysRevoked | undefined {
  const revoking = db.transaction((): KeysRevoked | undefined => {
    const rows = keysCalled(db, given)
    if (rows.length === 0) return undefined
    const alive = rows.filter(({ revokedAt }) => revokedAt === null)
    for (const { seq } of alive) change(db, seq, 'revoked_at = ?2', nowSeconds)
    const names = [...new Set(rows.map(({ name }) => name))]
    for (const name of new Set(alive.map((each) => each.name))) {
      note(db, 'key revoke', name, nowSeconds)
    }
    const good = alive.filter((each) => standingOf(each, nowSeconds) === 'good')
    return { names, ended: good.length }
  })
  return revoking.immediate()
}

/**
 * Ends keys that this process knows to have ended in a file that does not know it: a restored
 * backup.
 */
export function endAgain(db: Database, rows: readonly KeyRow[], nowSeconds: number): void {
  const ending = db.transaction(() => {
    for (const { digest, name, revokedAt, overlapEndsAt } of rows) {
      const { changes } = db
        .query(
          `UPDATE api_keys SET changed = ${NEXT_CHANGE}, revoked_at = coalesce(revoked_at, ?2),
             overlap_ends_at = min(coalesce(overlap_ends_at, ?3), coalesce(?3, overlap_ends_at))
           WHERE key_sha256 = ?1`,
        )
        .run(digest, revokedAt, overlapEndsAt)
      if (changes > 0) audit(db, { ...entry('key revoke', name, nowSeconds), actor: 'gate' })
    }
  })
  ending.immediate()
}

function isFull(db: Database, nowSeconds: number): boolean {
  const found = db
    .query<{ count: number }, [number]>(
      `SELECT count(*) AS count FROM api_keys WHERE revoked_at IS NULL
         AND coalesce(expires_at, ?1 + 1) > ?1 AND coalesce(overlap_ends_at, ?1 + 1) > ?1`,
    )
    .get(nowSeconds)
  return (found?.count ?? 0) >= MAX_KEYS
}

/** Pruning keeps the highest, so that no number is reused. */
const NEXT_CHANGE = '(SELECT coalesce(max(changed), 0) + 1 FROM api_keys)'

function insert(
  db: Database,
  { name, policy, org, expiresAt, identity }: KeyTerms & { readonly identity: string },
  nowSeconds: number,
): KeyMade {
  const key = makeKey()
  const row = db
    .query<KeyRow, (string | number | null)[]>(
      `INSERT INTO api_keys (changed, name, key_sha256, identity, policy, org, created_at, expires_at)
       VALUES (${NEXT_CHANGE}, ?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING ${KEY_COLUMNS}`,
    )
    .get(name, digestOf(key), identity, policy ?? null, org ?? null, nowSeconds, expiresAt ?? null)
  if (!row) throw new Error('a key was not stored')
  return { key, row }
}

function change(db: Database, seq: number, members: string, value: number): void {
  db.query(`UPDATE api_keys SET changed = ${NEXT_CHANGE}, ${members} WHERE seq = ?1`).run(
    seq,
    value,
  )
}

function rowOf(db: Database, seq: number): KeyRow {
  const row = db
    .query<KeyRow, [number]>(`SELECT ${KEY_COLUMNS} FROM api_keys WHERE seq = ?1`)
    .get(seq)
  if (!row) throw new Error('a key is gone')
  return row
}

const entry = (action: string, name: string, at: number) => ({
  at,
  action,
  subject: `key:${name}`,
})

function note(db: Database, action: string, name: string, at: number): void {
  audit(db, { ...entry(action, name, at), actor: 'cli' })
}
