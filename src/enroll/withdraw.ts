// Revoking, on disk: by family, by token, by device, or by the enrolment code they came from. Each
// process with a revocations.ts on the same file knows it within its next poll; requests that are
// under way go on to their end. Thousands of families end in many short transactions (finish.ts),
// since each holds up the event loop of a gate and the writes of all others.

import type { Database } from 'bun:sqlite'
import { type AuditedAct, audit } from './audit.ts'
import { withdrawCode } from './codes.ts'
import { isFamily, isJti, MAX_LIFETIME_SECONDS } from './device-token.ts'
import { familiesNamed, isAnyNamed, type FamilySelector, newestFamily } from './named-families.ts'
import { noteUnfinished } from './unfinished.ts'

/** HMAC of a value under the identity key, separate for each kind; 64 hex digits. */
export type IdentifyAs = (kind: 'device' | 'device_id', value: string) => string

export interface Withdrawn {
  readonly kind: 'family' | 'token' | 'device' | 'code' | 'user' | 'org'
  /** False where nothing goes by this name; a family or token is then refused all the same. */
  readonly known: boolean
  /** Those that were alive until now. */
  readonly families: readonly string[]
  /** Some are still alive: the disk knows which, and a running gate ends them by itself. */
  readonly unfinished?: true
}

export interface RevocationBegun extends Withdrawn {
  /** Rows of unfinished_revocations, for `finish`. */
  readonly left: readonly number[]
}

/** For the first transaction, which is all there is for most. */
const FIRST_FAMILIES = 50

/**
 * One short transaction: ends the first families of that name, and writes down which are left.
 * `name`: a family, a `jti`, `code:N`, `user:ID`, `org:ID`; else a device by its hash as logs show it,
 * by the label of its code, or by its own id.
 */
export function beginRevoking(
  db: Database,
  name: string,
  { identify, actor, at }: { identify: IdentifyAs; actor: string; at: number },
): RevocationBegun {
  const act = { at, actor, action: 'revoke' }
  const text: string = name
  const revoking = db.transaction((): RevocationBegun => {
    if (isJti(name)) return { ...withdrawToken(db, name, act), left: [] }
    if (isFamily(name)) {
      const known = isAnyNamed(db, { by: 'family', value: name })
      const alive = withdrawFamily(db, name, act)
      return { kind: 'family', known, families: alive ? [name] : [], left: [] }
    }
    if (/^code:\d+$/.test(name)) {
      // Nobody enrols with it any more: who has done so by now is all there will be.
      const known = withdrawCode(db, name)
      if (known) audit(db, { ...act, subject: name })
      return { kind: 'code', ...withdrawAll(db, [{ by: 'owner', value: name }], act), known }
    }
    for (const kind of ['user', 'org'] as const) {
      if (!text.startsWith(`${kind}:`)) continue
      const theirs: FamilySelector = { by: `${kind}_id`, value: text.slice(kind.length + 1) }
      return { kind, ...withdrawAll(db, [theirs], act) }
    }
    const called: readonly FamilySelector[] = [
      { by: 'device_hash', value: name },
      { by: 'device_key', value: identify('device_id', name) },
      // What the operator wrote: the name that a device gives itself could be another's.
      { by: 'label', value: name },
    ]
    return { kind: 'device', ...withdrawAll(db, called, act) }
  })
  return revoking.immediate()
}

/** True where it was alive until now. To be called in a transaction. */
export function withdrawFamily(db: Database, family: string, act: AuditedAct): boolean {
  const row = db
    .query<{ dead_at: number }, [string, number]>(
      `UPDATE device_families SET revoked_at = ?2
       WHERE family = ?1 AND revoked_at IS NULL RETURNING dead_at`,
    )
    .get(family, act.at)
  if (row || !isAnyNamed(db, { by: 'family', value: family })) {
    // Without a row (pruned, or a backup put back) its tokens may still be about.
    const until = row?.dead_at ?? act.at + MAX_LIFETIME_SECONDS
    insert(db, 'family', family, family, act.at, until)
    audit(db, { ...act, subject: family })
  }
  return row !== null
}

function withdrawAll(
  db: Database,
  groups: readonly FamilySelector[],
  act: AuditedAct,
): Omit<RevocationBegun, 'kind'> {
  const upTo = newestFamily(db)
  const families: string[] = []
  const left: number[] = []
  let room = FIRST_FAMILIES
  for (const group of groups) {
    const part = withdrawPart(db, { group, after: 0, upTo, limit: room }, act)
    families.push(...part.families)
    room -= part.looked
    if (part.after !== undefined) left.push(noteUnfinished(db, group, part.after, upTo, act))
  }
  const known = groups.some((group) => isAnyNamed(db, group))
  return { known, families, left }
}

interface RevocationPart {
  readonly group: FamilySelector
  readonly after: number
  readonly upTo: number
  readonly limit: number
}

/** `after`: where the next part begins; undefined where there is none. To be called in a transaction. */
export function withdrawPart(
  db: Database,
  { group, after, upTo, limit }: RevocationPart,
  act: AuditedAct,
): { readonly families: string[]; readonly looked: number; readonly after: number | undefined } {
  const rows = familiesNamed(db, group, { after, upTo, limit: limit + 1 })
  const isMore = rows.length > limit
  const part = rows.slice(0, limit)
  const families = part
    .filter(({ family, revoked_at: revokedAt }) => {
      return revokedAt === null && withdrawFamily(db, family, act)
    })
    .map(({ family }) => family)
  return { families, looked: part.length, after: isMore ? (part.at(-1)?.seq ?? after) : undefined }
}

/** That one alone: tokens that came of it by refresh are the family's. */
function withdrawToken(db: Database, jti: string, act: AuditedAct): Withdrawn {
  const known =
    isAnyNamed(db, { by: 'head_jti', value: jti }) ||
    db.query('SELECT 1 FROM withdrawals WHERE name = ?1').get(jti) !== null
  insert(db, 'token', jti, null, act.at, act.at + MAX_LIFETIME_SECONDS)
  audit(db, { ...act, subject: jti })
  return { kind: 'token', known, families: [] }
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
