// What callers who are no devices have spent outlives a restart, by month and by day.

import { afterEach, beforeEach, expect, test } from 'bun:test'
import type { Database } from 'bun:sqlite'
import { personKey } from '../../src/budget/spend-limit.ts'
import { restoreCaps } from '../../src/gate/restore.ts'
import { TABLES } from '../../src/gate/migrations.ts'
import { openDatabase } from '../../src/database/database.ts'
import { atOnce, type Pieces } from '../../src/ledger/sqlite/in-pieces.ts'
import { spentInPieces } from '../../src/ledger/sqlite/usage-report.ts'
import { sqliteBooks } from '../../src/ledger/sqlite/engine.ts'
import { sqliteLedger } from '../../src/ledger/sqlite/writer.ts'
import type { Opening, Outcome } from '../../src/ledger/port.ts'
import type { Logger } from '../../src/log.ts'
import { spendCaps } from '../../src/state/memory/spend.ts'
import { DAY_MS, dayStartMs, monthStartMs } from '../../src/turn/calendar.ts'
import { connectionTo } from '../support/connection.ts'
import { eventually } from '../support/sink.ts'
import { measure, opening, outcome, recordingLog } from './ledger-parts.ts'

let database: Database
const NOW = Date.now()
const { log } = recordingLog()

beforeEach(() => {
  const opened = openDatabase(':memory:', TABLES.migrations)
  if (!opened.ok) throw new Error(opened.reason)
  ;({ database } = opened)
})
afterEach(() => database.close())

const begun = (identity: string, openedAtMs = NOW, over: Partial<Opening> = {}): Opening => {
  const { device: _device, org: _org, ...rest } = opening({ identity, openedAtMs, ...over })
  return { ...rest, ...over }
}
const ended = (costMicroUsd: number | undefined, estimated?: number): Outcome =>
  outcome({
    usage: {
      state: 'partial',
      measured: measure({ costMicroUsd }),
      ...(estimated !== undefined && { estimated: measure({ costMicroUsd: estimated }) }),
    },
  })
function write(rows: readonly (readonly [Opening, Outcome])[]): void {
  const ledger = sqliteLedger(connectionTo(database), { log, nowMs: NOW })
  for (const [begin, end] of rows) ledger.close(ledger.open(begin), end)
  ledger.flush(NOW)
}
const persons = (sinceMs = 0) => atOnce(spentInPieces(database, sinceMs)).person

test('estimates count, what costs nothing has no row, and a device has its own sums', () => {
  write([
    [begun('anna'), ended(100, 20)],
    [begun('anna'), ended(7)],
    [begun('anna', NOW - DAY_MS), ended(1000)],
    [begun('ben'), ended(undefined)],
    [begun('ben'), ended(0)],
    [begun('laptop', NOW, { device: 'laptop' }), ended(5)],
  ])
  expect(persons(dayStartMs(NOW))).toEqual(
    new Map([['anna', { chargedMicroUsd: 127, estimatedMicroUsd: 20 }]]),
  )
  expect(persons().get('anna')?.chargedMicroUsd).toBe(1127)
  expect(atOnce(spentInPieces(database, 0)).device.get('laptop')?.chargedMicroUsd).toBe(5)
})

test('pieces of whatever size add up to the whole', () => {
  const names = Array.from({ length: 30 }, (_, at) => `p${at % 7}`)
  write(names.map((name, at) => [begun(name, NOW - (at % 5) * DAY_MS), ended(at + 1)]))
  const inPieces = <T>(pieces: Pieces<T>, rows: number): T => {
    pieces.next(0)
    for (;;) {
      const step = pieces.next(rows)
      if (step.done) return step.value
    }
  }
  for (const size of [1, 2, 3, 1000]) {
    expect(inPieces(spentInPieces(database, 0), size).person).toEqual(persons())
  }
  expect([...persons().values()].reduce((sum, { chargedMicroUsd: each }) => sum + each, 0)).toBe(
    465,
  )
})

function books() {
  const connection = connectionTo(database)
  return sqliteBooks({ reading: connection, standing: connection }, log)
}

test("a restart revives neither a user's month nor their day", async () => {
  const monthAgo = Math.max(monthStartMs(NOW), NOW - 3 * DAY_MS)
  const isToday = dayStartMs(monthAgo) === dayStartMs(NOW)
  write([
    [begun('anna'), ended(60)],
    [begun('anna', monthAgo), ended(30)],
    [begun('anna', monthStartMs(NOW) - 1), ended(1_000_000)],
  ])
  const caps = spendCaps()
  const restored = await restoreCaps({ caps, ledger: books(), log: log as Logger })
  try {
    const key = personKey('anna')
    expect(caps.read(key, NOW).spentMicroUsd).toBe(90)
    expect(caps.read(key, NOW, 'day').spentMicroUsd).toBe(isToday ? 90 : 60)
    write([[begun('anna'), ended(5)]])
    await restored.again()
    expect(caps.read(key, NOW).spentMicroUsd).toBe(95)
    const day = { key, period: 'day', capMicroUsd: 95 } as const
    expect(caps.reserve([day], isToday ? 1 : 31, NOW)).toMatchObject({ reason: 'cap_reached' })
  } finally {
    restored.stop()
  }
})

test('what was spent under no cap, or at another gate, is counted by itself before long', async () => {
  const caps = spendCaps()
  const parts = { caps, ledger: books(), log: log as Logger, everyMs: 5 }
  const restored = await restoreCaps(parts)
  try {
    write([[begun('anna'), ended(70)]])
    await eventually(async () => caps.read(personKey('anna'), NOW).spentMicroUsd === 70)
    const cap = { key: personKey('anna'), period: 'month', capMicroUsd: 100 } as const
    expect(caps.reserve([cap], 31, NOW)).toMatchObject({ reason: 'cap_reached' })
  } finally {
    restored.stop()
  }
})

test('what is older than the month goes, and what this month counts stays', async () => {
  write([
    [begun('anna', NOW - 100 * DAY_MS), ended(60)],
    [begun('anna'), ended(1)],
  ])
  const ledger = sqliteLedger(connectionTo(database), { log, nowMs: NOW })
  await ledger.deleteBefore(NOW + DAY_MS, monthStartMs(NOW))
  expect(persons().get('anna')?.chargedMicroUsd).toBe(1)
})
