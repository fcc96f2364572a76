import { describe, expect, test } from 'bun:test'
import { buckets } from '../../src/state/memory/bucket.ts'
import type { Buckets } from '../../src/state/port.ts'
import { seeded } from '../support/random.ts'

const take = (table: Buckets, key: string, now: number): boolean => table.take(key, now).allowed

test('a burst passes at once, the next is refused with the exact time to come again', () => {
  const table = buckets({ perMinute: 60, burst: 10 })
  const remaining = Array.from({ length: 10 }, () => table.take('a', 5000).remaining)
  expect(remaining).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
  expect(table.take('a', 5000)).toEqual({
    allowed: false,
    remaining: 0,
    resetSeconds: 10,
    retryAfterSeconds: 1,
  })
  expect(table.take('a', 5250)).toMatchObject({ allowed: false, retryAfterSeconds: 0.75 })
  expect(take(table, 'a', 5999.9)).toBe(false)
  expect(take(table, 'a', 6000)).toBe(true)
  expect(take(table, 'a', 6000)).toBe(false)
})

test('being refused costs nothing', () => {
  const table = buckets({ perMinute: 60, burst: 1 })
  expect(take(table, 'a', 0)).toBe(true)
  for (let now = 0; now < 1000; now += 10) expect(take(table, 'a', now)).toBe(false)
  expect(take(table, 'a', 1000)).toBe(true)
})

test('it refills evenly and never beyond its burst', () => {
  const table = buckets({ perMinute: 120, burst: 3 })
  for (let n = 0; n < 3; n += 1) take(table, 'a', 0)
  expect(table.take('a', 500)).toMatchObject({ allowed: true, remaining: 0 })
  const hourLater = 3_600_000
  expect([1, 2, 3, 4].map(() => take(table, 'a', hourLater))).toEqual([true, true, true, false])
})

test('a burst whose requests get here in another order than they came in passes whole', () => {
  const table = buckets({ perMinute: 60, burst: 3 })
  expect([5007, 5000, 5003, 5001].map((now) => take(table, 'a', now))).toEqual([
    true,
    true,
    true,
    false,
  ])
  expect(take(table, 'a', 6006)).toBe(false)
  expect(take(table, 'a', 6007)).toBe(true)
})

test('one identity spends nothing of another', () => {
  const table = buckets({ perMinute: 1, burst: 1 })
  expect([take(table, 'a', 0), take(table, 'b', 0), take(table, 'a', 0)]).toEqual([
    true,
    true,
    false,
  ])
  for (const key of ['__proto__', 'constructor', '']) expect(take(table, key, 0)).toBe(true)
})

test('a token that is given back can be taken again, and never overfills the bucket', () => {
  const table = buckets({ perMinute: 1, burst: 2 })
  take(table, 'a', 0)
  take(table, 'a', 0)
  table.giveBack('a', 0)
  expect([take(table, 'a', 0), take(table, 'a', 0)]).toEqual([true, false])
  for (let n = 0; n < 50; n += 1) table.giveBack('a', 0)
  expect([1, 2, 3].map(() => take(table, 'a', 0))).toEqual([true, true, false])
  table.giveBack('never seen', 0)
  expect(table.size).toBe(1)
})

test('a whole burst passes at one instant, after a year of uptime too', () => {
  for (const now of [0, 86_400_000, 31_536_000_000]) {
    const table = buckets({ perMinute: 7, burst: 100 })
    const passed = Array.from({ length: 101 }, () => take(table, 'a', now)).filter(Boolean)
    expect(passed).toHaveLength(100)
  }
})

describe('the table', () => {
  test('drops buckets that are full again', () => {
    const table = buckets({ perMinute: 60, burst: 1 })
    for (let n = 0; n < 1000; n += 1) take(table, `old${n}`, 0)
    expect(table.size).toBe(1000)
    for (let n = 0; n < 300; n += 1) take(table, 'new', 2000 + n * 2000)
    expect(table.size).toBe(1)
  })

  test('keeps its bound under 1,000,000 identities', () => {
    const table = buckets({ perMinute: 60, burst: 10, maxKeys: 50_000 })
    let largest = 0
    for (let n = 0; n < 1_000_000; n += 1) {
      take(table, String(n), n / 1000)
      largest = Math.max(largest, table.size)
    }
    expect(largest).toBeLessThanOrEqual(50_000)
  })

  test('never brings an exhausted bucket back to life by eviction', () => {
    const table = buckets({ perMinute: 1, burst: 2, maxKeys: 100 })
    take(table, 'exhausted', 0)
    take(table, 'exhausted', 0)
    for (let n = 0; n < 10_000; n += 1) take(table, `stranger${n}`, n / 100)
    expect(take(table, 'exhausted', 100)).toBe(false)
    expect(take(table, 'exhausted', 59_999)).toBe(false)
    expect(take(table, 'exhausted', 60_000)).toBe(true)
  })

  test('forgets nothing that is owed, whenever in its turn it was taken', () => {
    for (let spentAt = 0; spentAt <= 20_000; spentAt += 700) {
      const table = buckets({ perMinute: 60, burst: 10 })
      const until = spentAt + 9500
      for (let now = 0; now < until; now += 100) {
        if (now === spentAt) for (let n = 0; n < 10; n += 1) take(table, 'spent', now)
        take(table, `other${now % 5000}`, now)
      }
      const passed = Array.from({ length: 10 }, () => take(table, 'spent', until))
      expect([spentAt, passed.filter(Boolean).length]).toEqual([spentAt, 9])
    }
  })

  test('counts a bucket once, whenever it was used', () => {
    const table = buckets({ perMinute: 60, burst: 10 })
    for (let now = 0; now < 100_000; now += 3000) {
      for (const key of ['a', 'b', 'c']) expect(take(table, key, now)).toBe(true)
      expect(table.size).toBe(3)
    }
    take(table, 'd', 200_000)
    take(table, 'd', 211_000)
    expect(table.size).toBe(1)
  })

  test('full, it refuses newcomers and serves those it knows, until a bucket has filled', () => {
    const table = buckets({ perMinute: 60, burst: 2, maxKeys: 3 })
    for (const key of ['a', 'b', 'c']) take(table, key, 0)
    expect(table.take('d', 10)).toMatchObject({
      allowed: false,
      remaining: 0,
      retryAfterSeconds: 1,
    })
    expect(take(table, 'a', 10)).toBe(true)
    expect(table.size).toBe(3)
    expect(take(table, 'd', 1000)).toBe(true)
  })
})

test(
  'it equals a naive token bucket in floating point',
  seeded((random) => {
    for (let round = 0; round < 60; round += 1) {
      const perMinute = 1 + random.int(random.pick([10, 100, 10_000]))
      const burst = 1 + random.int(random.pick([3, 50]))
      const perMs = perMinute / 60_000
      const table = buckets({ perMinute, burst })
      const models = new Map<string, { tokens: number; at: number }>()
      const given = new Map<string, number>()
      let now = random.int(1_000_000)
      for (let step = 0; step < 400; step += 1) {
        now += random.next() * random.pick([0, 1, 1 / perMs, (3 * burst) / perMs])
        const key = random.pick(['a', 'b', 'c'])
        const model = models.get(key) ?? { tokens: burst, at: now }
        model.tokens = Math.min(burst, model.tokens + (now - model.at) * perMs)
        model.at = now
        models.set(key, model)
        if (random.int(8) === 0 && (given.get(key) ?? 0) > 0) {
          table.giveBack(key, now)
          model.tokens = Math.min(burst, model.tokens + 1)
          given.set(key, 0)
          continue
        }
        const decision = table.take(key, now)
        // On the very edge, rounding may decide either way; the model follows.
        const onEdge = Math.abs(model.tokens - 1) < 1e-6 + 2e-3 * perMs
        if (!onEdge) expect([step, decision.allowed]).toEqual([step, model.tokens >= 1])
        if (decision.allowed) {
          model.tokens = Math.max(0, model.tokens - 1)
          given.set(key, 1)
          expect(decision.retryAfterSeconds).toBe(0)
        } else {
          const waitMs = (1 - model.tokens) / perMs
          expect(decision.retryAfterSeconds * 1000).toBeCloseTo(waitMs, 2)
          expect(decision.retryAfterSeconds).toBeGreaterThan(0)
        }
        expect(Math.abs(decision.remaining - model.tokens)).toBeLessThan(1 + 1e-3)
        expect(decision.resetSeconds * 1000).toBeCloseTo((burst - model.tokens) / perMs, 2)
      }
    }
  }),
)

test(
  'a caller that returns after exactly retryAfter is served, and a moment earlier is not',
  seeded((random) => {
    for (let round = 0; round < 500; round += 1) {
      const perMinute = 1 + random.int(600)
      const table = buckets({ perMinute, burst: 1 + random.int(5) })
      const now = random.next() * 1e7
      let decision = table.take('a', now)
      while (decision.allowed) decision = table.take('a', now)
      const waitMs = decision.retryAfterSeconds * 1000
      expect(take(table, 'a', now + waitMs * 0.999)).toBe(false)
      expect(take(table, 'a', now + waitMs)).toBe(true)
    }
  }),
)
