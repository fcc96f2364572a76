import { Database } from 'bun:sqlite'
import { describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spendCaps } from '../../src/state/memory/spend.ts'
import type { Reservation, SpendCaps, SpendScope } from '../../src/state/port.ts'
import { DAY_MS, monthOf } from '../../src/turn/calendar.ts'
import { seeded } from '../support/random.ts'

const NOVEMBER = Date.UTC(2026, 10, 20, 9, 30)
const END_OF_NOVEMBER = Date.UTC(2026, 11, 1)

const device = (capMicroUsd: number, key = 'device:1'): SpendScope => ({
  key,
  period: 'month',
  capMicroUsd,
})
const org = (capMicroUsd: number, key = 'org:1'): SpendScope => ({
  key,
  period: 'month',
  capMicroUsd,
})

function reserve(
  caps: SpendCaps,
  scopes: readonly SpendScope[],
  amount: number,
  now = NOVEMBER,
): Reservation {
  const decision = caps.reserve(scopes, amount, now)
  if (!decision.ok) throw new Error(`refused: ${decision.reason}`)
  return decision.reservation
}

const reasonOf = (
  caps: SpendCaps,
  scopes: readonly SpendScope[],
  amount: number,
  now = NOVEMBER,
) => {
  const decision = caps.reserve(scopes, amount, now)
  return decision.ok ? undefined : decision.reason
}

describe('a cap holds', () => {
  test("system C's spend_cap was never enforced: one that is spent refuses", () => {
    const caps = spendCaps()
    for (let time = 0; time < 10; time += 1) reserve(caps, [device(1000)], 100).settle(100)
    expect(caps.reserve([device(1000)], 1, NOVEMBER)).toEqual({
      ok: false,
      scope: device(1000),
      reason: 'cap_reached',
      retryAfterSeconds: (END_OF_NOVEMBER - NOVEMBER) / 1000,
    })
  })

  test('to the micro-dollar: the last one fits, one more does not', () => {
    const caps = spendCaps()
    reserve(caps, [device(1000)], 999).settle(999)
    expect(reasonOf(caps, [device(1000)], 2)).toBe('cap_reached')
    reserve(caps, [device(1000)], 1).settle(1)
    expect(reasonOf(caps, [device(1000)], 1)).toBe('cap_reached')
    expect(reasonOf(caps, [device(1000)], 0)).toBeUndefined()
  })

  test('a reservation takes room, and gives it back', () => {
    const caps = spendCaps()
    const running = reserve(caps, [device(1000)], 600)
    expect(caps.reserve([device(1000)], 600, NOVEMBER)).toEqual({
      ok: false,
      scope: device(1000),
      reason: 'reserved',
      retryAfterSeconds: 5,
    })
    running.settle(10)
    reserve(caps, [device(1000)], 600)
  })

  test('a request that alone could exceed the cap learns it', () => {
    expect(reasonOf(spendCaps(), [device(1000)], 1001)).toBe('exceeds_cap')
  })

  test('one device that is at its cap leaves the others alone', () => {
    const caps = spendCaps()
    reserve(caps, [device(5)], 5).settle(5)
    expect(reasonOf(caps, [device(5)], 5)).toBe('cap_reached')
    expect(reasonOf(caps, [device(5, 'device:2')], 5)).toBeUndefined()
  })

  test('an organisation is one cap for all of its devices, and names itself', () => {
    const caps = spendCaps()
    for (let each = 0; each < 4; each += 1) {
      reserve(caps, [device(1000, `device:${each}`), org(2000)], 500).settle(500)
    }
    const decision = caps.reserve([device(1000, 'device:9'), org(2000)], 500, NOVEMBER)
    expect(decision).toMatchObject({ ok: false, scope: org(2000), reason: 'cap_reached' })
  })

  test('if one scope has no room, the others reserve nothing', () => {
    const caps = spendCaps()
    reserve(caps, [org(100)], 100).settle(100)
    for (let time = 0; time < 50; time += 1) caps.reserve([device(1000), org(100)], 500, NOVEMBER)
    expect(caps.read('device:1', NOVEMBER)).toMatchObject({ spentMicroUsd: 0, reservedMicroUsd: 0 })
    expect(caps.size).toBe(1)
  })

  test('a key that is named twice counts twice rather than slip through', () => {
    const caps = spendCaps()
    expect(reasonOf(caps, [device(1000), device(1000)], 600)).toBe('reserved')
    expect(caps.size).toBe(0)
    reserve(caps, [device(1000), device(1000)], 500).settle(500)
    expect(caps.read('device:1', NOVEMBER).spentMicroUsd).toBe(1000)
  })

  test('a lowered cap refuses at once, a raised one admits at once', () => {
    const caps = spendCaps()
    reserve(caps, [device(1000)], 500).settle(500)
    expect(reasonOf(caps, [device(400)], 1)).toBe('cap_reached')
    expect(reasonOf(caps, [device(0)], 1)).toBe('exceeds_cap')
    expect(reasonOf(caps, [device(501)], 1)).toBeUndefined()
  })
})

describe('a reservation', () => {
  test('ends once, whatever is said after that', () => {
    const caps = spendCaps()
    const first = reserve(caps, [device(1000)], 400)
    const other = reserve(caps, [device(1000)], 400)
    first.settle(100)
    first.settle(100)
    first.release()
    expect(caps.read('device:1', NOVEMBER)).toMatchObject({
      spentMicroUsd: 100,
      reservedMicroUsd: 400,
    })
    other.release()
    other.release()
    other.settle(400)
    expect(caps.read('device:1', NOVEMBER)).toMatchObject({
      spentMicroUsd: 100,
      reservedMicroUsd: 0,
    })
  })

  test('an unmeasured end costs its reservation', () => {
    for (const actual of [Number.NaN, -1, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const caps = spendCaps()
      reserve(caps, [device(1000)], 400).settle(actual)
      expect(caps.read('device:1', NOVEMBER).spentMicroUsd).toBe(400)
    }
  })

  test('fractions are rounded up, and absurd sums stay whole numbers', () => {
    const caps = spendCaps()
    reserve(caps, [device(1000)], 1).settle(0.1)
    expect(caps.read('device:1', NOVEMBER).spentMicroUsd).toBe(1)
    for (let time = 0; time < 3; time += 1) {
      reserve(caps, [org(Number.MAX_SAFE_INTEGER)], 0).settle(1e300)
      if (time === 0) expect(reasonOf(caps, [org(Number.MAX_SAFE_INTEGER)], 1)).toBe('cap_reached')
    }
    expect(caps.read('org:1', NOVEMBER).spentMicroUsd).toBe(Number.MAX_SAFE_INTEGER)
  })

  test('a cost above its reservation is charged in full, and only running requests can exceed the cap', () => {
    const caps = spendCaps()
    const running = Array.from({ length: 10 }, () => reserve(caps, [device(1000)], 100))
    for (const each of running) each.settle(150)
    expect(caps.read('device:1', NOVEMBER).spentMicroUsd).toBe(1500)
    expect(reasonOf(caps, [device(1000)], 1)).toBe('cap_reached')
  })

  test('of nothing may still cost something, on whichever account is there by then', () => {
    const caps = spendCaps()
    const [first, second] = [reserve(caps, [device(10)], 0), reserve(caps, [device(10)], 0)]
    first.release()
    second.settle(7)
    expect(caps.read('device:1', NOVEMBER).spentMicroUsd).toBe(7)
  })

  test('an invalid amount or cap throws', () => {
    for (const wrong of [Number.NaN, -1, 0.5, Number.POSITIVE_INFINITY, 2 ** 53]) {
      expect(() => spendCaps().reserve([device(10)], wrong, NOVEMBER)).toThrow(RangeError)
      expect(() => spendCaps().reserve([device(wrong)], 1, NOVEMBER)).toThrow(RangeError)
      expect(() => spendCaps().restore('device:1', wrong, '2026-11')).toThrow(RangeError)
    }
  })
})

describe('months', () => {
  test('are those of UTC, and a new one begins at zero', () => {
    const caps = spendCaps()
    reserve(caps, [device(10)], 10, END_OF_NOVEMBER - 1).settle(10)
    expect(caps.reserve([device(10)], 1, END_OF_NOVEMBER - 1)).toMatchObject({
      ok: false,
      retryAfterSeconds: 1,
    })
    expect(reasonOf(caps, [device(10)], 10, END_OF_NOVEMBER)).toBeUndefined()
    expect(monthOf(END_OF_NOVEMBER - 1)).toBe('2026-11')
    expect(monthOf(END_OF_NOVEMBER)).toBe('2026-12')
  })

  test('December is followed by January, February by March in a leap year', () => {
    const caps = spendCaps()
    for (const [at, end] of [
      [Date.UTC(2026, 11, 31), Date.UTC(2027, 0)],
      [Date.UTC(2028, 1, 29), Date.UTC(2028, 2)],
    ] as const) {
      expect(caps.reserve([device(0)], 1, at)).toMatchObject({
        retryAfterSeconds: (end - at) / 1000,
      })
    }
  })

  test('spend belongs to the month in which it was reserved', () => {
    const caps = spendCaps()
    const late = reserve(caps, [device(1000), org(1000)], 900, END_OF_NOVEMBER - 1)
    const released = reserve(caps, [device(1000)], 50, END_OF_NOVEMBER - 1)
    const fresh = reserve(caps, [device(1000), org(1000)], 1000, END_OF_NOVEMBER)
    late.settle(950)
    released.release()
    expect(caps.read('device:1', END_OF_NOVEMBER)).toMatchObject({
      spentMicroUsd: 0,
      reservedMicroUsd: 1000,
    })
    expect(caps.read('device:1', END_OF_NOVEMBER - 1)).toMatchObject({
      spentMicroUsd: 950,
      reservedMicroUsd: 0,
    })
    fresh.settle(1000)
    expect(reasonOf(caps, [org(1000)], 1, END_OF_NOVEMBER)).toBe('cap_reached')
  })

  test('a clock that is set back or jumps clears no spending', () => {
    const caps = spendCaps()
    reserve(caps, [device(10)], 10, END_OF_NOVEMBER - 1).settle(10)
    // Back and forth over the boundary, and once to 2030 and home again.
    for (const now of [END_OF_NOVEMBER, END_OF_NOVEMBER - 5, END_OF_NOVEMBER + 5, NOVEMBER]) {
      caps.reserve([device(10)], 1, now)
    }
    expect(reasonOf(caps, [device(10)], 1, END_OF_NOVEMBER - 1)).toBe('cap_reached')
    const wild = spendCaps()
    reserve(wild, [device(10)], 10).settle(10)
    wild.reserve([device(10)], 10, Date.UTC(2030, 0))
    expect(reasonOf(wild, [device(10)], 1)).toBe('cap_reached')
  })
})

describe('memory', () => {
  test('a full table refuses newcomers, and forgets nobody who has spent', () => {
    const caps = spendCaps({ maxKeys: 100 })
    for (let each = 0; each < 100; each += 1) reserve(caps, [device(10, `d${each}`)], 10).settle(10)
    for (let each = 100; each < 1000; each += 1) {
      expect(reasonOf(caps, [device(10, `d${each}`)], 1)).toBe('table_full')
    }
    for (let each = 0; each < 100; each += 1) {
      expect(reasonOf(caps, [device(10, `d${each}`)], 1)).toBe('cap_reached')
    }
    expect(caps.size).toBe(100)
  })

  test('keys that spent nothing are dropped at once', () => {
    const caps = spendCaps({ maxKeys: 2 })
    for (let each = 0; each < 1000; each += 1) {
      reserve(caps, [device(10, `free${each}`)], 10).release()
      reserve(caps, [device(10, `none${each}`)], 10).settle(0)
      expect(reasonOf(caps, [device(10, `over${each}`)], 11)).toBe('exceeds_cap')
    }
    expect(caps.size).toBe(0)
  })

  test('months that are past are dropped, with whatever they hold', () => {
    const caps = spendCaps({ maxKeys: 50 })
    for (let month = 0; month < 24; month += 1) {
      for (let each = 0; each < 50; each += 1) {
        const running = reserve(caps, [device(10, `m${month}d${each}`)], 10, Date.UTC(2026, month))
        if (each % 2 === 0) running.settle(5)
      }
      expect(caps.size).toBeLessThanOrEqual(100)
    }
  })
})

describe('a cap of a day', () => {
  const day = (capMicroUsd: number, key = 'device:1'): SpendScope => ({
    key,
    period: 'day',
    capMicroUsd,
  })
  const END_OF_DAY = Date.UTC(2026, 10, 21)

  test('is spent until the end of the day in UTC, and no longer', () => {
    const caps = spendCaps()
    reserve(caps, [day(100)], 100).settle(100)
    expect(caps.reserve([day(100)], 1, END_OF_DAY - 1500)).toEqual({
      ok: false,
      scope: day(100),
      reason: 'cap_reached',
      retryAfterSeconds: 2,
    })
    expect(reasonOf(caps, [day(100)], 100, END_OF_DAY)).toBeUndefined()
  })

  test('and one of a month count the same request, each in its own time', () => {
    const caps = spendCaps()
    const both = [device(150), day(100)]
    reserve(caps, both, 100).settle(100)
    expect(caps.reserve(both, 50, NOVEMBER)).toMatchObject({ scope: day(100) })
    reserve(caps, both, 50, END_OF_DAY).settle(50)
    expect(caps.reserve(both, 50, END_OF_DAY)).toMatchObject({ scope: device(150) })
    expect(caps.read('device:1', END_OF_DAY).spentMicroUsd).toBe(150)
    expect(caps.read('device:1', END_OF_DAY, 'day').spentMicroUsd).toBe(50)
    expect(caps.read('device:1', NOVEMBER, 'day').spentMicroUsd).toBe(100)
  })

  test('that refuses leaves the month as it was', () => {
    const caps = spendCaps()
    for (let time = 0; time < 50; time += 1) {
      expect(reasonOf(caps, [device(1000), day(10)], 11)).toBe('exceeds_cap')
    }
    expect([caps.read('device:1', NOVEMBER).reservedMicroUsd, caps.size]).toEqual([0, 0])
  })

  test('counts a request that ends after midnight in the day that is past', () => {
    const caps = spendCaps()
    const late = reserve(caps, [day(100)], 80, END_OF_DAY - 1)
    reserve(caps, [day(100)], 100, END_OF_DAY).release()
    late.settle(70)
    expect(caps.read('device:1', END_OF_DAY, 'day').spentMicroUsd).toBe(0)
    expect(caps.read('device:1', END_OF_DAY - 1, 'day').spentMicroUsd).toBe(70)
  })

  test('is not paid by a clock that is set back over midnight', () => {
    const caps = spendCaps()
    reserve(caps, [day(100)], 100).settle(100)
    reserve(caps, [day(100)], 1, END_OF_DAY).settle(1)
    expect(reasonOf(caps, [day(100)], 1)).toBe('cap_reached')
  })

  test('is not paid by a clock that is set back again and again, and then set right', () => {
    const caps = spendCaps()
    reserve(caps, [day(100)], 100).settle(100)
    for (const days of [1, 3, 2, 9, 4]) caps.reserve([day(100)], 1, NOVEMBER - days * DAY_MS)
    expect(reasonOf(caps, [day(100)], 1)).toBe('cap_reached')
  })

  test('is restored by its date, and leaves the month alone', () => {
    const caps = spendCaps()
    expect(caps.restore('device:1', 60, '2026-11-20', 10)).toBeTrue()
    expect(caps.read('device:1', NOVEMBER, 'day')).toMatchObject({
      spentMicroUsd: 60,
      estimatedMicroUsd: 10,
    })
    expect(caps.read('device:1', NOVEMBER).spentMicroUsd).toBe(0)
    expect(caps.restore('device:1', 99, '2026-11-19')).toBeFalse()
    expect(reasonOf(caps, [day(100)], 41)).toBe('cap_reached')
    for (const wrong of ['2026-11-31', '2026-02-30', '2026-11-1', '2026-11-20T', '2026-1120']) {
      expect(() => caps.restore('device:1', 1, wrong)).toThrow(RangeError)
    }
  })
})

describe('restored from a ledger', () => {
  test('a restart does not bring a spent cap back', () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-spend-'))
    try {
      const path = join(folder, 'ledger.sqlite')
      const ledger = new Database(path, { strict: true })
      ledger.run('PRAGMA journal_mode = WAL')
      ledger.run('CREATE TABLE spent (key TEXT, at INTEGER, micro_usd INTEGER)')
      const insert = ledger.query('INSERT INTO spent VALUES ($key, $at, $microUsd)')
      const before = spendCaps()
      for (let time = 0; time < 40; time += 1) {
        const at = NOVEMBER - time * DAY_MS
        const reservation = reserve(before, [device(1e6)], 10, at)
        reservation.settle(7)
        insert.run({ key: 'device:1', at, microUsd: 7 })
      }
      ledger.close()

      const opened = new Database(path, { readonly: true })
      const rows = opened
        .query<{ key: string; spent: number; month: string }, []>(
          `SELECT key, sum(micro_usd) AS spent, strftime('%Y-%m', at / 1000, 'unixepoch') AS month
           FROM spent GROUP BY key, month ORDER BY month DESC`,
        )
        .all()
      opened.close()
      const after = spendCaps()
      expect(rows.map(({ key, spent, month }) => after.restore(key, spent, month))).toEqual([
        true,
        false,
      ])
      expect(after.read('device:1', NOVEMBER).spentMicroUsd).toBe(20 * 7)
      expect(reasonOf(after, [device(140)], 1)).toBe('cap_reached')
      expect(reasonOf(after, [device(141)], 1)).toBeUndefined()
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('it never lowers known spending, nor changes another month', () => {
    const caps = spendCaps()
    reserve(caps, [device(100)], 60).settle(60)
    expect(caps.restore('device:1', 40, '2026-11')).toBeTrue()
    expect(caps.read('device:1', NOVEMBER).spentMicroUsd).toBe(60)
    expect(caps.restore('device:1', 99, '2026-10')).toBeFalse()
    expect(caps.read('device:1', NOVEMBER).spentMicroUsd).toBe(60)
  })

  test('one that finds no room is refused later on, never forgotten into a new cap', () => {
    const caps = spendCaps({ maxKeys: 1 })
    expect(caps.restore('device:1', 10, '2026-11')).toBeTrue()
    expect(caps.restore('device:2', 10, '2026-11')).toBeFalse()
    expect(reasonOf(caps, [device(10, 'device:2')], 1)).toBe('table_full')
  })

  test('a credit gives room back, and a debit takes it again', () => {
    const caps = spendCaps()
    reserve(caps, [device(100)], 90).settle(90, 50)
    expect(reasonOf(caps, [device(100)], 20)).toBe('cap_reached')
    expect(caps.credit('device:1', 30, '2026-11')).toBeTrue()
    expect(caps.read('device:1', NOVEMBER)).toEqual({
      spentMicroUsd: 60,
      estimatedMicroUsd: 50,
      creditedMicroUsd: 30,
      reservedMicroUsd: 0,
    })
    expect(reasonOf(caps, [device(100)], 40)).toBeUndefined()
    expect(caps.credit('device:1', -30, '2026-11')).toBeTrue()
    expect(reasonOf(caps, [device(100)], 20)).toBe('cap_reached')
  })

  test('a credit comes with a start too, in any order, and to no month that is past', () => {
    const caps = spendCaps()
    expect(caps.credit('device:1', 30, '2026-11')).toBeTrue()
    expect(caps.restore('device:1', 90, '2026-11', 50)).toBeTrue()
    expect(caps.read('device:1', NOVEMBER)).toMatchObject({
      spentMicroUsd: 60,
      estimatedMicroUsd: 50,
    })
    expect(caps.credit('device:1', 30, '2026-10')).toBeFalse()
    expect(caps.read('device:1', NOVEMBER).creditedMicroUsd).toBe(30)
  })

  test('no credit makes spending negative, and an estimate is part of the charge', () => {
    const caps = spendCaps()
    reserve(caps, [device(100)], 50).settle(10, 99)
    expect(caps.read('device:1', NOVEMBER).estimatedMicroUsd).toBe(10)
    caps.credit('device:1', 1000, '2026-11')
    expect(caps.read('device:1', NOVEMBER).spentMicroUsd).toBe(0)
    // Neither measured nor estimated: all of what was reserved is a guess.
    reserve(caps, [device(100)], 50).settle(Number.NaN)
    expect(caps.read('device:1', NOVEMBER).estimatedMicroUsd).toBe(60)
  })

  test('an invalid month throws', () => {
    for (const month of ['', '2026-13', '2026-1', '2026-11-', 'November']) {
      expect(() => spendCaps().restore('device:1', 1, month)).toThrow(RangeError)
    }
  })
})

test(
  'a hundred at once, round after round: no cap is passed by more than estimates were too low',
  seeded(async (random) => {
    for (const honest of [true, false]) {
      const caps = spendCaps()
      const orgCap = 200_000
      const devices = Array.from({ length: 5 }, (_, each) =>
        device(20_000 + random.int(60_000), `device:${each}`),
      )
      const truth = new Map<string, { spent: number; excess: number; reserved: number }>()
      const of = (key: string) => truth.getOrInsert(key, { spent: 0, excess: 0, reserved: 0 })
      const capOf = (key: string): number =>
        devices.find((each) => each.key === key)?.capMicroUsd ?? orgCap
      let admitted = 0
      let refused = 0

      const check = (): void => {
        for (const [key, { spent, excess, reserved }] of truth) {
          expect(caps.read(key, NOVEMBER)).toMatchObject({
            spentMicroUsd: spent,
            reservedMicroUsd: reserved,
          })
          // The bound of spend.ts; with an honest reservation, the cap itself.
          expect(spent + reserved).toBeLessThanOrEqual(capOf(key) + excess)
          if (honest) expect(excess).toBe(0)
        }
      }
      const request = async (): Promise<void> => {
        const scopes = [random.pick(devices), org(orgCap)]
        const amount = random.int(4000)
        const decision = caps.reserve(scopes, amount, NOVEMBER)
        if (!decision.ok) {
          const { spent, reserved } = of(decision.scope.key)
          expect(spent + reserved + amount).toBeGreaterThan(capOf(decision.scope.key))
          refused += 1
          return
        }
        admitted += 1
        for (const { key } of scopes) of(key).reserved += amount
        for (let turns = random.int(6); turns > 0; turns -= 1) await nextTurn()
        const actual = random.int(honest ? amount + 1 : 2 * amount + 1)
        const free = random.int(10) === 0
        if (free) decision.reservation.release()
        else decision.reservation.settle(actual)
        for (const { key } of scopes) {
          const known = of(key)
          known.reserved -= amount
          if (free) continue
          known.spent += actual
          known.excess += Math.max(0, actual - amount)
        }
        check()
      }
      for (let round = 0; round < 10; round += 1) {
        await Promise.all(Array.from({ length: 100 }, request))
      }
      expect(admitted).toBeGreaterThan(50)
      expect(refused).toBeGreaterThan(50)
      for (const { key } of devices) expect(caps.read(key, NOVEMBER).reservedMicroUsd).toBe(0)
    }
  }),
)

test(
  'a hundred at once at the very edge of a cap: exactly as many as fit',
  seeded(async (random) => {
    for (let round = 0; round < 50; round += 1) {
      const caps = spendCaps()
      const [amount, fit] = [1 + random.int(1000), random.int(100)]
      const scope = [device(amount * fit + random.int(amount))]
      const decisions = await Promise.all(
        Array.from({ length: 100 }, async () => {
          await nextTurn()
          return caps.reserve(scope, amount, NOVEMBER)
        }),
      )
      expect(decisions.filter(({ ok }) => ok)).toHaveLength(fit)
    }
  }),
)

test(
  'any history of months, caps, restores and late ends equals the sum of a plain list',
  seeded((random) => {
    for (let round = 0; round < 100; round += 1) {
      const caps = spendCaps()
      const entries: { key: string; month: string; reserved: number; spent: number }[] = []
      const under: { reservation: Reservation; mine: (typeof entries)[number][] }[] = []
      const sum = (key: string, month: string, of: 'reserved' | 'spent'): number =>
        entries.reduce((all, e) => (e.key === key && e.month === month ? all + e[of] : all), 0)
      let now = NOVEMBER
      for (let step = 0; step < 200; step += 1) {
        now += random.int(3) * DAY_MS
        const month = monthOf(now)
        const act = random.int(10)
        if (act < 5) {
          const scopes = [
            device(random.int(3000), `device:${random.int(3)}`),
            org(2000 + random.int(3000), `org:${random.int(2)}`),
          ]
          const amount = random.int(1200)
          const blocked = scopes.find(
            ({ key, capMicroUsd }) =>
              sum(key, month, 'spent') + sum(key, month, 'reserved') + amount > capMicroUsd,
          )
          const decision = caps.reserve(scopes, amount, now)
          expect(decision.ok ? undefined : decision.scope.key).toBe(blocked?.key)
          if (!decision.ok) continue
          const mine = scopes.map(({ key }) => ({ key, month, reserved: amount, spent: 0 }))
          entries.push(...mine)
          under.push({ reservation: decision.reservation, mine })
        } else if (act < 9 && under.length > 0) {
          const { reservation, mine } = random.pick(under)
          const actual = random.int(1500)
          const settles = random.int(4) > 0
          if (settles) reservation.settle(actual)
          else reservation.release()
          for (const each of mine.splice(0)) {
            each.reserved = 0
            each.spent = settles ? actual : 0
          }
        } else if (act === 9) {
          const key = `device:${random.int(3)}`
          const told = random.int(2000)
          // Into the month of the clock, or one that is past: the first only where it is known yet.
          if (caps.restore(key, told, month)) {
            const spent = Math.max(0, told - sum(key, month, 'spent'))
            entries.push({ key, month, reserved: 0, spent })
          }
          caps.restore(key, told, '2026-10')
        }
        for (const key of ['device:0', 'device:1', 'device:2', 'org:0', 'org:1']) {
          expect(caps.read(key, now)).toMatchObject({
            spentMicroUsd: sum(key, month, 'spent'),
            reservedMicroUsd: sum(key, month, 'reserved'),
          })
        }
      }
    }
  }),
)

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
