import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Database } from 'bun:sqlite'
import { atOnce, type Pieces } from '../../src/ledger/sqlite/in-pieces.ts'
import {
  lastRequests,
  MAX_PAGE_ROWS,
  requestsInPieces,
} from '../../src/ledger/sqlite/last-requests.ts'
import type { Metered, Opening, Outcome } from '../../src/ledger/port.ts'
import { connectionTo } from '../support/connection.ts'
import { usageByUser } from '../../src/ledger/sqlite/usage-by-user.ts'
import { sqliteLedger } from '../../src/ledger/sqlite/writer.ts'
import {
  spentInPieces,
  usageBy,
  usageSums,
  usageSumsInPieces,
} from '../../src/ledger/sqlite/usage-report.ts'
import { usageStats } from '../../src/ledger/sums.ts'
import { USAGE_GROUPS, type UsageFilter } from '../../src/ledger/reports.ts'
import {
  measure,
  NOON,
  opened,
  opening,
  openLedgerFile,
  outcome,
  recordingLog,
} from './ledger-parts.ts'

const DAY = 86_400_000

function ledgerOf(rows: readonly (readonly [Partial<Opening>, Partial<Outcome>?])[]): Database {
  const database = opened(openLedgerFile(':memory:'))
  const { log } = recordingLog()
  const ledger = sqliteLedger(connectionTo(database), { log, nowMs: NOON })
  for (const [begin, end] of rows) {
    const entry = ledger.open(opening(begin))
    if (end) ledger.close(entry, outcome(end))
  }
  ledger.flush(NOON)
  return database
}

const cost = (costMicroUsd: number): Partial<Outcome> => ({
  usage: { state: 'exact', measured: measure({ costMicroUsd }) },
})

describe('sums', () => {
  let database: Database
  beforeAll(() => {
    const estimated: Metered = {
      state: 'estimated',
      estimated: measure({ costMicroUsd: 9_000_000 }),
    }
    database = ledgerOf([
      [{ openedAtMs: NOON - 2 * DAY, device: 'a', org: 'x', model: 'm1' }, cost(100)],
      [{ openedAtMs: NOON - DAY, device: 'a', org: 'x', model: 'm2' }, cost(200)],
      [{ openedAtMs: NOON, device: 'b', org: 'x', model: 'm1' }, cost(300)],
      [
        { openedAtMs: NOON, device: 'c', org: 'y', model: 'm1' },
        { ...cost(400), status: 500 },
      ],
      [{ openedAtMs: NOON, device: 'c', org: 'y', model: 'm1' }, { usage: estimated }],
      [{ openedAtMs: NOON, device: 'c', org: 'y', model: 'm1' }],
    ])
  })
  afterAll(() => database.close())

  test('by day in order, by anything else the dearest first', () => {
    const keys = (by: (typeof USAGE_GROUPS)[number]) =>
      usageBy(database, by, {}).rows.map(({ key, costMicroUsd }) => [key, costMicroUsd])
    expect(keys('day')).toEqual([
      ['2026-11-18', 100],
      ['2026-11-19', 200],
      ['2026-11-20', 700],
    ])
    expect(keys('model')).toEqual([
      ['m1', 800],
      ['m2', 200],
    ])
    expect(keys('device')).toEqual([
      ['c', 400],
      ['a', 300],
      ['b', 300],
    ])
    expect(keys('org')).toEqual([
      ['x', 600],
      ['y', 400],
    ])
  })

  test('filters narrow rows and total alike, by whole UTC days', () => {
    const midnight = Date.UTC(2026, 10, 20)
    const table = usageBy(database, 'day', { sinceMs: NOON - DAY, untilMs: midnight, org: 'x' })
    expect(table.rows.map(({ key }) => key)).toEqual(['2026-11-19'])
    expect(table.total).toMatchObject({ requests: 1, costMicroUsd: 200 })
    expect(usageSums(database, { device: 'a', model: 'm1' }).costMicroUsd).toBe(100)
    expect(usageSums(database, { device: 'nobody' })).toMatchObject({
      requests: 0,
      averageLatencyMs: 0,
    })
  })

  test('a limit leaves groups off, says how many, and keeps them in the total', () => {
    const table = usageBy(database, 'device', {}, 1)
    expect(table).toMatchObject({ leftOff: 2, total: { requests: 5, costMicroUsd: 1000 } })
    expect(table.rows).toHaveLength(1)
  })

  test("stats are system C's, and what is under way is not among them yet", () => {
    expect(usageStats(usageSums(database, {}))).toEqual({
      totalRequests: 5,
      totalInputTokens: 40,
      totalOutputTokens: 80,
      totalCacheReadTokens: 12_000,
      totalCacheCreationTokens: 1600,
      totalCostMicroUsd: 1000,
      averageLatency: 900,
      successRate: 80,
    })
    expect(usageStats(usageSums(database, { device: 'nobody' }))).toMatchObject({ successRate: 0 })
  })

  test('what each has spent has the estimates too', () => {
    expect(atOnce(spentInPieces(database, NOON - DAY)).device).toEqual(
      new Map([
        ['a', { chargedMicroUsd: 200, estimatedMicroUsd: 0 }],
        ['b', { chargedMicroUsd: 300, estimatedMicroUsd: 0 }],
        ['c', { chargedMicroUsd: 9_000_400, estimatedMicroUsd: 9_000_000 }],
      ]),
    )
    expect(atOnce(spentInPieces(database, 0)).org.get('y')?.chargedMicroUsd).toBe(9_000_400)
  })

  test('pieces of whatever size add up to the whole, whichever index they go by', () => {
    const inPieces = <T>(pieces: Pieces<T>, rows: number): T => {
      pieces.next(0)
      for (let count = 0; count < 100; count++) {
        const step = pieces.next(rows)
        if (step.done) return step.value
      }
      throw new Error('no end')
    }
    const at = [NOON - 2 * DAY, NOON - DAY, NOON, NOON + DAY]
    for (const device of [undefined, 'a', 'b', 'nobody', '']) {
      for (const org of [undefined, 'x', 'y', '']) {
        for (const model of [undefined, 'm1', '']) {
          for (const [sinceMs, untilMs] of [[], [at[1]], [at[0], at[2]], [at[2], at[1]]]) {
            const given = { sinceMs, untilMs, device, org, model }
            const filter: UsageFilter = JSON.parse(JSON.stringify(given))
            const { total } = usageBy(database, 'day', filter)
            const rows = usageBy(database, 'day', filter).rows
            expect(total.requests).toBe(rows.reduce((sum, row) => sum + row.requests, 0))
            for (const size of [1, 2, 3, 1000]) {
              expect(inPieces(usageSumsInPieces(database, filter), size)).toEqual(total)
              expect(inPieces(requestsInPieces(database, filter, {}), size)?.rows).toEqual(
                lastRequests(database, filter)?.rows ?? [],
              )
            }
          }
        }
      }
    }
    expect(inPieces(spentInPieces(database, 0), 1)).toEqual(atOnce(spentInPieces(database, 0)))
  })

  test('a filter is a value, never SQL and never a pattern', () => {
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
        expect(usageSums(database, filter).requests, text).toBe(0)
        expect(lastRequests(database, filter)?.rows, text).toEqual([])
        for (const by of USAGE_GROUPS) expect(usageBy(database, by, filter).rows).toEqual([])
      }
      expect(lastRequests(database, {}, { before: text }), text).toBeUndefined()
    }
    expect(usageSums(database, {}).requests).toBe(5)
  })
})

describe('the last requests', () => {
  test('come newest first, page by page, each once, whatever is written meanwhile', () => {
    const rows = Array.from({ length: 250 }, (_, row) => {
      // Many in one millisecond: the cursor must not skip or repeat among them.
      const openedAtMs = NOON + Math.floor(row / 40)
      return [{ openedAtMs, requestId: `r${row}`, device: row % 2 ? 'odd' : 'even' }, {}] as const
    })
    const database = ledgerOf(rows)
    const seen: string[] = []
    let before: string | undefined
    for (let pages = 0; pages < 20; pages++) {
      const page = lastRequests(
        database,
        { device: 'odd' },
        before === undefined ? { limit: 30 } : { limit: 30, before },
      )
      if (!page) throw new Error('refused its own cursor')
      seen.push(...page.rows.map(({ requestId }) => requestId))
      database.run(
        `INSERT INTO ledger (run, day, opened_ms, request_id, identity, device, org, route,
          upstream, model, usage) VALUES (1, 0, ${NOON + 99}, 'new', '', 'odd', '', '', '', '', 'unknown')`,
      )
      before = page.next
      if (before === undefined) break
    }
    const odd = rows.map(([{ requestId }]) => requestId).filter((_, row) => row % 2 === 1)
    expect(seen).toEqual(odd.toReversed())
    database.close()
  })

  test('a row is told in full, under way or ended', () => {
    const tools = { webSearch: 2, webFetch: 0, codeExecution: 1, other: 0 }
    const measured = measure({ tools, priceClass: 'speed:fast', reasoning: 8 })
    const database = ledgerOf([
      [{ requestId: 'ended' }, { usage: { state: 'exact', measured } }],
      [{ requestId: 'running' }],
    ])
    expect(usageSums(database, {}).tools).toEqual(tools)
    expect(usageSums(database, {}).reasoningTokens).toBe(8)
    const page = lastRequests(database, {})
    expect(page?.next).toBeUndefined()
    // Closed rows are written first; both were opened in one millisecond.
    const [running, ended] = page?.rows ?? []
    expect(running).toMatchObject({ requestId: 'running', end: null, status: null })
    expect(ended).toEqual({
      requestId: 'ended',
      openedAt: '2026-11-20T12:00:00.000Z',
      identity: 'who',
      device: 'device-1',
      org: 'org-1',
      route: '/v1/messages',
      model: 'claude-sonnet-4-5',
      upstream: 'anthropic',
      status: 200,
      end: 'complete',
      usage: 'exact',
      inputTokens: 10,
      outputTokens: 20,
      cacheReadTokens: 3000,
      cacheCreationTokens: 400,
      costMicroUsd: 1234,
      estimatedInputTokens: null,
      estimatedOutputTokens: null,
      estimatedCacheReadTokens: null,
      estimatedCacheCreationTokens: null,
      estimatedCostMicroUsd: null,
      firstByteMs: 120,
      durationMs: 900,
      webSearchRequests: 2,
      webFetchRequests: 0,
      codeExecutionRequests: 1,
      otherToolRequests: 0,
      priceClass: 'speed:fast',
      reasoningTokens: 8,
    })
    database.close()
  })

  test('a rare model is looked for in bounded steps, and found', () => {
    const rows = Array.from({ length: 12_000 }, (_, row) => {
      return [{ openedAtMs: NOON + row, model: row === 3 ? 'rare' : 'common' }, {}] as const
    })
    const database = ledgerOf(rows)
    const pages: number[] = []
    let before: string | undefined
    for (let count = 0; count < 10; count++) {
      const page = lastRequests(
        database,
        { device: 'device-1', model: 'rare' },
        before === undefined ? {} : { before },
      )
      pages.push(page?.rows.length ?? -1)
      before = page?.next
      if (before === undefined) break
    }
    expect(pages).toEqual([0, 0, 1])
    database.close()
  })

  test('no page is longer than its bound, whatever is asked for', () => {
    const database = ledgerOf(Array.from({ length: 150 }, () => [{}, {}] as const))
    for (const limit of [1e9, Infinity, Number.NaN, 0]) {
      expect(lastRequests(database, {}, { limit })?.rows).toHaveLength(MAX_PAGE_ROWS)
    }
    for (const limit of [1, -5, 0.5]) {
      expect(lastRequests(database, {}, { limit })?.rows).toHaveLength(1)
    }
    database.close()
  })

  test('an index leads to them, so that a million other rows cost nothing', () => {
    const database = ledgerOf([[{}, {}]])
    const plan = (where: string): string =>
      database
        .query<{ detail: string }, []>(
          `EXPLAIN QUERY PLAN SELECT * FROM ledger ${where} ORDER BY opened_ms DESC, id DESC LIMIT 100`,
        )
        .all()
        .map(({ detail }) => detail)
        .join('\n')
    for (const [where, index] of [
      [
        "WHERE device = 'a' AND device <> '' AND opened_ms >= 1 AND (opened_ms, id) < (9, 9)",
        'ledger_by_device',
      ],
      ["WHERE org = 'a' AND org <> '' AND (opened_ms, id) < (9, 9)", 'ledger_by_org'],
      ['WHERE (opened_ms, id) < (9, 9)', 'ledger_by_time'],
    ] as const) {
      expect(plan(where)).toContain(index)
      expect(plan(where)).not.toContain('TEMP B-TREE')
    }
    database.close()
  })
})

describe('what counts', () => {
  test('our own refusals are requests, and neither unknown usage nor slow', () => {
    const refused: Partial<Outcome> = {
      end: 'refused',
      status: 429,
      usage: { state: 'unknown' },
      durationMs: 1,
    }
    const failed: Partial<Outcome> = {
      end: 'upstream_error',
      status: 502,
      usage: { state: 'unknown' },
      durationMs: 500,
    }
    const database = ledgerOf([
      [{}, { ...cost(1), durationMs: 1500, firstByteMs: 100 }],
      [{}, refused],
      [{}, refused],
      [{}, failed],
    ])
    expect(usageSums(database, {})).toMatchObject({
      requests: 4,
      succeeded: 1,
      unknown: 1,
      averageLatencyMs: 1000,
    })
    database.close()
  })
})

describe('by user', () => {
  const HASH = 'ab12'.repeat(16)
  test('devices by whose they are, users without one by their hash, and the rest as nobody', () => {
    const none = { device: '', org: '', identity: HASH }
    const database = ledgerOf([
      [{ openedAtMs: NOON, device: 'laptop', org: 'x', model: 'm1' }, cost(100)],
      [{ openedAtMs: NOON - DAY, device: 'phone', org: 'x', model: 'm2' }, cost(200)],
      [{ openedAtMs: NOON, device: 'stray', org: 'x', model: 'm1' }, cost(50)],
      [{ openedAtMs: NOON, ...none, model: 'm1' }, cost(400)],
      [
        { openedAtMs: NOON - DAY, ...none, model: 'm1' },
        { ...cost(30), end: 'client_gone' },
      ],
      [{ openedAtMs: NOON, ...none, model: 'm1' }],
    ])
    const users = new Map([
      ['laptop', 'ann'],
      ['phone', 'ann'],
    ])
    const rows = (filter: UsageFilter) =>
      usageByUser(database, filter, users).rows.map(({ key, requests, costMicroUsd }) => [
        key,
        requests,
        costMicroUsd,
      ])
    expect(rows({})).toEqual([
      [HASH, 2, 430],
      ['ann', 2, 300],
      ['', 1, 50],
    ])
    expect(rows({ sinceMs: NOON })).toEqual([
      [HASH, 1, 400],
      ['ann', 1, 100],
      ['', 1, 50],
    ])
    expect(rows({ model: 'm2' })).toEqual([['ann', 1, 200]])
    expect(rows({ device: 'laptop' })).toEqual([['ann', 1, 100]])
    expect(usageByUser(database, {}, users).total).toEqual(usageSums(database, {}))

    // Rows are forgotten before their sums: what they were of is nobody's then.
    database.run("DELETE FROM ledger WHERE device = ''")
    expect(rows({})).toEqual([
      ['', 3, 480],
      ['ann', 2, 300],
    ])
    database.close()
  })
})
