// Revoking, on disk: by family, by token, by device, or by the enrolment code they came from. Each
// process with a revocations.ts on the same file knows it within its next poll; requests that are
// under way go on to their end.

import type { Database } from 'bun:sqlite'
import { audit } from './audit.ts'
import { withdrawCode } from './codes.ts'
import { isFamily, isJti, MAX_LIFETIME_SECONDS } from './device-token.ts'

/** HMAC of a value under the identity key, in a space of its own for each kind; 64 hex digits. */
export type IdentifyAs = (kind: 'device' | 'device_id', value: string) => string

export interface Act {
  /** Seconds since the epoch. */
  readonly at: number
  readonly actor: string
  readonly action: string
}

export interface Withdrawn {
  readonly kind: 'family' | 'token' | 'device' | 'code' | 'user' | 'org'
  /** False where nothing goes by this name; a family or token is then refused all the same. */
  readonly known: boolean
  /** Those that were alive until now. */
  readonly families: readonly string[]
}

/**
 * `name`: a family, a `jti`, `code:N`, `user:ID`, `org:ID`; else a device by its hash as logs show it,
 * by the label of its code, or by its own id.
 */
export function revoke(
  db: Database,
  name: string,
  { identify, actor, at }: { identify: IdentifyAs; actor: string; at: number },
): Withdrawn {
  const act = { at, actor, action: 'revoke' }
  const text: string = name
  const revoking = db.transaction((): Withdrawn => {
    if (isJti(name)) return withdrawToken(db, name, act)
    if (isFamily(name)) {
      const known = familiesWhere(db, 'family = ?1', name).length > 0
      const alive = withdrawFamily(db, name, act)
      return { kind: 'family', known, families: alive ? [name] : [] }
    }
    if (/^code:\d+$/.test(name)) {
      const known = withdrawCode(db, name)
      if (known) audit(db, { ...act, subject: name })
      const families = withdrawAll(db, familiesWhere(db, 'owner = ?1', name), act)
      return { kind: 'code', known, families }
    }
    for (const kind of ['user', 'org'] as const) {
      if (!text.startsWith(`${kind}:`)) continue
      const theirs = familiesNamed(db, `${kind}_id`, text.slice(kind.length + 1))
      return { kind, known: theirs.length > 0, families: withdrawAll(db, theirs, act) }
    }
    const named = new Set([
      ...familiesWhere(db, 'device_hash = ?1', name),
      ...familiesWhere(db, 'device_key = ?1', identify('device_id', name)),
      // What the operator wrote: the name that a device gives itself could be another's.
      ...familiesNamed(db, 'label', name),
    ])
    return { kind: 'device', known: named.size > 0, families: withdrawAll(db, [...named], act) }
  })
  return revoking.immediate()
}

/** True where it was alive until now. To be called in a transaction. */
export function withdrawFamily(db: Database, family: string, act: Act): boolean {
  const row = db
    .query<{ dead_at: number }, [string, number]>(
      `UPDATE device_families SET revoked_at = ?2
       WHERE family = ?1 AND revoked_at IS NULL RETURNING dead_at`,
    )
    .get(family, act.at)
  if (row || familiesWhere(db, 'family = ?1', family).length === 0) {
    // Without a row (pruned, or a backup put back) its tokens may still be about.
    const until = row?.dead_at ?? act.at + MAX_LIFETIME_SECONDS
    insert(db, 'family', family, family, act.at, until)
    audit(db, { ...act, subject: family })
  }
  return row !== null
}

function withdrawAll(db: Database, families: readonly string[], act: Act): string[] {
  return families.filter((family) => withdrawFamily(db, family, act))
}

/** That one alone: tokens that came of it by refresh are the family's. */
function withdrawToken(db: Database, jti: string, act: Act): Withdrawn {
  const known =
    familiesWhere(db, 'head_jti = ?1', jti).length > 0 ||
    db.query('SELECT 1 FROM withdrawals WHERE name = ?1').get(jti) !== null
  insert(db, 'token', jti, null, act.at, act.at + MAX_LIFETIME_SECONDS)
  audit(db, { ...act, subject: jti })
  return { kind: 'token', known, families: [] }
}

type Where = 'family = ?1' | 'owner = ?1' | 'device_hash = ?1' | 'device_key = ?1' | 'head_jti = ?1'

function familiesWhere(db: Database, where: Where, value: string): string[] {
  return db
    .query<{ family: string }, [string]>(`SELECT family FROM device_families WHERE ${where}`)
    .all(value)
    .map(({ family }) => family)
}

function familiesNamed(db: Database, by: 'label' | 'user_id' | 'org_id', value: string): string[] {
  return db
    .query<{ family: string }, [string]>(
      `SELECT family FROM device_names JOIN device_families USING (seq) WHERE ${by} = ?1`,
    )
    .all(value)
    .map(({ family }) => family)
}

function insert(
  db: Database,
  kind: 'token' | 'family',
  name: string,
  family: string | null,
  at: number,
  until: number,
): void {
  db.query(
    'INSERT INTO withdrawals (kind, name, family, at, until) VALUES (?1, ?2, ?3, ?4, ?5)',
  ).run(kind, name, family, at, until)
}
