// What waits for its turn: whatever comes and goes, in the order in which it came.

import { expect, test } from 'bun:test'
import { InOrder, type Linked } from '../../src/ledger/in-order.ts'
import { seeded } from '../support/random.ts'

interface Item extends Linked<Item> {
  readonly name: number
}

const item = (name: number): Item => ({
  name,
  chain: undefined,
  before: undefined,
  after: undefined,
})

function names(chain: InOrder<Item>): number[] {
  const found: number[] = []
  for (let each = chain.first; each; each = each.after) found.push(each.name)
  return found
}

test(
  'it keeps the order of arrival, whichever entries leave and return',
  seeded(({ int, pick }) => {
    const chain = new InOrder<Item>()
    const items = Array.from({ length: 20 }, (_, name) => item(name))
    let expected: number[] = []
    for (let step = 0; step < 3000; step += 1) {
      const one = pick(items)
      const isIn = expected.includes(one.name)
      if (int(2) === 0) {
        expect(chain.delete(one)).toBe(isIn)
        expected = expected.filter((name) => name !== one.name)
      } else if (!isIn) {
        chain.add(one)
        expected.push(one.name)
      }
      expect(names(chain)).toEqual(expected)
      expect(chain.size).toBe(expected.length)
    }
  }),
)

test('an entry of another chain is not in this one', () => {
  const [one, other] = [new InOrder<Item>(), new InOrder<Item>()]
  const each = item(1)
  one.add(each)
  expect(other.delete(each)).toBe(false)
  expect(names(one)).toEqual([1])
  expect(one.delete(each)).toBe(true)
  expect([one.size, other.size]).toEqual([0, 0])
})

test('a removed entry holds none of its neighbours', () => {
  const chain = new InOrder<Item>()
  const [first, second, third] = [item(1), item(2), item(3)]
  for (const each of [first, second, third]) chain.add(each)
  chain.delete(second)
  expect(second).toEqual(item(2))
  expect(names(chain)).toEqual([1, 3])
})
