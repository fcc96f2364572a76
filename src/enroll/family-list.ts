// Reads families for operators and devices: lists, and one by its name.

import type { Database } from 'bun:sqlite'
import { type Entitlements, readEntitlements } from './entitlements.ts'
import type { DevicePolicy, FamilyFilter, FamilyListed } from './records.ts'

export interface FamilyRow {
  readonly seq: number
  readonly family: string
  readonly device_hash: string
  readonly owner: string
  readonly entitlements: string
  readonly app_version: string | null
  readonly created_at: number
  readonly head_jti: string
  readonly head_iat: number
  readonly head_exp: number
  readonly revoked_at: number | null
}

const LISTED = `SELECT device_families.*, device_names.label, device_names.name,
  device_seen.at AS seen_at FROM device_families
  LEFT JOIN device_names ON device_names.seq = device_families.seq
  LEFT JOIN device_seen ON device_seen.seq = device_families.seq`

interface ListedRow extends FamilyRow {
  readonly label: string | null
  readonly name: string | null
  readonly seen_at: number | null
}

/** The newest first. */
export function listFamilies(db: Database, filter: FamilyFilter): FamilyListed[] {
  const { limit, before, user, org, endedAfter } = filter
  return db
    .query<ListedRow, [number, number, string | null, string | null, number | null]>(
      `${LISTED} WHERE device_families.seq < ?1
         AND (?3 IS NULL OR user_id = ?3) AND (?4 IS NULL OR org_id = ?4)
         AND (?5 IS NULL OR (revoked_at IS NULL AND head_exp > ?5))
       ORDER BY device_families.seq DESC LIMIT ?2`,
    )
    .all(before ?? Number.MAX_SAFE_INTEGER, limit, user ?? null, org ?? null, endedAfter ?? null)
    .map(listed)
}

/** The user of each device, by the device's hash, from its newest enrolment. */
export function usersOfDevices(db: Database): ReadonlyMap<string, string> {
  const rows = db
    .query<{ device_hash: string; user_id: string }, []>(
      `SELECT device_hash, user_id FROM device_families JOIN device_names USING (seq)
       WHERE user_id IS NOT NULL ORDER BY seq`,
    )
    .all()
  return new Map(rows.map(({ device_hash: device, user_id: user }) => [device, user]))
}

export function findFamily(
  db: Database,
  family: string,
): (FamilyListed & { readonly headJti: string }) | undefined {
  const row = db.query<ListedRow, [string]>(`${LISTED} WHERE family = ?1`).get(family)
  return row ? { ...listed(row), headJti: row.head_jti } : undefined
}

/** Families that are not revoked and whose device calls itself this. */
export function familiesCalled(db: Database, name: string, limit: number): FamilyListed[] {
  return db
    .query<ListedRow, [string, number]>(
      `${LISTED} WHERE device_names.name = ?1 AND revoked_at IS NULL
       ORDER BY device_families.seq DESC LIMIT ?2`,
    )
    .all(name, limit)
    .map(listed)
}

function listed(row: ListedRow): FamilyListed {
  return {
    seq: row.seq,
    family: row.family,
    deviceHash: row.device_hash,
    owner: row.owner,
    label: row.label ?? undefined,
    name: row.name ?? undefined,
    entitlements: stored(row.entitlements),
    appVersion: row.app_version ?? undefined,
    createdAt: row.created_at,
    expiresAt: row.head_exp,
    seenAt: row.seen_at ?? undefined,
    revokedAt: row.revoked_at ?? undefined,
  }
}

/** Throws if the row is not what we wrote: no entitlements would mean no limits. */
export function stored(text: string): Entitlements {
  const read = readEntitlements(JSON.parse(text))
  if (!read.ok) throw new Error('a stored family has entitlements that cannot be applied')
  return read.value
}

/**
 * The policies named by devices that can come back, their users' among them, and how many devices name
 * each.
 */
export function policiesOfDevices(db: Database, nowSeconds: number): DevicePolicy[] {
  return db
    .query<DevicePolicy, [number]>(
      `SELECT named.value AS policy, count(*) AS count
       FROM device_families, json_each(entitlements) AS named
       WHERE revoked_at IS NULL AND dead_at > ?1 AND named.key IN ('policy', 'user_policy')
       GROUP BY named.value`,
    )
    .all(nowSeconds)
}
