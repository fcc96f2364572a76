// Revocation on disk: by family, by token, by device, or by enrolment code. Each process with
// revocations.ts on the same file learns of it within its next poll; running requests go on to their
// end. Thousands of families are revoked in many short transactions (finish.ts), because each holds up
// the event loop of a gate and all other writers.

import type { Database } from 'bun:sqlite'
import { audit } from './audit.ts'
import { withdrawCode } from './codes.ts'
import { isFamily, isJti, MAX_LIFETIME_SECONDS } from './device-token.ts'
import { familiesNamed, isAnyNamed, type FamilySelector, newestFamily } from './named-families.ts'
import type { AuditedAct, Withdrawn } from './records.ts'
import { noteUnfinished } from './unfinished.ts'

/** HMAC of a value under the identity key, separate for each kind; 64 hexadecimal digits. */
export type IdentifyAs = (kind: 'device' | 'device_id', value: string) => string

export interface RevocationBegun extends Withdrawn {
  /** Ids in unfinished_revocations, for `finishRevoking`. */
  readonly left: readonly number[]
}

/** For the first transaction, which is the only one in most cases. */
const FIRST_FAMILIES = 50

export interface RevokingAct {
  readonly identify: IdentifyAs
  /** Under the former keys: one of them finds a device that has not been renewed since. */
  readonly former?: readonly IdentifyAs[]
  readonly actor: string
  readonly at: number
}

/**
 * One short transaction: revokes the first families of that name, and records which are left.
 * `name`: a family, a `jti`, `code:N`, `user:ID`, `org:ID`; otherwise a device, by its hash as
 * shown in logs, by its code's label, or by its own id.
 */
export function beginRevoking(
  db: Database,
  name: string,
  { identify, former = [], actor, at }: RevokingAct,
): RevocationBegun {
  const act = { at, actor, action: 'revoke' }
  // The type guards below leave nothing of `name`'s type.
  const text: string = name
  const revoking = db.transaction((): RevocationBegun => {
    if (isJti(name)) return { ...withdrawToken(db, name, act), left: [] }
    if (isFamily(name)) {
      const known = isAnyNamed(db, { by: 'family', value: name })
      const alive = withdrawFamily(db, name, act)
      return { kind: 'family', known, families: alive ? [name] : [], left: [] }
    }
    if (/^code:\d+$/.test(name)) {
      // Nobody can enrol with the code any more: these families are all there will be.
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
      ...[identify, ...former].map(
        (by) => ({ by: 'device_key', value: by('device_id', name) }) as const,
      ),
      // Only the operator's label: the name that a device gives itself could be another's.
      { by: 'label', value: name },
    ]
    return { kind: 'device', ...withdrawAll(db, called, act) }
  })
  return revoking.immediate()
}

/** True if it was alive until now. Call it in a transaction. */
export function withdrawFamily(db: Database, family: string, act: AuditedAct): boolean {
  const row = db
    .query<{ dead_at: number }, [string, number]>(
      `UPDATE device_families SET revoked_at = ?2
       WHERE family = ?1 AND revoked_at IS NULL RETURNING dead_at`,
    )
    .get(family, act.at)
  if (row || !isAnyNamed(db, { by: 'family', value: family })) {
    // Without a row (pruned, or a restored backup) its tokens may still exist.
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

/** `after`: where the next part begins; undefined if there is none. Call it in a transaction. */
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

/** Revokes this token alone: tokens refreshed from it belong to the family. */
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
