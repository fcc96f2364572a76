// Groups of remembered tokens: each list once, in its order, however many there were before it.

import { expect, test } from 'bun:test'
import { keptGroups } from '../../src/admit/groups.ts'

test('equal lists are one list, and lists that read alike are not', () => {
  const kept = keptGroups()
  expect(kept(['a', 'b'])).toBe(kept(['a', 'b']))
  expect(kept(['b', 'a'])).toEqual(['b', 'a'])
  expect(kept(['a,b'])).toEqual(['a,b'])
  expect(kept(['a"', '"b'])).toEqual(['a"', '"b'])
  expect(kept([])).toBe(kept([]))
  expect(kept([''])).toEqual([''])
})

test('a returned list cannot be changed', () => {
  const given = ['a']
  const list = keptGroups()(given)
  given.push('admin')
  expect(list).toEqual(['a'])
  expect(Object.isFrozen(list)).toBe(true)
})

test('a hundred thousand different lists stay correct', () => {
  const kept = keptGroups()
  for (let n = 0; n < 100_000; n += 1) {
    const list = kept([`group-${n}`, 'all'])
    if (list[0] !== `group-${n}` || list.length !== 2) throw new Error(`not list ${n}`)
  }
})
