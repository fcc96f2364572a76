// One caller under several names, after a change of IDENTITY_HASH_KEY: no name has room of its own.

import { expect, test } from 'bun:test'
import { ratedBuckets } from '../../src/state/memory/bucket.ts'
import { concurrency } from '../../src/state/memory/concurrency.ts'
import { spendCaps } from '../../src/state/memory/spend.ts'
import { bucketRate } from '../../src/state/rate.ts'

const NOW = Date.parse('2026-11-20T12:00:00Z')

test('a rate that is used up stays so', () => {
  const table = ratedBuckets()
  const rate = bucketRate(60, 2)
  expect([0, 1, 2].map((at) => table.take('old', rate, at).allowed)).toEqual([true, true, false])
  expect(table.take('new', rate, 3, ['old']).allowed).toBe(false)
  expect(table.take('other', rate, 3, ['unknown']).allowed).toBe(true)
  // It fills as it would have, and is the new name's alone from then on.
  expect(table.take('new', rate, 1004, ['old']).allowed).toBe(true)
  expect(table.take('new', rate, 1005, ['old']).allowed).toBe(false)
})

test('places that are held count, until they are given back', () => {
  const places = concurrency(() => 100)
  const first = places.acquire('old', 2)
  const second = places.acquire('new', 2, undefined, undefined, ['old'])
  expect([first.ok, second.ok]).toEqual([true, true])
  expect(places.acquire('new', 2, undefined, undefined, ['old']).ok).toBe(false)
  if (first.ok) first.value.release()
  expect(places.acquire('new', 2, undefined, undefined, ['old']).ok).toBe(true)
})

test('spending, credits and reservations under all names form one account', () => {
  const caps = spendCaps()
  const scope = (key: string, former?: readonly string[]) =>
    ({ key, period: 'month', capMicroUsd: 100, former }) as const
  caps.restore('older', 30, '2026-11')
  const underWay = caps.reserve([scope('old')], 40, NOW)
  const reserve = (amount: number) => caps.reserve([scope('new', ['old', 'older'])], amount, NOW)
  expect(reserve(31)).toMatchObject({ ok: false, reason: 'reserved' })
  // It settles where it was reserved, and is counted all the same.
  if (underWay.ok) underWay.reservation.settle(50)
  expect(reserve(21)).toMatchObject({ ok: false, reason: 'cap_reached' })
  expect(caps.credit('old', 5, '2026-11')).toBe(true)
  const taken = reserve(21)
  expect(taken.ok).toBe(true)
  expect(caps.read('new', NOW, 'month', ['old', 'older'])).toEqual({
    spentMicroUsd: 75,
    estimatedMicroUsd: 0,
    creditedMicroUsd: 5,
    reservedMicroUsd: 21,
  })
  if (taken.ok) taken.reservation.settle(25)
  expect(reserve(1)).toMatchObject({ ok: false, reason: 'cap_reached' })
})
