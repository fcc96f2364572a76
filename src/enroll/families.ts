// One family for each enrolment: whom it belongs to, what it may do, and which of its tokens is the
// newest. Tokens themselves are not stored. What a refreshed token may do comes from here and not from
// the token that was presented, so that the operator's settings count.

import type { Database } from 'bun:sqlite'
import { randomBytes } from 'node:crypto'
import type { DeviceClaims } from './device-token.ts'
import { type Entitlements, entitlementMembers } from './entitlements.ts'
import { type FamilyRow, stored } from './family-list.ts'

export interface NewFamily {
  readonly deviceId: string
  readonly deviceHash: string
  /** The HMAC of the device's id alone, for an operator who knows only that. */
  readonly deviceKey: string
  /** `code:7`, `user:` followed by the user's identity, or `open`. */
  readonly owner: string
  /** The code's label; '' if it has none. */
  readonly label?: string | undefined
  /** What the device calls itself. */
  readonly name?: string | undefined
  readonly entitlements: Entitlements
  readonly appVersion: string | undefined
}

export interface TokenTimes {
  /** Seconds since the epoch. */
  readonly now: number
  readonly lifetimeSeconds: number
  /** How long a token can be refreshed again after it was refreshed. */
  readonly graceSeconds: number
}

export type RotatedFamily =
  | { readonly kind: 'rotated' | 'repeated'; readonly claims: DeviceClaims }
  | { readonly kind: 'too_fast'; readonly retryAfterSeconds: number }
  | { readonly kind: 'reused' | 'revoked' | 'unknown' | 'too_many' }

/** The prefix names the kind; hexadecimal, so that no id looks like a flag. */
const newId = (prefix: 'fam' | 'tok'): string => `${prefix}_${randomBytes(16).toString('hex')}`

/**
 * Returns the first token's claims. Call it in a transaction with whatever allowed the enrolment.
 */
export function createFamily(db: Database, of: NewFamily, times: TokenTimes): DeviceClaims {
  const family = newId('fam')
  const head = nextHead(times)
  const { lastInsertRowid } = db
    .query(
      `INSERT INTO device_families (family, device_hash, device_key, owner, entitlements,
       app_version, created_at, head_jti, head_iat, head_exp, dead_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)`,
    )
    .run(
      family,
      of.deviceHash,
      of.deviceKey,
      of.owner,
      JSON.stringify(entitlementMembers(of.entitlements)),
      of.appVersion ?? null,
      times.now,
      head.jti,
      head.issuedAt,
      head.expiresAt,
    )
  const { deviceId, deviceHash, entitlements } = of
  const { userId = null, orgId = null } = entitlements
  db.query(
    'INSERT INTO device_names (seq, label, name, user_id, org_id) VALUES (?1, ?2, ?3, ?4, ?5)',
  ).run(lastInsertRowid, of.label || null, of.name ?? null, userId, orgId)
  return { deviceId, deviceHash, family, ...head, ...entitlements }
}

/** How long the answer to an enrolment can be requested again. */
const REPEAT_SECONDS = 600

/**
 * The token of an enrolment whose answer was lost: issued to the same device moments ago, and not
 * used since. Once the token is used, somebody has it, and anybody who presents a code they have
 * seen gets nothing.
 */
export function unusedEnrolment(
  db: Database,
  { deviceHash, deviceId }: Pick<DeviceClaims, 'deviceHash' | 'deviceId'>,
  nowSeconds: number,
  isUsed: (family: string) => boolean,
): DeviceClaims | undefined {
  const row = db
    .query<FamilyRow, [string, number, number]>(
      `SELECT * FROM device_families
       WHERE device_hash = ?1 AND created_at > ?2 AND created_at <= ?3 AND revoked_at IS NULL
         AND NOT EXISTS (SELECT 1 FROM device_seen WHERE device_seen.seq = device_families.seq)
         AND head_iat = CAST(created_at AS INTEGER)
       ORDER BY seq DESC LIMIT 1`,
    )
    .get(deviceHash, nowSeconds - REPEAT_SECONDS, nowSeconds)
  if (!row || isUsed(row.family)) return undefined
  const revoked = db.query('SELECT 1 FROM withdrawals WHERE name = ?1 LIMIT 1').get(row.head_jti)
  if (revoked !== null) return undefined
  const head = { jti: row.head_jti, issuedAt: row.head_iat, expiresAt: row.head_exp }
  return { deviceId, deviceHash, family: row.family, ...head, ...stored(row.entitlements) }
}

/**
 * Refreshes `presented`: gives a new token, or within the grace period the one that already
 * replaced it, so that two concurrent refreshes, or one repeated after a lost answer, get the same
 * token (attack 36). Call it in an immediate transaction. `mayRotate` returns the seconds to wait
 * if the family has been refreshed too often.
 */
export function rotate(
  db: Database,
  presented: DeviceClaims,
  times: TokenTimes,
  mayRotate: () => number | undefined,
  maxDevicesPerUser = Number.POSITIVE_INFINITY,
): RotatedFamily {
  const row = db
    .query<FamilyRow, [string]>('SELECT * FROM device_families WHERE family = ?1')
    .get(presented.family)
  // A token of ours without a row: older than the last prune, or than a restored backup.
  if (!row) return { kind: 'unknown' }
  if (row.revoked_at !== null) return { kind: 'revoked' }
  const marks = db
    .query<{ kind: string; at: number }, [string]>(
      'SELECT kind, at FROM withdrawals WHERE name = ?1',
    )
    .all(presented.jti)
  if (marks.some(({ kind }) => kind === 'token')) return { kind: 'revoked' }
  const own = {
    deviceId: presented.deviceId,
    deviceHash: row.device_hash,
    family: row.family,
    ...stored(row.entitlements),
  }
  if (presented.jti !== row.head_jti) {
    const retired = marks.find(({ kind }) => kind === 'retired')
    if (!retired) return { kind: 'unknown' }
    if (times.now - retired.at > times.graceSeconds) return { kind: 'reused' }
    const head = { jti: row.head_jti, issuedAt: row.head_iat, expiresAt: row.head_exp }
    return { kind: 'repeated', claims: { ...own, ...head } }
  }
  // A device that was away too long does not count among its user's devices until it returns.
  const isBack = row.head_exp <= times.now && row.owner.startsWith('user:')
  if (isBack && countOtherDevices(db, row.owner, row.device_hash, times.now) >= maxDevicesPerUser) {
    return { kind: 'too_many' }
  }
  const retryAfterSeconds = mayRotate()
  if (retryAfterSeconds !== undefined) return { kind: 'too_fast', retryAfterSeconds }
  const head = nextHead(times)
  db.query(
    `INSERT INTO withdrawals (kind, name, family, at, until) VALUES ('retired', ?1, ?2, ?3, ?4)`,
  ).run(presented.jti, row.family, times.now, presented.expiresAt)
  db.query(
    `UPDATE device_families
     SET head_jti = ?2, head_iat = ?3, head_exp = ?4, dead_at = max(dead_at, ?4)
     WHERE family = ?1`,
  ).run(row.family, head.jti, head.issuedAt, head.expiresAt)
  markSeen(db, [[row.family, Math.floor(times.now / 60) * 60]])
  return { kind: 'rotated', claims: { ...own, ...head } }
}

/** How many other devices of this owner have a token that may still be used. */
export function countOtherDevices(
  db: Database,
  owner: string,
  deviceHash: string,
  nowSeconds: number,
): number {
  const row = db
    .query<{ devices: number }, [string, string, number]>(
      `SELECT count(DISTINCT device_hash) AS devices FROM device_families
       WHERE owner = ?1 AND device_hash <> ?2 AND revoked_at IS NULL AND head_exp > ?3`,
    )
    .get(owner, deviceHash, nowSeconds)
  return row?.devices ?? 0
}

/** Records when families were seen, to the minute, in one transaction. */
export function markSeen(db: Database, seen: readonly (readonly [string, number])[]): void {
  const mark = db.query<undefined, [string, number]>(
    `INSERT OR REPLACE INTO device_seen (seq, at)
     SELECT seq, ?2 FROM device_families WHERE family = ?1`,
  )
  for (const [family, at] of seen) mark.run(family, at)
}

function nextHead({ now, lifetimeSeconds }: TokenTimes) {
  const issuedAt = Math.floor(now)
  return { jti: newId('tok'), issuedAt, expiresAt: issuedAt + lifetimeSeconds }
}
