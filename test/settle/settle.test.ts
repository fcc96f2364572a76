// What a request cost, at its end: what is charged, what is given back, and what the ledger and the
// log are told of it. A real ledger, a real cap, and the road's own settlement.

import type { Database } from 'bun:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import pino from 'pino'
import { parsePrices } from '../../src/budget/price-table.ts'
import { spendCaps } from '../../src/state/memory/spend.ts'
import type { Reservation, SpendCaps } from '../../src/state/port.ts'
import type { End } from '../../src/end.ts'
import type { Exchange } from '../../src/exchange.ts'
import type { Ledger } from '../../src/ledger/port.ts'
import type { Bill } from '../../src/settle/bill.ts'
import { type Settle, settlement } from '../../src/settle/settle.ts'
import { connectionTo } from '../support/connection.ts'
import { sqliteLedger } from '../../src/ledger/sqlite/writer.ts'
import { MAX_TOKENS_PER_SECOND, REMAINDER_TOKENS } from '../../src/upstream/reading/passed.ts'
import type { MeteredUsage, Since } from '../../src/upstream/reading/tally.ts'
import { NOON, opened, opening, openLedgerFile, recordingLog, rowsOf } from './ledger-parts.ts'

/**
 * Micro-dollars a token: 1 in, 2 out, 3 from the cache, 4 and 5 into it; 10 for a search, and one
 * for a minute of code.
 */
const ROW = { input: 1, output: 2, cache_read: 3, cache_write_5m: 4, cache_write_1h: 5 }
const parsed = parsePrices(
  JSON.stringify({
    date: '2026-11-20',
    server_tools: { web_search_requests: 0.01, code_execution_hours: 0.00006 },
    models: { 'claude-*': ROW, dear: { ...ROW, multipliers: { 'speed:fast': 2 } } },
  }),
)
if (!parsed.ok) throw new Error('prices')
const { prices } = parsed

const RESERVED = 1000
const KEY = 'device:d'

let database: Database
let ledger: Ledger
let caps: SpendCaps
let settle: Settle
let lines: Record<string, unknown>[]
beforeEach(() => {
  database = opened(openLedgerFile(':memory:'))
  const { log } = recordingLog()
  ledger = sqliteLedger(connectionTo(database), { log, nowMs: NOON })
  caps = spendCaps()
  lines = []
  const requests = pino({ base: null }, { write: (line) => lines.push(JSON.parse(line)) })
  settle = settlement({ log: requests, ledger, prices })
})
afterEach(() => {
  ledger.stop(NOON)
  database.close()
})

const usage = (over: Partial<MeteredUsage> = {}): MeteredUsage => ({
  state: 'exact',
  inputTokens: 10,
  outputTokens: 20,
  cacheReadTokens: 30,
  cacheCreationTokens: 40,
  cacheCreation1hTokens: 0,
  ...over,
})
/** By the prices above. */
const COST = 10 + 2 * 20 + 3 * 30 + 4 * 40

function reserve(amount = RESERVED): Reservation {
  const taken = caps.reserve([{ key: KEY, period: 'month', capMicroUsd: 1e9 }], amount, NOON)
  if (!taken.ok) throw new Error(taken.reason)
  return taken.reservation
}

interface Settled {
  readonly row: Readonly<Record<string, unknown>>
  readonly line: Readonly<Record<string, unknown>>
  readonly spent: number
  readonly reserved: number
}

function settled(
  bill: Bill | undefined,
  over: Partial<Exchange> = {},
  end: End = 'complete',
): Settled {
  const exchange: Exchange = {
    requestId: 'r1',
    at: { epochSeconds: NOON / 1000, monotonicMs: performance.now() },
    method: 'POST',
    route: '/v1/messages',
    dialect: 'anthropic',
    silent: false,
    headers: new Headers(),
    bytesIn: 0,
    bytesOut: 0,
    model: 'claude-x',
    status: 200,
    entry: ledger.open(opening({ model: undefined as never })),
    ...over,
  }
  settle(exchange, end, bill)
  ledger.flush(NOON)
  const [row] = rowsOf(database)
  const { spentMicroUsd: spent, reservedMicroUsd: reserved } = caps.read(KEY, NOON)
  if (!row || lines.length !== 1) throw new Error('no row, or not one line')
  return { row, line: lines[0] ?? {}, spent, reserved }
}

const MEASURED = {
  input_tokens: 10,
  output_tokens: 20,
  cache_read_tokens: 30,
  cache_creation_tokens: 40,
  cost_micro_usd: COST,
}
const NO_ESTIMATE = { estimated_cost_micro_usd: null, estimated_output_tokens: null }
const UNMEASURED = {
  input_tokens: null,
  output_tokens: null,
  cache_read_tokens: null,
  cache_creation_tokens: null,
  cost_micro_usd: null,
}

describe('usage that is exact', () => {
  for (const owed of [true, false]) {
    test(`is charged, ${owed ? '' : 'not '}owed`, () => {
      const { row, line, spent, reserved } = settled({
        reservation: reserve(),
        usage: usage(),
        owed,
      })
      expect(row).toMatchObject({ usage: 'exact', ...MEASURED, ...NO_ESTIMATE })
      expect([spent, reserved]).toEqual([COST, 0])
      expect(line).toMatchObject({ usage: 'exact', ...MEASURED })
    })
  }
  test('a one-hour cache write has its own price', () => {
    const { spent } = settled({
      reservation: reserve(),
      usage: usage({ cacheCreation1hTokens: 40 }),
      owed: true,
    })
    expect(spent).toBe(COST + 40)
  })
  test('is charged in full even if it exceeds the reservation', () => {
    const { row, spent } = settled({
      reservation: reserve(),
      usage: usage({ outputTokens: 20_000 }),
      owed: true,
    })
    expect(spent).toBe(COST - 40 + 40_000)
    expect(row).toMatchObject({ cost_micro_usd: spent, ...NO_ESTIMATE })
  })
  test('is nothing without a connection, and is in no average', () => {
    const bill = { reservation: reserve(), usage: undefined, owed: false, isUnsent: true }
    const { row, line, spent, reserved } = settled(bill, { status: 502 }, 'upstream_error')
    const none = { input_tokens: 0, output_tokens: 0, cost_micro_usd: 0, ...NO_ESTIMATE }
    expect(row).toMatchObject({ usage: 'exact', end_reason: 'upstream_error', ...none })
    expect(line).not.toHaveProperty('usage')
    expect([spent, reserved]).toEqual([0, 0])
    const sums = database.query('SELECT requests, unknown, unpriced, timed FROM ledger_day').all()
    expect(sums).toEqual([{ requests: 1, unknown: 0, unpriced: 0, timed: 0 }])
  })
  test('without a reservation it is still recorded', () => {
    const { row, spent } = settled({ reservation: undefined, usage: usage(), owed: true })
    expect(row).toMatchObject({ usage: 'exact', ...MEASURED })
    expect(spent).toBe(0)
  })
})

describe('an answer that was cut', () => {
  const cut = (over: Partial<Since> = {}, more: Partial<MeteredUsage> = {}): MeteredUsage =>
    usage({
      state: 'partial',
      outputTokens: 1,
      since: { outputTokens: 0, inputTokens: 0, isUnfinished: true, ...over },
      ...more,
    })
  const seen = COST - 19 * 2
  const large = (): Reservation => reserve(1_000_000)

  test('is charged its counts, the output since, and a remainder', () => {
    const bill = { reservation: large(), usage: cut({ outputTokens: 100 }), owed: true }
    const { row, line, spent, reserved } = settled(bill, {}, 'client_gone')
    const estimated = (100 + REMAINDER_TOKENS) * 2
    expect([spent, reserved]).toEqual([seen + estimated, 0])
    expect(row).toMatchObject({
      usage: 'partial',
      cost_micro_usd: seen,
      output_tokens: 1,
      estimated_output_tokens: 100 + REMAINDER_TOKENS,
      estimated_cost_micro_usd: estimated,
    })
    expect(line).toMatchObject({ cost_micro_usd: seen, estimated_cost_micro_usd: estimated })
  })

  test('that came to its end is charged no remainder', () => {
    const usage = cut({ outputTokens: 100, isUnfinished: false })
    const { spent } = settled({ reservation: large(), usage, owed: true })
    expect(spent).toBe(seen + 200)
  })

  test('is charged no more than was reserved, nor for more output than was allowed', () => {
    const usage = cut({ outputTokens: 100_000 })
    expect(settled({ reservation: reserve(), usage, owed: true }).spent).toBe(RESERVED)
  })
  test('is charged for no more output than was allowed', () => {
    const usage = cut({ outputTokens: 100_000 })
    const bill = { reservation: large(), usage, owed: true, maxTokens: 51 }
    expect(settled(bill).spent).toBe(seen + 50 * 2)
  })
  test('whose counts alone are more than was reserved is charged these', () => {
    const usage = cut({ outputTokens: 5 }, { inputTokens: 5000 })
    const { row, spent } = settled({ reservation: reserve(), usage, owed: true })
    expect(spent).toBe(seen + 4990)
    expect(row).toMatchObject({ estimated_cost_micro_usd: 0 })
  })
  test('is estimated without a reservation too', () => {
    const bill = { reservation: undefined, usage: cut({ outputTokens: 10 }), owed: true }
    const { row } = settled(bill, {}, 'timeout')
    expect(row).toMatchObject({ estimated_cost_micro_usd: (10 + REMAINDER_TOKENS) * 2 })
  })
  test('after results of server tools is charged for reading its prompt again', () => {
    const usage = cut({ inputTokens: 500 })
    const { row, spent } = settled({ reservation: large(), usage, owed: true })
    expect(spent).toBe(seen + 500 + REMAINDER_TOKENS * 2)
    expect(row).toMatchObject({ estimated_input_tokens: 500 })
  })
})

describe('an answer that was cut before it said anything of its usage', () => {
  const atMost = (outputTokens: number): number => 300 + Math.ceil(outputTokens) * 2
  const nothing = usage({
    state: 'unknown',
    inputTokens: 0,
    outputTokens: 0,
    cacheReadTokens: 0,
    cacheCreationTokens: 0,
  })
  const since = { outputTokens: 7, inputTokens: 0, isUnfinished: true }

  test('is charged its largest prompt, the output that passed, and a remainder', () => {
    const bill = { reservation: reserve(5000), atMost, usage: { ...nothing, since }, owed: true }
    const { row, spent } = settled(bill, {}, 'client_gone')
    expect(spent).toBe(300 + (7 + REMAINDER_TOKENS) * 2)
    expect(row).toMatchObject({ usage: 'estimated', estimated_cost_micro_usd: spent })
  })
  test('or without output, what a model can write in that time', () => {
    const bill = { reservation: reserve(1_000_000), atMost, usage: undefined, owed: true }
    const at = { epochSeconds: NOON / 1000, monotonicMs: performance.now() - 10_000 }
    const { spent } = settled(bill, { at }, 'client_gone')
    const least = 300 + (10 * MAX_TOKENS_PER_SECOND + REMAINDER_TOKENS) * 2
    expect(spent).toBeGreaterThanOrEqual(least)
    expect(spent).toBeLessThan(1_000_000)
  })
  test('and came whole nevertheless is charged whole', () => {
    const bill = { reservation: reserve(5000), atMost, usage: { ...nothing, since }, owed: true }
    expect(settled(bill).spent).toBe(5000)
  })
  test('and is an error in the place of an answer is charged nothing', () => {
    const failed = { ...nothing, sawError: 'overloaded_error' }
    const bill = { reservation: reserve(5000), atMost, usage: failed, owed: true }
    const { row, line, spent, reserved } = settled(bill, {}, 'upstream_error')
    expect([spent, reserved]).toEqual([0, 0])
    expect(row).toMatchObject({ usage: 'unknown', ...UNMEASURED, ...NO_ESTIMATE })
    expect(line).toMatchObject({ level: 'error', end: 'upstream_error' })
  })
})

describe("the response's own price members", () => {
  test('is charged: another price class', () => {
    const fast = usage({ priceClasses: ['speed:fast'] })
    const bill = { reservation: reserve(), usage: fast, owed: true }
    expect(settled(bill, { model: 'dear' }).spent).toBe(COST * 2)
  })
  test('with tools', () => {
    const searched = usage({ serverTools: { web_search_requests: 2 } })
    expect(settled({ reservation: reserve(), usage: searched, owed: true }).spent).toBe(COST + 20)
  })
  test('with code that ran for some minutes', () => {
    const at = { epochSeconds: NOON / 1000, monotonicMs: performance.now() - 20 * 60_000 }
    const ran = usage({ codeRuns: 3 })
    const { spent } = settled({ reservation: reserve(), usage: ran, owed: true }, { at })
    expect(spent).toBe(COST + 20 + 1)
  })
  test('with other models, each at its own price', () => {
    const other = { ...usage(), model: 'dear', outputTokens: 0 }
    const { row, spent } = settled({
      reservation: reserve(),
      usage: usage({ others: [other] }),
      owed: true,
    })
    expect(spent).toBe(COST + (COST - 40))
    expect(row).toMatchObject({ input_tokens: 20, output_tokens: 20, cost_micro_usd: spent })
  })
  for (const [name, over] of [
    ['class', { priceClasses: ['inference_geo:mars'] }],
    ['tool', { serverTools: { time_travel_requests: 1 } }],
    ['model', { others: [{ ...usage(), model: 'unheard-of' }] }],
  ] as const) {
    test(`is unknown if the price is (a ${name}), and never the list price`, () => {
      const { row, spent } = settled({ reservation: reserve(), usage: usage(over), owed: true })
      expect(spent).toBe(RESERVED)
      expect(row).toMatchObject({
        usage: 'exact',
        cost_micro_usd: null,
        estimated_cost_micro_usd: RESERVED,
      })
    })
  }
})

describe('usage of which something could not be read', () => {
  const partial = usage({ state: 'partial' })
  test('and owed is charged in full; the rest is an estimate', () => {
    const { row, line, spent, reserved } = settled(
      { reservation: reserve(), usage: partial, owed: true },
      {},
      'client_gone',
    )
    expect([spent, reserved]).toEqual([RESERVED, 0])
    expect(row).toMatchObject({
      usage: 'partial',
      ...MEASURED,
      estimated_cost_micro_usd: RESERVED - COST,
    })
    expect(line).toMatchObject({ usage: 'partial', ...MEASURED })
  })
  test('the charge is the sum of measured and estimated cost', () => {
    const { row, spent } = settled({ reservation: reserve(), usage: partial, owed: true })
    expect(Number(row['cost_micro_usd']) + Number(row['estimated_cost_micro_usd'])).toBe(spent)
  })
  test('and not owed is given back, in the ledger too, which a restart reads', () => {
    const { row, spent, reserved } = settled(
      { reservation: reserve(), usage: partial, owed: false },
      { status: 529 },
      'complete',
    )
    expect([spent, reserved]).toEqual([0, 0])
    expect(row).toMatchObject({ usage: 'partial', ...MEASURED, cost_micro_usd: 0 })
  })
  test('without a reservation nothing is estimated', () => {
    const { row } = settled({ reservation: undefined, usage: partial, owed: true })
    expect(row).toMatchObject({ usage: 'partial', ...MEASURED, ...NO_ESTIMATE })
  })
})

describe('usage that stayed unknown', () => {
  for (const [name, unknown] of [
    ['nothing was said', undefined],
    [
      'nothing could be read',
      usage({
        state: 'unknown',
        inputTokens: 0,
        outputTokens: 0,
        cacheReadTokens: 0,
        cacheCreationTokens: 0,
      }),
    ],
  ] as const) {
    test(`(${name}) and owed is charged whole, as an estimate, and never as measured`, () => {
      const { row, line, spent, reserved } = settled(
        { reservation: reserve(), usage: unknown, owed: true },
        {},
        'client_gone',
      )
      expect([spent, reserved]).toEqual([RESERVED, 0])
      expect(row).toMatchObject({
        usage: 'estimated',
        ...UNMEASURED,
        estimated_cost_micro_usd: RESERVED,
      })
      for (const key of Object.keys(MEASURED)) expect(line).not.toHaveProperty(key)
    })
    test(`(${name}) and not owed is given back`, () => {
      const { row, spent, reserved } = settled(
        { reservation: reserve(), usage: unknown, owed: false },
        { status: 502 },
        'upstream_error',
      )
      expect([spent, reserved]).toEqual([0, 0])
      expect(row).toMatchObject({ usage: 'unknown', ...UNMEASURED, ...NO_ESTIMATE })
    })
    test(`(${name}) without a reservation it stays unknown`, () => {
      const { row } = settled({ reservation: undefined, usage: unknown, owed: true })
      expect(row).toMatchObject({ usage: 'unknown', ...UNMEASURED, ...NO_ESTIMATE })
    })
  }
  test('of a request that never went out nothing is charged', () => {
    const { row, spent } = settled(undefined, { status: 429 }, 'refused')
    expect(row).toMatchObject({ usage: 'unknown', ...UNMEASURED, end_reason: 'refused' })
    expect(spent).toBe(0)
  })
})

describe('an unknown price', () => {
  test('is no cost in ledger and log, and the reservation is charged whole', () => {
    const { row, line, spent } = settled(
      { reservation: reserve(), usage: usage(), owed: true },
      { model: 'gpt-x' },
    )
    expect(row).toMatchObject({ usage: 'exact', ...MEASURED, cost_micro_usd: null })
    expect(line).not.toHaveProperty('cost_micro_usd')
    expect(spent).toBe(RESERVED)
  })
  test('is not free: 0 is a price, and absent is none', () => {
    const { row } = settled({ reservation: undefined, usage: usage(), owed: true }, { model: 'x' })
    expect(row['cost_micro_usd']).toBeNull()
  })
  test('of the name that answered is that of the name that was asked for', () => {
    const { row, line, spent } = settled({
      reservation: reserve(),
      usage: usage({ model: 'unlisted-20250929' }),
      owed: true,
    })
    expect(spent).toBe(COST)
    expect([row['model'], line['model']]).toEqual(['unlisted-20250929', 'unlisted-20250929'])
  })
})

describe('the model', () => {
  test('is the one that answered, or else the one that was asked for', () => {
    const { row } = settled({
      reservation: undefined,
      usage: usage({ model: 'claude-y' }),
      owed: true,
    })
    expect(row['model']).toBe('claude-y')
  })
  test('stays unknown if neither names it', () => {
    const { model: _, ...rest } = { model: 0 }
    const { row, line } = settled(
      { reservation: undefined, usage: usage(), owed: true },
      { ...rest, model: undefined as never },
    )
    expect(row['cost_micro_usd']).toBeNull()
    expect(line).not.toHaveProperty('model')
  })
})

test('a reservation ends once, however often it is settled', () => {
  const reservation = reserve()
  settled({ reservation, usage: usage(), owed: true })
  reservation.settle(5)
  reservation.release()
  expect(caps.read(KEY, NOON)).toMatchObject({ spentMicroUsd: COST, reservedMicroUsd: 0 })
})
