// Names that callers choose, with a resolver that answers some and is silent about others.

import { describe, expect, test } from 'bun:test'
import type { Lookup } from '../../src/upstream/tinfoil/enclave.ts'
import { resolving } from '../../src/upstream/tinfoil/resolving.ts'

/** Silent about what begins with `silent`. */
function resolver() {
  const asked: string[] = []
  const lookup: Lookup = (name) => {
    asked.push(name)
    return name.startsWith('silent')
      ? new Promise(() => {})
      : Promise.resolve([{ address: '1.1.1.1' }])
  }
  return { asked, lookup }
}

const HOUR_MS = 3_600_000

describe('64 silent names of one identity', () => {
  test('leave the next name of another its answer at once, and of its own those it knows', async () => {
    const { asked, lookup } = resolver()
    const names = resolving(lookup, HOUR_MS)
    expect((await names.resolve('known.test', 'a', 0)).ok).toBe(true)
    const silent = Array.from({ length: 64 }, (_, at) => names.resolve(`silent${at}.test`, 'a', 0))
    const refused = (await Promise.all(silent.slice(4))).map((each) => (each.ok ? 'ok' : each.code))
    expect(new Set(refused)).toEqual(new Set(['identity_concurrency_limit']))
    expect(asked).toHaveLength(5)
    expect((await names.resolve('good.test', 'b', 0)).ok).toBe(true)
    expect((await names.resolve('known.test', 'a', 0)).ok).toBe(true)
    expect((await names.resolve('good.test', 'a', 0)).ok).toBe(true)
    const other = await names.resolve('other.test', 'a', 0)
    expect(!other.ok && [other.code, other.retryAfterSeconds]).toEqual([
      'identity_concurrency_limit',
      2,
    ])
  })

  test('are given up after a while, remembered, and their places are free', async () => {
    const { asked, lookup } = resolver()
    const names = resolving(lookup, 50)
    const outcomes = await Promise.all(
      Array.from({ length: 4 }, (_, at) => names.resolve(`silent${at}.test`, 'a', 0)),
    )
    expect(outcomes.map((each) => (each.ok ? 'ok' : each.code))).toEqual(
      Array.from({ length: 4 }, () => 'enclave_not_allowed'),
    )
    expect((await names.resolve('silent0.test', 'b', 9999)).ok).toBe(false)
    expect(asked).toHaveLength(4)
    expect((await names.resolve('good.test', 'a', 0)).ok).toBe(true)
    await names.resolve('silent0.test', 'b', 10_000)
    expect(asked).toHaveLength(6)
  })
})

test('a name is looked up once for all waiting identities', async () => {
  const { asked, lookup } = resolver()
  const names = resolving(lookup, HOUR_MS)
  const all = await Promise.all(
    Array.from({ length: 50 }, (_, at) => names.resolve('good.test', `id${at % 3}`, 0)),
  )
  expect(all.every(({ ok }) => ok)).toBe(true)
  expect(asked).toEqual(['good.test'])
})

test('all identities together have 64 lookups, and cached names stay available', async () => {
  const { asked, lookup } = resolver()
  const names = resolving(lookup, HOUR_MS)
  await names.resolve('known.test', 'x', 0)
  for (let at = 0; at < 64; at++) void names.resolve(`silent${at}.test`, `id${at >> 2}`, 0)
  const next = await names.resolve('next.test', 'another', 0)
  expect(!next.ok && next.code).toBe('upstream_concurrency_limit')
  expect((await names.resolve('known.test', 'another', 0)).ok).toBe(true)
  expect(asked).toHaveLength(65)
})

test('names without an address push out no name that has one', async () => {
  const asked: string[] = []
  const names = resolving(async (name) => {
    asked.push(name)
    return name.startsWith('none') ? [] : [{ address: '1.1.1.1' }]
  })
  await names.resolve('good.test', 'a', 0)
  for (let at = 0; at < 5000; at++) await names.resolve(`none${at}.test`, 'a', 0)
  expect((await names.resolve('good.test', 'a', 1)).ok).toBe(true)
  expect(asked.filter((name) => name === 'good.test')).toHaveLength(1)
})
