// The list of what is under way: who is in it, and that nobody stays who has left.

import { expect, test } from 'bun:test'
import { edenGC, fullGC, heapSize } from 'bun:jsc'
import { type Placed, Unordered } from '../src/turn/unordered.ts'

interface Named extends Placed {
  readonly name: string
}

const named = (name: string): Named => ({ name, place: -1 })
const namesIn = (list: Unordered<Named>): string =>
  list
    .all()
    .map(({ name }) => name)
    .toSorted()
    .join('')

test('holds each entry once until it is deleted', () => {
  const list = new Unordered<Named>()
  const [a, b, c] = [named('a'), named('b'), named('c')]
  for (const each of [a, b, c]) list.add(each)
  expect(namesIn(list)).toBe('abc')
  expect(list.delete(a)).toBe(true)
  expect(list.delete(a)).toBe(false)
  expect(namesIn(list)).toBe('bc')
  expect(list.delete(c)).toBe(true)
  list.add(a)
  expect(namesIn(list)).toBe('ab')
  expect(list.delete(b)).toBe(true)
  expect(list.delete(a)).toBe(true)
  expect([list.size, namesIn(list)]).toEqual([0, ''])
})

test('an entry that was never added cannot be deleted', () => {
  const list = new Unordered<Named>()
  list.add(named('a'))
  expect(list.delete(named('b'))).toBe(false)
  expect(list.size).toBe(1)
})

test('entries may be deleted during an iteration', () => {
  const list = new Unordered<Named>()
  const all = [...'abcdef'].map(named)
  for (const each of all) list.add(each)
  let seen = ''
  for (const each of list.all()) {
    seen += each.name
    for (const other of all) list.delete(other)
  }
  expect(seen).toBe('abcdef')
  expect(list.size).toBe(0)
})

test('a deleted entry does not outlive a minor collection', () => {
  const list = new Unordered<Placed & { readonly body: readonly object[] }>()
  const here: (Placed & { readonly body: readonly object[] })[] = []
  fullGC()
  const before = heapSize()
  for (let n = 0; n < 20_000; n += 1) {
    const item = { place: -1, body: Array.from({ length: 20 }, (_, at) => ({ at })) }
    list.add(item)
    here.push(item)
    const gone = here.length > 40 ? here.shift() : undefined
    if (gone) list.delete(gone)
    if (n % 500 === 0) edenGC()
  }
  edenGC()
  // Of a Set, whose outgrown tables keep one another and all that was in them: over 10 MB.
  expect(heapSize() - before).toBeLessThan(2_000_000)
})
