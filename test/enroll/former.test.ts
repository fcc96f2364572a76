// A user's devices go over to the newer hash whole: with their owner, their claims, and a revocation that
// another process has begun and not finished.

import { Database } from 'bun:sqlite'
import { expect, test } from 'bun:test'
import { deviceHashOf, moveUser, NO_FORMER_KEYS } from '../../src/enroll/former.ts'
import { createFamily } from '../../src/enroll/families.ts'
import { readEntitlements } from '../../src/enroll/entitlements.ts'
import {
  ENROLL_NAMES_SCHEMA,
  ENROLL_SCHEMA,
  ENROLL_UNFINISHED_SCHEMA,
} from '../../src/enroll/schema.ts'
import { identities } from '../../src/token/identity.ts'
import { Secret } from '../../src/secret.ts'
import { instant } from '../../src/turn/instant.ts'
import { HASH_KEY } from '../support/settings.ts'
import { NO_ENTITLEMENTS } from '../../src/enroll/entitlements.ts'
import { at, scene, SECRET } from './scene.ts'

const [OLD, NEW] = ['a'.repeat(64), 'b'.repeat(64)]
const TIMES = { now: 1_700_000_000, lifetimeSeconds: 3600, graceSeconds: 10 }
const KEYS = [HASH_KEY, `c3${HASH_KEY.slice(2)}`].map((key) => new Secret(key))

function opened(): Database {
  const db = new Database(':memory:', { strict: true })
  db.run(ENROLL_SCHEMA)
  db.run(ENROLL_NAMES_SCHEMA)
  db.run(ENROLL_UNFINISHED_SCHEMA)
  return db
}

function enrolled(db: Database, user: string, deviceId: string, deviceKey = deviceId): void {
  const entitlements = readEntitlements({ user_id: user, spend_cap: 5 })
  if (!entitlements.ok) throw new Error(entitlements.reason)
  createFamily(
    db,
    {
      deviceId,
      deviceHash: `hash of ${deviceId}`,
      deviceKey,
      owner: `user:${user}`,
      entitlements: entitlements.value,
      appVersion: undefined,
    },
    TIMES,
  )
}

test('all of one user moves, and nothing of another', () => {
  using db = opened()
  enrolled(db, OLD, 'one')
  enrolled(db, 'f'.repeat(64), 'two')
  const unfinished = db.query(
    `INSERT INTO unfinished_revocations (named_by, value, after, up_to, at, actor, worked_at)
     VALUES (?1, ?2, 0, 9, 0, 'cli', 0)`,
  )
  unfinished.run('user_id', OLD)
  unfinished.run('owner', `user:${OLD}`)
  unfinished.run('label', OLD)
  moveUser(db, NEW, [OLD])
  const rows = db
    .query('SELECT owner, user_id, entitlements FROM device_families JOIN device_names USING (seq)')
    .all()
  expect(rows).toEqual([
    {
      owner: `user:${NEW}`,
      user_id: NEW,
      entitlements: JSON.stringify({ user_id: NEW, spend_cap: 5 }),
    },
    expect.objectContaining({ owner: `user:${'f'.repeat(64)}`, user_id: 'f'.repeat(64) }),
  ])
  expect(db.query('SELECT value FROM unfinished_revocations').values().flat()).toEqual([
    NEW,
    `user:${NEW}`,
    OLD,
  ])
})

test('a device keeps the hash of its enrolment, or of its spending, under any key', () => {
  using db = opened()
  const [before, now] = [identities(KEYS.slice(1)), identities(KEYS)]
  const at = instant()
  const former = { identify: () => now.former, hasSpent: () => false }
  const device = { owner: 'code:7', deviceId: 'laptop' }
  const old = deviceHashOf(db, device, before.identify, NO_FORMER_KEYS, at)
  expect(deviceHashOf(db, device, now.identify, former, at)).not.toBe(old)
  // Pruned, but its month is not over.
  const spent = { ...former, hasSpent: (hash: string) => hash === old }
  expect(deviceHashOf(db, device, now.identify, spent, at)).toBe(old)
  const user = { owner: `user:${NEW}`, formerOwners: [`user:${OLD}`], deviceId: 'one' }
  enrolled(db, OLD, 'one', before.identify('device_id', 'one'))
  expect(deviceHashOf(db, user, now.identify, former, at)).toBe('hash of one')
  // Nor does the same id make it another owner's.
  expect(deviceHashOf(db, { owner: 'open', deviceId: 'one' }, now.identify, former, at)).toBe(
    now.identify('device', 'open\0one'),
  )
})

test('a token that is being opened while its secret is dropped opens nothing', async () => {
  using world = scene()
  const token = await world.enrolled('laptop')
  const other = new Secret('second-secret-of-the-tests-9876543210fedc')
  const terms = {
    secrets: [other],
    policy: 'off',
    lifetimeSeconds: 3600,
    defaults: NO_ENTITLEMENTS,
  } as const
  // A gate that has not seen it yet.
  const gate = world.another()
  const underWay = gate.verify(token, at(0))
  gate.prepare(terms)()
  expect(await underWay).toMatchObject({ ok: false, code: 'invalid_token' })
  expect(await gate.verify(token, at(0))).toMatchObject({ ok: false, code: 'invalid_token' })
  gate.prepare({ ...terms, secrets: [other, SECRET] })()
  expect((await gate.verify(token, at(0))).ok).toBe(true)
  // Nor does it become another token, by a secret that goes on.
  const refreshing = gate.refresh(token, at(0))
  gate.prepare(terms)()
  expect(await refreshing).toMatchObject({ ok: false, code: 'invalid_token' })
  gate.prepare({ ...terms, secrets: [other, SECRET] })()
  expect(() => gate.prepare({ ...terms, secrets: [new Secret('short')] })).toThrow()
  expect((await gate.verify(token, at(0))).ok).toBe(true)
})
