// Finds devices by any name that an operator knows, each with its newest enrolment.

import type { Database } from 'bun:sqlite'
import { readEntitlements } from './entitlements.ts'
import type { NamedDevice } from './records.ts'
import type { Identities } from '../token/identity.ts'

interface DeviceNameRow {
  readonly device_hash: string
  readonly label: string | null
  readonly name: string | null
  readonly org_id: string | null
  readonly entitlements: string
}

/** Several devices may share a label or a name. */
const MAX_NAMED = 20

const SELECT = `SELECT device_hash, label, name, org_id, entitlements
  FROM device_families LEFT JOIN device_names USING (seq)`

/** By hash, family, the device's own id, its label or its name. */
export function devicesNamed(
  db: Database,
  name: string,
  { identify, former }: Identities,
): NamedDevice[] {
  const keys = [identify, ...former].map((by) => by('device_id', name))
  const rows = db
    .query<DeviceNameRow, [string, string, number]>(
      `${SELECT} WHERE seq IN (SELECT max(seq) FROM device_families LEFT JOIN device_names USING (seq)
         WHERE device_hash = ?1 OR family = ?1 OR device_key IN (SELECT value FROM json_each(?2)) OR label = ?1 OR name = ?1
         GROUP BY device_hash)
       ORDER BY seq DESC LIMIT ?3`,
    )
    .all(name, JSON.stringify(keys), MAX_NAMED)
  return rows.map(named)
}

/** The newest enrolment of each; a hash whose enrolments were pruned is missing. */
export function devicesOfHashes(
  db: Database,
  hashes: readonly string[],
): ReadonlyMap<string, NamedDevice> {
  const rows = db
    .query<DeviceNameRow, [string]>(
      `${SELECT} WHERE seq IN (SELECT max(seq) FROM device_families
         WHERE device_hash IN (SELECT value FROM json_each(?1)) GROUP BY device_hash)`,
    )
    .all(JSON.stringify(hashes))
  return new Map(rows.map((row) => [row.device_hash, named(row)]))
}

export function isOrgNamed(db: Database, name: string): boolean {
  return db.query('SELECT 1 FROM device_names WHERE org_id = ?1 LIMIT 1').get(name) !== null
}

/**
 * The policies named by an organisation's devices that can come back; null for devices that name
 * none.
 */
export function policiesOfOrgDevices(
  db: Database,
  org: string,
  nowSeconds: number,
): (string | null)[] {
  return db
    .query<{ policy: string | null }, [string, number]>(
      `SELECT DISTINCT json_extract(entitlements, '$.policy') AS policy
       FROM device_names CROSS JOIN device_families USING (seq)
       WHERE org_id = ?1 AND revoked_at IS NULL AND dead_at > ?2`,
    )
    .all(org, nowSeconds)
    .map(({ policy }) => policy)
}

function named(row: DeviceNameRow): NamedDevice {
  const read = readEntitlements(JSON.parse(row.entitlements))
  return {
    deviceHash: row.device_hash,
    label: row.label ?? row.name ?? undefined,
    orgId: row.org_id ?? undefined,
    entitlements: read.ok ? read.value : undefined,
  }
}
