// What a ledger says was used.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { GateLedger } from '../../../src/ledger/engine.ts'
import type { Metered, Outcome } from '../../../src/ledger/port.ts'
import { USAGE_GROUPS, type UsageFilter, type UsageGroup } from '../../../src/ledger/reports.ts'
import { measure, NOON, recordingLog } from '../../settle/ledger-parts.ts'
import { DAY, valueOf } from './asking.ts'
import { type TestedEngine, type TestedLedger, write } from './tested.ts'

const cost = (costMicroUsd: number): Partial<Outcome> => ({
  usage: { state: 'exact', measured: measure({ costMicroUsd }) },
})

export function summing(engine: TestedEngine): void {
  let tested: TestedLedger
  let gate: GateLedger
  const total = async (filter: UsageFilter) =>
    (await tested.command.reports.usage('day', filter)).total

  beforeAll(async () => {
    tested = engine.make()
    gate = tested.gate({ log: recordingLog().log, flushEveryMs: 60_000 })
    const estimated: Metered = {
      state: 'estimated',
      estimated: measure({ costMicroUsd: 9_000_000 }),
    }
    await write(gate, [
      [{ openedAtMs: NOON - 2 * DAY, device: 'a', org: 'x', model: 'm1' }, cost(100)],
      [{ openedAtMs: NOON - DAY, device: 'a', org: 'x', model: 'm2' }, cost(200)],
      [{ device: 'b', org: 'x', model: 'm1' }, cost(300)],
      [
        { device: 'c', org: 'y', model: 'm1' },
        { ...cost(400), status: 500 },
      ],
      [{ device: 'c', org: 'y', model: 'm1' }, { usage: estimated }],
      [{ device: 'c', org: 'y', model: 'm1' }],
    ])
  })
  afterAll(async () => {
    await gate.ledger.stop(NOON)
    tested.remove()
  })

  test('by day in order, by anything else the dearest first', async () => {
    const keys = async (by: UsageGroup) =>
      (await tested.command.reports.usage(by, {})).rows.map(({ key, costMicroUsd }) => [
        key,
        costMicroUsd,
      ])
    expect(await keys('day')).toEqual([
      ['2026-11-18', 100],
      ['2026-11-19', 200],
      ['2026-11-20', 700],
    ])
    expect(await keys('model')).toEqual([
      ['m1', 800],
      ['m2', 200],
    ])
    expect(await keys('device')).toEqual([
      ['c', 400],
      ['a', 300],
      ['b', 300],
    ])
    expect(await keys('org')).toEqual([
      ['x', 600],
      ['y', 400],
    ])
  })

  test('filters narrow rows and total alike, by whole UTC days', async () => {
    const midnight = Date.UTC(2026, 10, 20)
    const filter = { sinceMs: NOON - DAY, untilMs: midnight, org: 'x' }
    const table = await tested.command.reports.usage('day', filter)
    expect(table.rows.map(({ key }) => key)).toEqual(['2026-11-19'])
    expect(table.total).toMatchObject({ requests: 1, costMicroUsd: 200 })
    expect((await total({ device: 'a', model: 'm1' })).costMicroUsd).toBe(100)
    const nobody = await total({ device: 'nobody' })
    expect(nobody).toMatchObject({ requests: 0, averageLatencyMs: 0 })
  })

  test('stats are those of the sums, and what is under way is not among them yet', async () => {
    expect(valueOf(await gate.reports.stats({}))).toEqual({
      totalRequests: 5,
      totalInputTokens: 40,
      totalOutputTokens: 80,
      totalCacheReadTokens: 12_000,
      totalCacheCreationTokens: 1600,
      totalCostMicroUsd: 1000,
      averageLatency: 900,
      successRate: 80,
    })
    expect(valueOf(await gate.reports.stats({ device: 'nobody' }))).toMatchObject({
      totalRequests: 0,
      successRate: 0,
    })
  })

  test('a filter is a value, never a statement and never a pattern', async () => {
    const attacks = [
      "' OR 1=1 --",
      "a' UNION SELECT token FROM ledger_run --",
      '%',
      '_',
      'a*',
      "'; DROP TABLE ledger; --",
      '\0',
      'A',
      'a ',
    ]
    for (const text of attacks) {
      for (const filter of [{ device: text }, { org: text }, { model: text }]) {
        expect((await total(filter)).requests, text).toBe(0)
        expect(valueOf(await gate.reports.requests(filter, {})).rows, text).toEqual([])
        for (const by of USAGE_GROUPS) {
          expect((await tested.command.reports.usage(by, filter)).rows).toEqual([])
        }
      }
      const page = await gate.reports.requests({}, { before: text })
      expect(page, text).toMatchObject({ ok: false, code: 'bad_request' })
    }
    expect((await total({})).requests).toBe(5)
  })

  test('our own refusals are requests, and neither unknown usage nor slow', async () => {
    const unknown = { usage: { state: 'unknown' } } as const
    const refused = { end: 'refused', status: 429, ...unknown, durationMs: 1 } as const
    const failed = { end: 'upstream_error', status: 502, ...unknown, durationMs: 500 } as const
    const who = { device: 'refused' }
    await write(gate, [
      [who, { ...cost(1), durationMs: 1500, firstByteMs: 100 }],
      [who, refused],
      [who, refused],
      [who, failed],
    ])
    expect(await total(who)).toMatchObject({
      requests: 4,
      succeeded: 1,
      unknown: 1,
      averageLatencyMs: 1000,
    })
  })

  test('by user: devices by whose they are, users without one by their hash, the rest as nobody', async () => {
    const hash = 'ab12'.repeat(16)
    const org = 'of users'
    const none = { device: '', identity: hash, org }
    await write(gate, [
      [{ device: 'laptop', org, model: 'm1' }, cost(100)],
      [{ openedAtMs: NOON - DAY, device: 'phone', org, model: 'm2' }, cost(200)],
      [{ device: 'stray', org, model: 'm1' }, cost(50)],
      [{ ...none, model: 'm1' }, cost(400)],
      [
        { openedAtMs: NOON - DAY, ...none, model: 'm1' },
        { ...cost(30), end: 'client_gone' },
      ],
      [{ ...none, model: 'm1' }],
    ])
    const users = new Map([
      ['laptop', 'ann'],
      ['phone', 'ann'],
    ])
    const byUser = (filter: UsageFilter) =>
      tested.command.reports.usageByUser({ org, ...filter }, users)
    const rows = async (filter: UsageFilter) =>
      (await byUser(filter)).rows.map(({ key, requests, costMicroUsd }) => [
        key,
        requests,
        costMicroUsd,
      ])
    expect(await rows({})).toEqual([
      [hash, 2, 430],
      ['ann', 2, 300],
      ['', 1, 50],
    ])
    expect(await rows({ sinceMs: NOON })).toEqual([
      [hash, 1, 400],
      ['ann', 1, 100],
      ['', 1, 50],
    ])
    expect(await rows({ model: 'm2' })).toEqual([['ann', 1, 200]])
    expect(await rows({ device: 'laptop' })).toEqual([['ann', 1, 100]])
    expect((await byUser({})).total).toEqual(await total({ org }))
  })

  test('by user: rows are deleted before their sums, and what they were of is nobody’s then', async () => {
    const own = engine.make()
    const gate = own.gate({ log: recordingLog().log, flushEveryMs: 60_000 })
    const before = NOON - 2 * DAY
    await write(gate, [[{ openedAtMs: before, device: '', identity: 'ann' }, cost(7)]])
    const keys = async () =>
      (await own.command.reports.usageByUser({}, new Map())).rows.map(({ key }) => key)
    expect(await keys()).toEqual(['ann'])
    expect(await gate.ledger.deleteBefore(NOON, before)).toBe(1)
    expect(await keys()).toEqual([''])
    await gate.ledger.stop(NOON)
    own.remove()
  })
}
