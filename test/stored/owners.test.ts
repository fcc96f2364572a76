// Whose what an upstream keeps is: noted, written, found again by another process, and forgotten.

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatabaseFollower } from '../../src/database/follow.ts'
import { store } from '../../src/database/store.ts'
import { TABLES } from '../../src/gate/migrations.ts'
import { type Owners, owners } from '../../src/stored/owners.ts'
import { seeded } from '../support/random.ts'

const DAY_MS = 86_400_000
const NOW_MS = Date.UTC(2026, 10, 29)
const [ANNA, BERT] = ['a1'.repeat(32), 'b2'.repeat(32)]
const at = (monotonicMs: number, epochMs = NOW_MS) => ({
  epochSeconds: epochMs / 1000,
  monotonicMs,
})

let folder: string
let file: DatabaseFollower
let logged: string[]
let epochMs = NOW_MS
const log = {
  error: (_: object, text: string) => logged.push(text),
  info: (text: string) => logged.push(text),
} as never
const another = (maxWaiting?: number): Owners =>
  owners({
    connection: file.connect(),
    log,
    epochMs: () => epochMs,
    ...(maxWaiting && { maxWaiting }),
  })
const ownerOf = (of: Owners, id: string): unknown => {
  const found = of.ownerOf(id)
  return found.ok ? found.value : found.code
}
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-stored-'))
  file = store(join(folder, 'postern.db'), TABLES).follow(log)
  logged = []
  epochMs = NOW_MS
})
afterEach(() => {
  file.stop()
  rmSync(folder, { recursive: true })
})

test('known at once, and by another process once it is written; the first owner stays', () => {
  const [here, there] = [another(), another()]
  here.note('resp_1', { identity: ANNA, upstream: 'azure' }, NOW_MS)
  expect(ownerOf(here, 'resp_1')).toMatchObject({ identity: ANNA, upstream: 'azure' })
  expect(ownerOf(there, 'resp_1')).toBeUndefined()
  here.poll(at(0))
  expect(ownerOf(there, 'resp_1')).toEqual({ identity: ANNA, upstream: 'azure' })
  there.note('resp_1', { identity: BERT, upstream: 'local' }, NOW_MS)
  expect(ownerOf(there, 'resp_1')).toEqual({ identity: ANNA, upstream: 'azure' })
  there.poll(at(0))
  expect(ownerOf(here, 'resp_1')).toEqual({ identity: ANNA, upstream: 'azure' })
})

test(
  'attack: of 10,000 other ids none is anybody’s',
  seeded((random) => {
    const here = another()
    const ids = Array.from({ length: 500 }, () => `resp_${random.int(2 ** 31).toString(16)}`)
    for (const id of ids) here.note(id, { identity: ANNA, upstream: 'a' }, NOW_MS)
    while (here.poll(at(0))) continue
    for (let round = 0; round < 10_000; round += 1) {
      const id = `resp_${random.int(2 ** 31).toString(16)}x`
      expect(ownerOf(here, id)).toBeUndefined()
    }
    for (const id of ids) expect(ownerOf(here, id)).toMatchObject({ identity: ANNA })
  }),
)

test('a month later they are forgotten, some at a time', () => {
  const here = another()
  for (let n = 0; n < 700; n += 1) {
    here.note(`old_${n}`, { identity: ANNA, upstream: 'a' }, NOW_MS - 40 * DAY_MS)
  }
  here.note('young', { identity: ANNA, upstream: 'a' }, NOW_MS - 20 * DAY_MS)
  let turns = 0
  while (here.poll(at(0))) turns += 1
  expect(turns).toBeGreaterThan(1)
  expect(ownerOf(here, 'old_0')).toBeUndefined()
  expect(ownerOf(here, 'old_699')).toBeUndefined()
  expect(ownerOf(here, 'young')).toMatchObject({ upstream: 'a' })
})

test('what stays until it is deleted is remembered for a year, and then for a month since its last use', () => {
  const here = another()
  here.note('file-1', { identity: ANNA, upstream: 'a' }, NOW_MS, true)
  here.note('resp_1', { identity: ANNA, upstream: 'a' }, NOW_MS)
  here.poll(at(0))
  here.poll(at(10_000_000, NOW_MS + 380 * DAY_MS))
  expect([ownerOf(here, 'file-1'), ownerOf(here, 'resp_1')]).toEqual([
    { identity: ANNA, upstream: 'a' },
    undefined,
  ])
  here.poll(at(20_000_000, NOW_MS + 397 * DAY_MS))
  expect(ownerOf(here, 'file-1')).toBeUndefined()
})

test("each use extends an owner's record by a month", () => {
  const [here, there] = [another(), another()]
  for (const id of ['used', 'unused']) here.note(id, { identity: ANNA, upstream: 'a' }, NOW_MS)
  here.poll(at(0))
  epochMs = NOW_MS + 20 * DAY_MS
  expect(ownerOf(there, 'used')).toMatchObject({ identity: ANNA })
  there.poll(at(0))
  const later = at(10_000_000, NOW_MS + 40 * DAY_MS)
  expect(here.poll(later)).toBe(false)
  expect(ownerOf(there, 'used')).toMatchObject({ identity: ANNA })
  expect(ownerOf(there, 'unused')).toBeUndefined()
})

test('while the disk fails they wait, no more than fit, and nothing is told of them that is not so', () => {
  let isFailing = false
  const inner = file.connect()
  const connection = {
    ...inner,
    get: () => {
      if (isFailing) throw new Error('disk')
      return inner.get()
    },
  }
  const here = owners({ connection, log, maxWaiting: 2 })
  isFailing = true
  for (const id of ['one', 'two', 'three']) {
    here.note(id, { identity: ANNA, upstream: 'a' }, NOW_MS)
    expect(here.poll(at(0))).toBe(false)
  }
  expect(ownerOf(here, 'three')).toMatchObject({ identity: ANNA })
  expect(ownerOf(here, 'one')).toBe('database_unavailable')
  isFailing = false
  expect(here.poll(at(0))).toBe(false)
  expect(ownerOf(here, 'one')).toBeUndefined()
  expect(ownerOf(here, 'two')).toMatchObject({ identity: ANNA })
  expect(logged).toEqual([
    'whose stored objects are cannot be written',
    'too many stored objects wait; the oldest go',
    'whose stored objects are can be written again',
  ])
})
