// Keeps a device and its user the same after a change of IDENTITY_HASH_KEY: a device that enrols again
// keeps its hash, and what it has spent; a user's devices move to the user's new hash; and a device's
// own id finds it under the current key. Revocations name families and tokens, which do not depend on
// the key.

import type { Database } from 'bun:sqlite'
import type { Instant } from '../turn/instant.ts'
import type { IdentifyAs } from './withdraw.ts'

export interface FormerKeys {
  /** Under the former keys, the newest first. */
  readonly identify: () => readonly IdentifyAs[]
  /** Whether some cap counts this device's spending. */
  readonly hasSpent: (deviceHash: string, now: Instant) => boolean
}

export const NO_FORMER_KEYS: FormerKeys = { identify: () => [], hasSpent: () => false }

export interface EnrollingDevice {
  readonly owner: string
  /** Under the former keys, if the owner itself is a hash. */
  readonly formerOwners?: readonly string[]
  readonly deviceId: string
}

/** The hash of its newest enrolment by the same owner, under whichever key; otherwise a new one. */
export function deviceHashOf(
  db: Database,
  { owner, formerOwners = [], deviceId }: EnrollingDevice,
  identify: IdentifyAs,
  former: FormerKeys,
  now: Instant,
): string {
  const others = former.identify()
  const deviceKeys = [identify, ...others].map((by) => by('device_id', deviceId))
  const known = db
    .query<{ device_hash: string }, [string, string]>(
      `SELECT device_hash FROM device_families
       WHERE device_key IN (SELECT value FROM json_each(?1))
         AND owner IN (SELECT value FROM json_each(?2))
       ORDER BY seq DESC LIMIT 1`,
    )
    .get(JSON.stringify(deviceKeys), JSON.stringify([owner, ...formerOwners]))
  if (known) return known.device_hash
  const made = identify('device', named(owner, deviceId))
  const before = others.map((by, at) => by('device', named(formerOwners[at] ?? owner, deviceId)))
  // Its enrolments may have been pruned within the month.
  return before.find((hash) => former.hasSpent(hash, now)) ?? made
}

/** Bound to its owner: a device chooses its own id. */
const named = (owner: string, deviceId: string): string => `${owner}\0${deviceId}`

/**
 * Moves everything under a user's former hashes to the new one, including an unfinished revocation.
 * Call it in a transaction.
 */
export function moveUser(db: Database, identity: string, former: readonly string[]): void {
  if (former.length === 0) return
  const users = JSON.stringify(former)
  const owners = JSON.stringify(former.map(ownerOf))
  const olds = '(SELECT value FROM json_each(?2))'
  db.query(
    `UPDATE device_families SET entitlements = json_set(entitlements, '$.user_id', ?1)
     WHERE seq IN (SELECT seq FROM device_names WHERE user_id IN ${olds})`,
  ).run(identity, users)
  db.query(`UPDATE device_names SET user_id = ?1 WHERE user_id IN ${olds}`).run(identity, users)
  db.query(`UPDATE device_families SET owner = ?1 WHERE owner IN ${olds}`).run(
    ownerOf(identity),
    owners,
  )
  const unfinished = `UPDATE unfinished_revocations SET value = ?1 WHERE value IN ${olds}`
  db.query(`${unfinished} AND named_by = 'user_id'`).run(identity, users)
  db.query(`${unfinished} AND named_by = 'owner'`).run(ownerOf(identity), owners)
}

/** Whether anything of these users is there to be moved. */
export function hasDevices(db: Database, users: readonly string[]): boolean {
  const found = db
    .query<{ 1: number }, [string, string]>(
      `SELECT 1 WHERE
         EXISTS (SELECT 1 FROM device_names WHERE user_id IN (SELECT value FROM json_each(?1)))
         OR EXISTS (SELECT 1 FROM device_families WHERE owner IN (SELECT value FROM json_each(?2)))`,
    )
    .get(JSON.stringify(users), JSON.stringify(users.map(ownerOf)))
  return found !== null
}

export const ownerOf = (identity: string): string => `user:${identity}`

/** Lets its own id find it when the former key is gone. Call it in a transaction. */
export function renewDeviceKey(db: Database, family: string, deviceKey: string): void {
  db.query('UPDATE device_families SET device_key = ?2 WHERE family = ?1 AND device_key <> ?2').run(
    family,
    deviceKey,
  )
}
