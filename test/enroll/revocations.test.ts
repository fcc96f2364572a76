// What a revocation does, how soon, and for how long.

import { Database } from 'bun:sqlite'
import { describe, expect, setSystemTime, test } from 'bun:test'
import pino from 'pino'
import { DatabaseUnusable } from '../../src/database/trouble.ts'
import type { DeviceEnrollment } from '../../src/enroll/enrollment.ts'
import { NO_ENTITLEMENTS } from '../../src/enroll/entitlements.ts'
import { pruneEnrolment } from '../../src/enroll/prune.ts'
import { revocations } from '../../src/enroll/revocations.ts'
import { type Instant, instant } from '../../src/turn/instant.ts'
import { connectionTo } from '../support/connection.ts'
import { eventually } from '../support/sink.ts'
import {
  at,
  claimsOf,
  DAY_SECONDS,
  granted,
  openDatabase,
  outcome,
  scene,
  tokenOf,
} from './scene.ts'

const used = async (gate: DeviceEnrollment, token: string, seconds = 0): Promise<string> =>
  outcome(await gate.verify(token, at(seconds)))

test('attack 37: revoked by another process, dead on a running gate', async () => {
  using world = scene()
  const token = await world.enrolled('laptop')
  const other = await world.enrolled('desk')
  world.gate.start()
  expect(outcome(await world.gate.verify(token, instant()))).toBe('granted')
  const child = Bun.spawn(
    [process.execPath, `${import.meta.dir}/revoker.ts`, world.path, 'laptop'],
    {
      stdout: 'pipe',
    },
  )
  expect(await child.stdout.text()).toContain('device revoked: 1 family')
  expect(await child.exited).toBe(0)
  await eventually(async () => !(await world.gate.verify(token, instant())).ok)
  expect(outcome(await world.gate.verify(token, instant()))).toBe('token_revoked')
  expect(outcome(await world.gate.verify(other, instant()))).toBe('granted')
  world.gate.stop()
})

test('a revocation of its own beats the memory of verified tokens at once', async () => {
  using world = scene()
  const token = await world.enrolled()
  expect(await used(world.gate, token)).toBe('granted')
  const { family } = await claimsOf(world.gate, token)
  expect(await world.gate.revoke(family, 'operator', at(0))).toEqual({
    kind: 'family',
    known: true,
    families: [family],
  })
  expect(await used(world.gate, token)).toBe('token_revoked')
  expect(outcome(await world.gate.refresh(token, at(0)))).toBe('token_revoked')
  expect((await world.gate.revoke(family, 'operator', at(1))).families).toEqual([])
})

test('a revocation holds from the moment of its answer, even if the disk cannot be read then', async () => {
  using world = scene()
  using db = openDatabase(world.path)
  const disk = connectionTo(db)
  let unreadable = false
  const gate = world.another({
    connection: {
      ...disk,
      get() {
        if (unreadable) throw new DatabaseUnusable('failed', 'SQLITE_IOERR_READ')
        return disk.get()
      },
    },
  })
  const tokens = await Promise.all(['one', 'two', 'three'].map((id) => world.enrolled(id)))
  const [one, two, three] = await Promise.all(tokens.map((token) => claimsOf(gate, token)))
  unreadable = true
  for (const name of [one?.family, two?.jti, three?.deviceHash]) {
    await gate.revoke(name ?? '', 'operator', at(0))
  }
  for (const token of tokens) expect(await used(gate, token)).toBe('token_revoked')
})

test('by family, by device hash, by device id, by token, by code', async () => {
  using world = scene()
  const named = async (name: string, tokens: readonly string[]): Promise<string[]> => {
    await world.gate.revoke(name, 'operator', at(0))
    return Promise.all(tokens.map((token) => used(world.gate, token)))
  }
  const credential = world.code({ uses: 2 })
  const [a, b] = [
    tokenOf(await world.bootstrap('one', { credential })),
    tokenOf(await world.bootstrap('two', { credential })),
  ]
  const [c, d, e] = [
    await world.enrolled('three'),
    await world.enrolled('three'),
    await world.enrolled('four'),
  ]
  const { deviceHash } = await claimsOf(world.gate, c)
  expect(await named(deviceHash, [c, d])).toEqual(['token_revoked', 'granted'])
  expect(await named('three', [d, e])).toEqual(['token_revoked', 'granted'])
  const { jti } = await claimsOf(world.gate, e)
  const next = tokenOf(await world.gate.refresh(e, at(0)))
  expect(await named(jti, [e, next])).toEqual(['token_revoked', 'granted'])
  expect(outcome(await world.gate.refresh(e, at(1)))).toBe('token_revoked')
  expect(await named('code:1', [a, b, next])).toEqual(['token_revoked', 'token_revoked', 'granted'])
})

test('a code that was withdrawn enrols nobody', async () => {
  using world = scene()
  const credential = world.code({ uses: 5 })
  await world.gate.revoke('code:1', 'operator', at(0))
  expect(outcome(await world.bootstrap('one', { credential }))).toBe('enrollment_refused')
  expect((await world.gate.revoke('code:99', 'operator', at(0))).known).toBe(false)
})

test('an unknown family or token is refused after its revocation', async () => {
  using world = scene()
  using lost = scene()
  const token = await lost.enrolled()
  const { family, jti } = await claimsOf(world.gate, token)
  expect((await world.gate.revoke(jti, 'operator', at(0))).known).toBe(false)
  expect(await used(world.gate, token)).toBe('token_revoked')
  const second = await lost.enrolled('second')
  const other = await claimsOf(world.gate, second)
  expect(other.family).not.toBe(family)
  expect((await world.gate.revoke(other.family, 'operator', at(0))).known).toBe(false)
  expect(await used(world.gate, second)).toBe('token_revoked')
  expect(await world.gate.revoke('nobody', 'operator', at(0))).toEqual({
    kind: 'device',
    known: false,
    families: [],
  })
})

test("the audit records actor, action and subject, and no device's own id", async () => {
  using world = scene()
  const token = await world.enrolled('laptop')
  const { family } = await claimsOf(world.gate, token)
  await world.gate.revoke('laptop', 'operator', at(5))
  await world.gate.revoke('code:1', 'cli', at(6))
  const written = () =>
    world.db.query('SELECT at, actor, action, subject FROM audit ORDER BY seq DESC').all()
  expect(written()).toEqual([
    { at: at(6).epochSeconds, actor: 'cli', action: 'revoke', subject: 'code:1' },
    { at: at(5).epochSeconds, actor: 'operator', action: 'revoke', subject: family },
  ])
  const reused = await world.enrolled('desk')
  tokenOf(await world.gate.refresh(reused, at(0)))
  expect(outcome(await world.gate.refresh(reused, at(11)))).toBe('token_revoked')
  world.gate.stop()
  expect(written()[0]).toMatchObject({ actor: 'gate', action: 'reuse' })
})

test('revocations outlive a restart, and memory forgets expired ones', async () => {
  using world = scene()
  const token = await world.enrolled('laptop')
  await world.gate.revoke('laptop', 'operator', at(0))
  for (let n = 0; n < 5; n += 1) {
    tokenOf(await world.gate.refresh(await world.enrolled(`d-${n}`), at(0)))
  }
  expect(await used(world.another(), token)).toBe('token_revoked')
  const memory = revocations({
    connection: connectionTo(world.db),
    graceSeconds: 10,
    allowanceSeconds: 0,
    log: pino({ level: 'silent' }),
  })
  expect(memory.retired).toBe(5)
  memory.poll(at(DAY_SECONDS + 30))
  expect(memory.retired).toBe(5)
  memory.poll(at(DAY_SECONDS + 100))
  expect(memory.retired).toBe(0)
})

test('a clock that is set back neither revives a dead token nor prolongs a grace', async () => {
  using world = scene()
  const first = await world.enrolled()
  const second = tokenOf(await world.gate.refresh(first, at(100)))
  const back = { epochSeconds: at(0).epochSeconds, monotonicMs: at(111).monotonicMs }
  expect(outcome(await world.gate.refresh(first, back))).toBe('token_revoked')
  for (const token of [first, second]) {
    expect(outcome(await world.gate.verify(token, back))).not.toBe('granted')
  }
})

describe('a clock that was ahead, and is set back', () => {
  const ahead = (seconds: number, by: number): Instant => ({
    ...at(seconds),
    epochSeconds: at(seconds + by).epochSeconds,
  })
  const withRevoked = async () => {
    const world = scene()
    const tokens = [await world.enrolled('one'), await world.enrolled('two')] as const
    const { jti } = await claimsOf(world.gate, tokens[1])
    await world.gate.revoke('one', 'operator', at(0))
    await world.gate.revoke(jti, 'operator', at(0))
    return { world, tokens }
  }

  test('revives nothing that a running gate knows to be revoked', async () => {
    const { world, tokens } = await withRevoked()
    using _ = world
    world.gate.poll(ahead(100, 1.5 * DAY_SECONDS))
    world.gate.poll(at(101))
    for (const token of tokens) expect(await used(world.gate, token, 102)).toBe('token_revoked')
  })

  test('by days revives nothing, and costs no row of the disk', async () => {
    const { world, tokens } = await withRevoked()
    using _ = world
    for (let turn = 0; turn < 4; turn += 1) world.gate.poll(ahead(100 + turn, 30 * DAY_SECONDS))
    world.gate.poll(at(200))
    for (const gate of [world.gate, world.another()]) {
      for (const token of tokens) expect(await used(gate, token, 201)).toBe('token_revoked')
    }
  })

  test('revives nothing that a gate skipped when it started', async () => {
    const { world, tokens } = await withRevoked()
    using _ = world
    setSystemTime(new Date((at(0).epochSeconds + 1.5 * DAY_SECONDS) * 1000))
    const gate = world.another()
    setSystemTime()
    gate.poll(at(1))
    for (const token of tokens) expect(await used(gate, token, 2)).toBe('token_revoked')
  })

  test('by many small steps revives nothing either', async () => {
    const { world, tokens } = await withRevoked()
    using _ = world
    world.gate.poll(ahead(100, DAY_SECONDS))
    for (let step = 1; step <= 20; step += 1) {
      world.gate.poll(ahead(100 + step, DAY_SECONDS - step * 40))
    }
    for (const token of tokens) {
      const now = ahead(121, DAY_SECONDS - 800)
      expect(outcome(await world.gate.verify(token, now))).toBe('token_revoked')
    }
  })
})

test('the disk forgets rows a day after their tokens expire, and no sooner', async () => {
  using world = scene()
  const token = await world.enrolled()
  tokenOf(await world.gate.refresh(token, at(0)))
  await world.gate.revoke('device-one', 'operator', at(0))
  const rows = (): number[] =>
    ['withdrawals', 'device_families', 'enrolment_codes', 'audit'].map(
      (table) =>
        world.db.query<{ n: number }, []>(`SELECT count(*) AS n FROM ${table}`).get()?.n ?? -1,
    )
  pruneEnrolment(world.db, at(2 * DAY_SECONDS - 1).epochSeconds)
  expect(rows()).toEqual([2, 1, 1, 1])
  pruneEnrolment(world.db, at(2 * DAY_SECONDS + 1).epochSeconds)
  expect(rows()).toEqual([0, 0, 1, 1])
  pruneEnrolment(world.db, at(31 * DAY_SECONDS).epochSeconds)
  expect(rows()).toEqual([0, 0, 0, 1])
})

test('a poll without news costs next to nothing, and more news than one turn reads is read in the next', () => {
  using world = scene()
  using other = openDatabase(world.path)
  const memory = revocations({
    connection: connectionTo(world.db),
    graceSeconds: 10,
    allowanceSeconds: 0,
    log: pino({ level: 'silent' }),
  })
  const until = at(DAY_SECONDS).epochSeconds
  other
    .transaction(() => {
      const insert = other.query(
        `INSERT INTO withdrawals (kind, name, family, at, until)
         VALUES ('retired', ?1, 'f', ?2, ?3)`,
      )
      for (let n = 0; n < 12_000; n += 1) insert.run(`tok_${n}`, at(0).epochSeconds, until)
    })
    .immediate()
  memory.poll(at(1))
  expect(memory.retired).toBeGreaterThan(0)
  expect(memory.retired).toBeLessThan(12_000)
  for (let turns = 0; turns < 10; turns += 1) memory.poll(at(1))
  expect(memory.retired).toBe(12_000)
  const began = performance.now()
  for (let n = 0; n < 1000; n += 1) memory.poll(at(1))
  const each = ((performance.now() - began) / 1000) * 1000
  console.info(`a poll without news: ${each.toFixed(1)} µs`)
  expect(each).toBeLessThan(200)
})

test('a gate that cannot read revocations does not start', () => {
  using empty = new Database(':memory:')
  const options = { graceSeconds: 10, allowanceSeconds: 0, log: pino({ level: 'silent' }) }
  expect(() => revocations({ connection: connectionTo(empty), ...options })).toThrow()
})

test('requests ask no database: verification works with the file closed under it', async () => {
  using world = scene({ defaults: { ...NO_ENTITLEMENTS, rateLimit: 5 } })
  const [known, fresh] = [await world.enrolled('a'), await world.enrolled('b')]
  granted(await world.gate.verify(known, at(0)))
  world.db.close()
  expect(await used(world.gate, known)).toBe('granted')
  expect(await used(world.gate, fresh)).toBe('granted')
})

test('revocations of other processes are read from a full disk', async () => {
  using world = scene()
  const [first, token] = [await world.enrolled('a'), await world.enrolled('b')]
  tokenOf(await world.gate.refresh(first, at(0)))
  expect(outcome(await world.gate.refresh(first, at(11)))).toBe('token_revoked')
  const { family } = await claimsOf(world.gate, token)
  world.db.exec('PRAGMA query_only = 1')
  await world.another().revoke(family, 'operator', at(12))
  world.gate.stop()
  expect(world.gate.storage).toBe('failing')
  expect(await used(world.gate, token, 12)).toBe('token_revoked')
})
