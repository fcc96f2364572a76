// Revoking many families at once: all of them, whatever comes between, and never in one long hold.

import type { Database } from 'bun:sqlite'
import { expect, test } from 'bun:test'
import type { DeviceClaims } from '../../src/enroll/device-token.ts'
import { NO_ENTITLEMENTS } from '../../src/enroll/entitlements.ts'
import { createFamily } from '../../src/enroll/families.ts'
import { pruneEnrolment } from '../../src/enroll/prune.ts'
import { beginRevoking } from '../../src/enroll/withdraw.ts'
import { revokeByName } from '../../src/operate/enroll.ts'
import { at, DAY_SECONDS, identify, openDatabase, outcome, scene } from './scene.ts'

const MANY = 400

function enrolMany(db: Database, owner = 'code:1'): DeviceClaims[] {
  const times = { now: at(0).epochSeconds, lifetimeSeconds: DAY_SECONDS, graceSeconds: 10 }
  const make = (n: number): DeviceClaims =>
    createFamily(
      db,
      {
        deviceId: `device-${n}`,
        deviceHash: `hash-${n}`,
        deviceKey: `key-${n}`,
        owner,
        label: 'fleet',
        entitlements: { ...NO_ENTITLEMENTS, orgId: 'acme', userId: 'user-1' },
        appVersion: undefined,
      },
      times,
    )
  return db.transaction(() => Array.from({ length: MANY }, (_, n) => make(n))).immediate()
}

const count = (db: Database, what: string): number =>
  db.query<{ n: number }, []>(`SELECT count(*) AS n FROM ${what}`).get()?.n ?? -1

const alive = (db: Database): number => count(db, 'device_families WHERE revoked_at IS NULL')

for (const name of ['code:1', 'org:acme', 'user:user-1', 'fleet']) {
  test(`${name}: thousands end in parts, with turns of the loop and other writers between them`, async () => {
    using world = scene()
    world.code({ label: 'fleet', uses: MANY })
    const families = enrolMany(world.db).map(({ family }) => family)
    using other = openDatabase(world.path)
    let writes = 0
    const turns = setInterval(() => {
      other.run("INSERT INTO audit (at, actor, action, subject) VALUES (0, 'x', 'x', 'x')")
      writes += 1
    }, 0)
    const done = await world.gate.revoke(name, 'operator', at(0))
    clearInterval(turns)
    expect(writes).toBeGreaterThan(1)
    expect(done).toMatchObject({ known: true })
    expect(done).not.toHaveProperty('unfinished')
    expect(done.families.toSorted()).toEqual(families.toSorted())
    expect(alive(world.db)).toBe(0)
    expect(count(world.db, "withdrawals WHERE kind = 'family'")).toBe(MANY)
    expect(count(world.db, "audit WHERE action = 'revoke' AND subject LIKE 'fam_%'")).toBe(MANY)
    expect(count(world.db, 'unfinished_revocations')).toBe(0)
    const again = await world.gate.revoke(name, 'operator', at(1))
    expect(again).toMatchObject({ known: true, families: [] })
    expect(count(world.db, 'unfinished_revocations')).toBe(0)
  })
}

test('an enrolment with a code that is being revoked is refused from the first part on', async () => {
  using world = scene()
  const credential = world.code({ uses: MANY })
  enrolMany(world.db)
  const revoking = world.gate.revoke('code:1', 'operator', at(0))
  expect(alive(world.db)).toBeGreaterThan(0)
  expect(outcome(await world.bootstrap('late', { credential }))).toBe('enrollment_refused')
  await revoking
  expect(alive(world.db)).toBe(0)
})

test('a gate on the same file finishes a revocation that another process abandoned', async () => {
  using world = scene()
  enrolMany(world.db)
  const token = await world.enrolled('laptop', {
    entitlements: { ...NO_ENTITLEMENTS, orgId: 'acme' },
  })
  const by = { identify, actor: 'cli', at: at(0).epochSeconds }
  const begun = beginRevoking(world.db, 'org:acme', by)
  expect(begun.left).toHaveLength(1)
  const next = world.another()
  next.poll(at(1))
  // Somebody may be at it.
  expect(alive(world.db)).toBe(MANY + 1 - begun.families.length)
  for (let turns = 0; turns < 20; turns += 1) next.poll(at(3))
  expect(alive(world.db)).toBe(0)
  expect(count(world.db, 'unfinished_revocations')).toBe(0)
  expect(outcome(await next.verify(token, at(3)))).toBe('token_revoked')
  expect(world.logged()).toContain('a revocation was begun and not finished')
  const actors = world.db
    .query("SELECT DISTINCT actor FROM audit WHERE action = 'revoke'")
    .values()
    .flat()
  expect(actors).toEqual(['cli'])
})

test('another process that holds the lock in between delays it, and ends nothing', async () => {
  using world = scene()
  enrolMany(world.db)
  using other = openDatabase(world.path)
  const revoking = world.gate.revoke('org:acme', 'operator', at(0))
  other.run('BEGIN IMMEDIATE')
  await Bun.sleep(200)
  const before = alive(world.db)
  expect(before).toBeGreaterThan(0)
  other.run('COMMIT')
  expect((await revoking).families).toHaveLength(MANY)
  expect(alive(world.db)).toBe(0)
})

test('a disk that fails in between: the finished part is reported, and that it is unfinished', async () => {
  using world = scene()
  enrolMany(world.db)
  const revoking = world.gate.revoke('org:acme', 'operator', at(0))
  world.db.run('PRAGMA query_only = 1')
  const { unfinished, families } = await revoking
  expect(unfinished).toBe(true)
  world.db.run('PRAGMA query_only = 0')
  expect(families).toHaveLength(MANY - alive(world.db))
  expect(alive(world.db)).toBeGreaterThan(0)
  const later = Date.now() / 1000 + 10
  for (let turns = 0; turns < 20; turns += 1) {
    world.gate.poll({ epochSeconds: later, monotonicMs: performance.now() })
  }
  expect(alive(world.db)).toBe(0)
})

test('the command names every family it has ended', async () => {
  using world = scene()
  enrolMany(world.db)
  let said = ''
  const out = { stdout: (text: string) => void (said += text), stderr: () => {} }
  expect(
    await revokeByName(
      world.records,
      'org:acme',
      { identify, former: [] },
      out,
      at(0).epochSeconds,
    ),
  ).toBe(0)
  expect(said).toStartWith(`devices revoked: ${MANY} families\n  fam_`)
  expect(said.match(/^  fam_[0-9a-f]{32}$/gm)).toHaveLength(MANY)
})

test('forgetting takes a few rows a turn, and says whether there are more', () => {
  using world = scene()
  enrolMany(world.db)
  const late = at(3 * DAY_SECONDS).epochSeconds
  expect(pruneEnrolment(world.db, late)).toBe(true)
  expect(count(world.db, 'device_families')).toBeGreaterThan(MANY / 2)
  let turns = 1
  while (pruneEnrolment(world.db, late)) turns += 1
  expect(turns).toBeLessThan(20)
  expect(count(world.db, 'device_families')).toBe(0)
  expect(count(world.db, 'device_names')).toBe(0)
})
