import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Database } from 'bun:sqlite'
import { atOnce, type Pieces } from '../../src/ledger/sqlite/in-pieces.ts'
import { lastRequests, requestsInPieces } from '../../src/ledger/sqlite/last-requests.ts'
import type { Metered, Opening, Outcome } from '../../src/ledger/port.ts'
import { connectionTo } from '../support/connection.ts'
import { sqliteLedger } from '../../src/ledger/sqlite/writer.ts'
import { spentInPieces, usageBy, usageSumsInPieces } from '../../src/ledger/sqlite/usage-report.ts'
import type { UsageFilter } from '../../src/ledger/reports.ts'
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

function inPieces<T>(pieces: Pieces<T>, rows: number): T {
  pieces.next(0)
  for (let count = 0; count < 100; count++) {
    const step = pieces.next(rows)
    if (step.done) return step.value
  }
  throw new Error('no end')
}

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

  test('a limit leaves groups off, says how many, and keeps them in the total', () => {
    const table = usageBy(database, 'device', {}, 1)
    expect(table).toMatchObject({ leftOff: 2, total: { requests: 5, costMicroUsd: 1000 } })
    expect(table.rows).toHaveLength(1)
  })

  test('pieces of whatever size add up to the whole, whichever index they go by', () => {
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
})

test('pieces of what persons have spent, too', () => {
  const database = ledgerOf(
    Array.from({ length: 30 }, (_, at) => {
      const openedAtMs = NOON - (at % 5) * DAY
      return [{ openedAtMs, identity: `p${at % 7}`, device: '', org: '' }, cost(at + 1)] as const
    }),
  )
  const persons = (rows: number) => inPieces(spentInPieces(database, 0), rows).person
  const whole = [...persons(1000).values()]
  expect(whole.reduce((sum, { chargedMicroUsd: each }) => sum + each, 0)).toBe(465)
  for (const size of [1, 2, 3]) expect(persons(size)).toEqual(persons(1000))
  database.close()
})

describe('the last requests', () => {
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
