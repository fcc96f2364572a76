import { expect, test } from 'bun:test'
import { concurrency } from '../../src/state/memory/concurrency.ts'
import type { Lease } from '../../src/state/port.ts'
import { seeded } from '../support/random.ts'

/** Places of which each identity may have so many. */
const limitedTo = (total: number, most: number) => {
  const places = concurrency(() => total)
  return {
    acquire: (identity: string) => places.acquire(identity, most),
    get underWay() {
      return places.underWay
    },
  }
}
const lease = (places: ReturnType<typeof limitedTo>, identity: string): Lease => {
  const decision = places.acquire(identity)
  if (!decision.ok) throw new Error(decision.code)
  return decision.value
}

test('the limit of an identity and that of all are two limits', () => {
  const places = limitedTo(3, 2)
  lease(places, 'a')
  lease(places, 'a')
  expect(places.acquire('a')).toMatchObject({
    code: 'identity_concurrency_limit',
    retryAfterSeconds: 1,
  })
  lease(places, 'b')
  expect(places.acquire('b')).toMatchObject({
    code: 'upstream_concurrency_limit',
    retryAfterSeconds: 1,
  })
  expect(places.underWay).toBe(3)
})

test('a caller over its own limit learns nothing about others', () => {
  const places = limitedTo(1, 1)
  lease(places, 'a')
  expect(places.acquire('a')).toMatchObject({ code: 'identity_concurrency_limit' })
})

test('an organisation has a limit besides those of its members', () => {
  const places = concurrency(() => 10)
  const first = places.acquire('a', 2, 'org', 3)
  places.acquire('a', 2, 'org', 3)
  places.acquire('b', 2, 'org', 3)
  expect(places.acquire('a', 2, 'org', 3)).toMatchObject({ code: 'identity_concurrency_limit' })
  expect(places.acquire('b', 2, 'org', 3)).toMatchObject({
    code: 'organisation_concurrency_limit',
    retryAfterSeconds: 1,
  })
  expect(places.underWay).toBe(3)
  expect(places.acquire('b', 2, 'other', 3).ok).toBe(true)
  expect(places.acquire('org', 2).ok).toBe(true)
  if (first.ok) first.value.release()
  if (first.ok) first.value.release()
  expect(places.acquire('c', 2, 'org', 3).ok).toBe(true)
  expect(places.acquire('c', 2, 'org', 3).ok).toBe(false)
})

test('0 refuses everything, and an absent limit nothing', () => {
  const places = concurrency(() => 100)
  expect(places.acquire('a', 0)).toMatchObject({ code: 'identity_concurrency_limit' })
  for (let n = 0; n < 50; n += 1) expect(places.acquire('a', undefined, 'o').ok).toBe(true)
})

test('a place given back can be taken again, and given back twice it is still one place', () => {
  const places = limitedTo(2, 2)
  const first = lease(places, 'a')
  lease(places, 'a')
  first.release()
  first.release()
  first.release()
  expect(places.underWay).toBe(1)
  lease(places, 'a')
  expect(places.acquire('a').ok).toBe(false)
})

test("giving back an old lease does not give back the identity's next one", () => {
  const places = limitedTo(10, 1)
  const first = lease(places, 'a')
  first.release()
  lease(places, 'a')
  first.release()
  expect(places.acquire('a').ok).toBe(false)
})

test('a refusal holds nothing', () => {
  const places = limitedTo(1, 5)
  const held = lease(places, 'a')
  for (let n = 0; n < 100; n += 1) places.acquire('b')
  held.release()
  expect(places.underWay).toBe(0)
  lease(places, 'b')
})

test('identities that hold nothing take no memory', () => {
  const places = limitedTo(1e6, 1)
  const before = heap()
  for (let n = 0; n < 200_000; n += 1) lease(places, `identity-${n}`.padEnd(64, '-')).release()
  expect(places.underWay).toBe(0)
  expect(heap() - before).toBeLessThan(8_000_000)
})

function heap(): number {
  Bun.gc(true)
  return process.memoryUsage().heapUsed
}

test(
  'any history: the counts equal the held leases',
  seeded((random) => {
    const places = limitedTo(12, 4)
    const held: { identity: string; lease: Lease }[] = []
    const gone: Lease[] = []
    for (let step = 0; step < 5000; step += 1) {
      const action = random.int(10)
      if (action < 5) {
        const identity = random.pick(['a', 'b', 'c', 'd', 'e'])
        const mine = held.filter((each) => each.identity === identity).length
        const decision = places.acquire(identity)
        expect(decision.ok).toBe(mine < 4 && held.length < 12)
        if (decision.ok) held.push({ identity, lease: decision.value })
      } else if (action < 9 && held.length > 0) {
        const [one] = held.splice(random.int(held.length), 1)
        one?.lease.release()
        if (one) gone.push(one.lease)
      } else if (gone.length > 0) {
        random.pick(gone).release()
      }
      expect(places.underWay).toBe(held.length)
    }
  }),
)
