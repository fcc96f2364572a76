// How rows come into a ledger, and how they go.

import { afterEach, beforeEach, expect, test } from 'bun:test'
import type { End } from '../../../src/end.ts'
import type { LedgerEntry } from '../../../src/exchange.ts'
import type { GateLedger } from '../../../src/ledger/engine.ts'
import type { Ledger, Metered } from '../../../src/ledger/port.ts'
import { measure, NOON, opening, outcome, recordingLog } from '../../settle/ledger-parts.ts'
import { allRequests, countedSums, keptSums } from '../../settle/ledger-sums.ts'
import type { TestedEngine, TestedLedger } from './tested.ts'
import { eventually } from '../../support/sink.ts'
import { seeded } from '../../support/random.ts'

const ENDS: readonly End[] = [
  'complete',
  'refused',
  'client_gone',
  'upstream_error',
  'timeout',
  'drained',
]

export function writing(engine: TestedEngine): void {
  let tested: TestedLedger
  let gate: GateLedger
  let ledger: Ledger
  let lines: ReturnType<typeof recordingLog>['lines']
  const rows = () => allRequests(gate.reports)
  const total = async () => (await tested.command.reports.usage('day', {})).total

  const start = (maxWaiting = 50_000, flushEveryMs = 60_000): void => {
    const recording = recordingLog()
    lines = recording.lines
    gate = tested.gate({ log: recording.log, maxWaiting, flushEveryMs })
    ;({ ledger } = gate)
  }
  const startAnew = async (...options: Parameters<typeof start>): Promise<void> => {
    await ledger.stop(NOON)
    tested.remove()
    tested = engine.make()
    start(...options)
  }
  beforeEach(() => {
    tested = engine.make()
    start()
  })
  afterEach(async () => {
    await ledger.stop(NOON)
    tested.remove()
  })

  test('a row says who, where, how it ended and what it took', async () => {
    ledger.close(ledger.open(opening()), outcome())
    expect(await ledger.flush(NOON)).toBe(true)
    expect(await rows()).toMatchObject([
      {
        openedAt: new Date(NOON).toISOString(),
        requestId: 'request-1',
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
        estimatedCostMicroUsd: null,
        firstByteMs: 120,
        durationMs: 900,
      },
    ])
    expect(await total()).toMatchObject({ requests: 1, succeeded: 1, costMicroUsd: 1234 })
  })

  test('each attempt of a request has a row, and the request counts once', async () => {
    const first = ledger.open(opening())
    const given: Metered = { state: 'estimated', estimated: measure({ costMicroUsd: 500 }) }
    ledger.close(first, outcome({ end: 'retried', status: 502, upstream: 'one', usage: given }))
    // A row may be written while its request is under way, or not.
    await ledger.flush(NOON)
    const second = ledger.follow(first, NOON + 40)
    await ledger.flush(NOON)
    ledger.close(second, outcome({ upstream: 'two', durationMs: 700 }))
    await ledger.flush(NOON)
    const both = await rows()
    expect(both).toMatchObject([
      { requestId: 'request-1', device: 'device-1', upstream: 'one', end: 'retried', status: 502 },
      { requestId: 'request-1', device: 'device-1', upstream: 'two', end: 'complete' },
    ])
    expect(both.map(({ openedAt }) => Date.parse(openedAt) - NOON)).toEqual([0, 40])
    const sums = await total()
    expect(sums).toMatchObject({ requests: 1, succeeded: 1, retried: 1, estimated: 1 })
    expect([sums.costMicroUsd, sums.estimate.costMicroUsd]).toEqual([1234, 500])
    expect(sums.averageLatencyMs).toBe(700)
    expect(await keptSums(tested.command.reports)).toEqual(countedSums(both))
  })

  test('a row is there while its request is under way, and is the same row afterwards', async () => {
    const entry = ledger.open(opening({ model: 'first' }))
    await ledger.flush(NOON)
    expect(await rows()).toMatchObject([{ end: null, usage: 'unknown' }])
    expect(await total()).toMatchObject({ requests: 0 })
    ledger.close(entry, outcome({ model: 'second' }))
    await ledger.flush(NOON)
    expect(await rows()).toMatchObject([{ end: 'complete', model: 'second' }])
  })

  test('every end closes the row, and only some are a success', async () => {
    for (const end of ENDS) ledger.close(ledger.open(opening()), outcome({ end }))
    const { status: _, ...unanswered } = outcome({ end: 'client_gone' })
    ledger.close(ledger.open(opening()), unanswered)
    ledger.close(ledger.open(opening()), outcome({ status: 429, end: 'complete' }))
    await ledger.flush(NOON)
    expect((await rows()).map(({ end, status }) => [end, status])).toEqual([
      ...ENDS.map((end) => [end, 200]),
      ['client_gone', null],
      ['complete', 429],
    ])
    // `complete` and `client_gone`, answered below 400.
    expect(await total()).toMatchObject({ requests: ENDS.length + 2, succeeded: 2 })
  })

  test('the first outcome counts, before and after it is written', async () => {
    const entry = ledger.open(opening())
    ledger.close(entry, outcome({ durationMs: 1 }))
    ledger.close(entry, outcome({ durationMs: 2 }))
    await ledger.flush(NOON)
    ledger.close(entry, outcome({ durationMs: 3 }))
    await ledger.flush(NOON)
    expect(await rows()).toMatchObject([{ durationMs: 1 }])
  })

  test('an estimate lies in columns of its own, whatever else is known', async () => {
    const guess = measure({ input: 7, output: 777, costMicroUsd: 77 })
    const states: Metered[] = [
      { state: 'partial', measured: measure({ output: 1 }), estimated: guess },
      { state: 'estimated', estimated: guess },
      { state: 'unknown' },
    ]
    for (const usage of states) ledger.close(ledger.open(opening()), outcome({ usage }))
    await ledger.flush(NOON)
    expect(
      (await rows()).map((row) => [
        row.usage,
        row.outputTokens,
        row.costMicroUsd,
        row.estimatedOutputTokens,
        row.estimatedCostMicroUsd,
      ]),
    ).toEqual([
      ['partial', 1, 1234, 777, 77],
      ['estimated', null, null, 777, 77],
      ['unknown', null, null, null, null],
    ])
    expect(await total()).toMatchObject({
      tokens: { output: 1 },
      costMicroUsd: 1234,
      estimate: { output: 1554, costMicroUsd: 154 },
    })
  })

  test('a model without a price has no cost, which is not a cost of 0', async () => {
    const { costMicroUsd: _, ...unpriced } = measure()
    const usage: Metered = { state: 'exact', measured: unpriced }
    ledger.close(ledger.open(opening()), outcome({ usage }))
    await ledger.flush(NOON)
    expect(await rows()).toMatchObject([{ inputTokens: 10, costMicroUsd: null }])
    expect(await total()).toMatchObject({ unpriced: 1, costMicroUsd: 0 })
  })

  test('it is written by itself', async () => {
    await startAnew(50_000, 20)
    for (let count = 0; count < 250; count++) ledger.close(ledger.open(opening()), outcome())
    expect(ledger.health()).toEqual({ ok: true, waiting: 250, lost: 0 })
    await eventually(async () => ledger.health().waiting === 0)
    expect(await rows()).toHaveLength(250)
  })

  test('many rows that wait are written before their time, and never by the caller that closes them', async () => {
    await startAnew(50_000, 60_000)
    const under = ledger.open(opening({ requestId: 'under way' }))
    for (let count = 0; count < 250; count++) ledger.close(ledger.open(opening()), outcome())
    expect(ledger.health()).toEqual({ ok: true, waiting: 251, lost: 0 })
    for (let turn = 0; turn < 100; turn++) {
      ledger.close(ledger.open(opening()), outcome())
      await Bun.sleep(0)
    }
    // At least as many have gone as came; a backlog may wait for the timer.
    expect(ledger.health().waiting).toBeLessThanOrEqual(251)
    expect(await rows()).not.toHaveLength(0)
    // What is still open is not in a hurry: its request may be a short one.
    expect((await rows()).map(({ end }) => end)).not.toContain(null)
    ledger.close(under, outcome())
    await ledger.flush(NOON)
    expect(await rows()).toHaveLength(351)
  })

  test('at the bound, openings give way at no loss, and then the oldest closed rows, counted', async () => {
    await startAnew(10)
    const entries: LedgerEntry[] = []
    for (let count = 0; count < 30; count++) {
      entries.push(ledger.open(opening({ requestId: `r${count}` })))
    }
    expect(ledger.health()).toEqual({ ok: true, waiting: 10, lost: 0 })
    for (const entry of entries.slice(0, 14)) ledger.close(entry, outcome())
    expect(ledger.health()).toEqual({ ok: true, waiting: 10, lost: 4 })
    ledger.open(opening({ requestId: 'late' }))
    expect(ledger.health().lost).toBe(4)
    await ledger.flush(NOON)
    expect((await rows()).map(({ requestId }) => requestId)).toEqual(
      [4, 5, 6, 7, 8, 9, 10, 11, 12, 13].map((count) => `r${count}`),
    )
    expect(lines.filter(({ text }) => text.includes('lost rows'))).toHaveLength(1)
    for (const entry of entries.slice(14, 20)) ledger.close(entry, outcome())
    await ledger.flush(NOON)
    expect(await rows()).toHaveLength(16)
  })

  test('numbers and texts of strangers make no row that is refused and no sum that overflows', async () => {
    const numbers = [Number.NaN, -1, 0.5, 1e308, Infinity, -Infinity, 2 ** 63, 1e15]
    const texts = [
      'x'.repeat(1_000_000),
      "'; DROP TABLE ledger; --",
      'a\0b',
      '\ud800',
      '\u001b[2J',
      '',
    ]
    for (const number of numbers) {
      for (const text of texts) {
        const hostile = measure({
          input: number,
          output: number,
          cacheRead: number,
          cacheCreation: number,
          costMicroUsd: number,
        })
        const entry = ledger.open(
          opening({ requestId: text, device: text, org: text, model: text, identity: text }),
        )
        ledger.close(
          entry,
          outcome({
            status: number,
            durationMs: number,
            firstByteMs: number,
            usage: { state: 'partial', measured: hostile, estimated: hostile },
          }),
        )
      }
    }
    ledger.close(ledger.open(opening({ openedAtMs: Number.NaN })), outcome())
    expect(await ledger.flush(NOON)).toBe(true)
    expect(ledger.health()).toEqual({ ok: true, waiting: 0, lost: 0 })
    const all = await rows()
    expect(all).toHaveLength(numbers.length * texts.length + 1)
    for (const row of all) {
      expect(Number(row.inputTokens)).toBeWithin(0, 1e9 + 1)
      expect(row.model.length).toBeLessThanOrEqual(256)
    }
    expect(await keptSums(tested.command.reports)).toEqual(countedSums(await rows()))
  })

  test(
    'the sums of days are those of the rows, whatever the order of things',
    seeded(async ({ int: draw }) => {
      const running: LedgerEntry[] = []
      for (let step = 0; step < 1500; step++) {
        const kind = draw(10)
        if (kind < 4) {
          const openedAtMs = NOON - draw(5) * 86_400_000
          const device = `device-${draw(3)}`
          running.push(ledger.open(opening({ openedAtMs, device, model: `m${draw(2)}` })))
        } else if (kind < 8) {
          const [entry] = running.splice(draw(running.length || 1), 1)
          const usages: Metered[] = [
            { state: 'exact', measured: measure({ input: draw(1000) }) },
            { state: 'partial', measured: measure(), estimated: measure({ output: draw(99) }) },
            { state: 'estimated', estimated: measure() },
            { state: 'unknown' },
          ]
          const usage = usages[draw(4)] ?? { state: 'unknown' }
          const end = ENDS[draw(ENDS.length)] ?? 'complete'
          if (entry) ledger.close(entry, outcome({ usage, end, model: `m${draw(3)}` }))
        } else if (kind === 8) await ledger.flush(NOON)
        else if (draw(40) === 0) await ledger.deleteBefore(NOON - draw(6) * 86_400_000)
      }
      await ledger.flush(NOON)
      expect(await keptSums(tested.command.reports)).toEqual(countedSums(await rows()))
    }),
  )

  test('what is forgotten is gone from rows and sums, whole days at a time', async () => {
    const at = (text: string) => opening({ openedAtMs: Date.parse(text), requestId: text })
    const under = ledger.open(at('2026-11-17T08:00:00Z'))
    await ledger.flush(NOON)
    for (let count = 0; count < 230; count++) {
      ledger.close(ledger.open(at('2026-11-18T23:59:59.999Z')), outcome())
    }
    ledger.close(ledger.open(at('2026-11-19T00:00:00Z')), outcome())
    await ledger.flush(NOON)
    expect(await ledger.deleteBefore(Date.parse('2026-11-19T13:00:00Z'))).toBe(230)
    // A request of long ago that is still under way keeps its row.
    expect((await rows()).map(({ requestId }) => requestId)).toEqual([
      '2026-11-17T08:00:00Z',
      '2026-11-19T00:00:00Z',
    ])
    expect(await total()).toMatchObject({ requests: 1 })
    ledger.close(under, outcome())
    await ledger.flush(NOON)
    expect((await rows())[0]).toMatchObject({ end: 'complete' })
  })

  test('stopping writes what waits, and what comes after it is counted as lost', async () => {
    const [early, late] = [ledger.open(opening()), ledger.open(opening())]
    ledger.close(early, outcome())
    await ledger.stop(NOON)
    expect((await rows()).map(({ end }) => end)).toContain('complete')
    ledger.close(late, outcome())
    ledger.open(opening())
    expect(ledger.health()).toMatchObject({ waiting: 0, lost: 1 })
    expect(await ledger.flush(NOON)).toBe(true)
  })
}
