// What every ledger owes, whatever it is kept in.

import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import type { Database } from 'bun:sqlite'
import type { End } from '../../src/exchange.ts'
import type { Entry, Ledger, Metered } from '../../src/ledger/ledger.ts'
import { bothSums, measure, NOON, opening, outcome, recordingLog, rowsOf } from './ledger-parts.ts'
import { seeded } from '../support/random.ts'

export interface Kept {
  ledger(options: {
    log: ReturnType<typeof recordingLog>['log']
    maxWaiting?: number
    flushEveryMs?: number
  }): Ledger
  /** For looking at what was written. */
  readonly database: Database
  remove(): void
}

const ENDS: readonly End[] = [
  'complete',
  'refused',
  'client_gone',
  'upstream_error',
  'timeout',
  'drained',
]

export function ledgerContract(name: string, keep: () => Kept): void {
  describe(`a ledger in ${name}`, () => {
    let kept: Kept
    let ledger: Ledger
    let lines: ReturnType<typeof recordingLog>['lines']
    const rows = () => rowsOf(kept.database)

    const start = (maxWaiting = 50_000, flushEveryMs = 60_000): void => {
      const recording = recordingLog()
      lines = recording.lines
      ledger = kept.ledger({ log: recording.log, maxWaiting, flushEveryMs })
    }
    beforeEach(() => {
      kept = keep()
      start()
    })
    afterEach(() => {
      ledger.stop(NOON)
      kept.remove()
    })

    test('a row says who, where, how it ended and what it took', () => {
      ledger.close(ledger.open(opening()), outcome())
      expect(ledger.flush(NOON)).toBe(true)
      expect(rows()).toMatchObject([
        {
          opened_ms: NOON,
          request_id: 'request-1',
          identity: 'who',
          device: 'device-1',
          org: 'org-1',
          route: '/v1/messages',
          model: 'claude-sonnet-4-5',
          upstream: 'anthropic',
          status: 200,
          end_reason: 'complete',
          succeeded: 1,
          usage: 'exact',
          input_tokens: 10,
          output_tokens: 20,
          cache_read_tokens: 3000,
          cache_creation_tokens: 400,
          cost_micro_usd: 1234,
          estimated_cost_micro_usd: null,
          first_byte_ms: 120,
          duration_ms: 900,
        },
      ])
    })

    test('a row is there while its request is under way, and is the same row afterwards', () => {
      const entry = ledger.open(opening({ model: 'first' }))
      ledger.flush(NOON)
      expect(rows()).toMatchObject([{ end_reason: null, succeeded: null, usage: 'unknown' }])
      expect(bothSums(kept.database).kept).toEqual([])
      ledger.close(entry, outcome({ model: 'second' }))
      ledger.flush(NOON)
      expect(rows()).toMatchObject([{ end_reason: 'complete', model: 'second' }])
    })

    test('every end closes the row, and only some are a success', () => {
      for (const end of ENDS) ledger.close(ledger.open(opening()), outcome({ end }))
      const { status: _, ...unanswered } = outcome({ end: 'client_gone' })
      ledger.close(ledger.open(opening()), unanswered)
      ledger.close(ledger.open(opening()), outcome({ status: 429, end: 'complete' }))
      ledger.flush(NOON)
      expect(rows().map((row) => [row['end_reason'], row['status'], row['succeeded']])).toEqual([
        ['complete', 200, 1],
        ['refused', 200, 0],
        ['client_gone', 200, 1],
        ['upstream_error', 200, 0],
        ['timeout', 200, 0],
        ['drained', 200, 0],
        ['client_gone', null, 0],
        ['complete', 429, 0],
      ])
    })

    test('the first outcome counts, before and after it is written', () => {
      const entry = ledger.open(opening())
      ledger.close(entry, outcome({ durationMs: 1 }))
      ledger.close(entry, outcome({ durationMs: 2 }))
      ledger.flush(NOON)
      ledger.close(entry, outcome({ durationMs: 3 }))
      ledger.flush(NOON)
      expect(rows()).toMatchObject([{ duration_ms: 1 }])
    })

    test('an estimate lies in columns of its own, whatever else is known', () => {
      const guess = measure({ input: 7, output: 777, costMicroUsd: 77 })
      const states: Metered[] = [
        { state: 'partial', measured: measure({ output: 1 }), estimated: guess },
        { state: 'estimated', estimated: guess },
        { state: 'unknown' },
      ]
      for (const usage of states) ledger.close(ledger.open(opening()), outcome({ usage }))
      ledger.flush(NOON)
      expect(
        rows().map((row) => [
          row['usage'],
          row['output_tokens'],
          row['cost_micro_usd'],
          row['estimated_output_tokens'],
          row['estimated_cost_micro_usd'],
        ]),
      ).toEqual([
        ['partial', 1, 1234, 777, 77],
        ['estimated', null, null, 777, 77],
        ['unknown', null, null, null, null],
      ])
      expect(bothSums(kept.database).kept).toMatchObject([
        { output_tokens: 1, cost_micro_usd: 1234, estimated_output_tokens: 1554 },
      ])
    })

    test('a model without a price has no cost, which is not a cost of 0', () => {
      const { costMicroUsd: _, ...unpriced } = measure()
      const usage: Metered = { state: 'exact', measured: unpriced }
      ledger.close(ledger.open(opening()), outcome({ usage }))
      ledger.flush(NOON)
      expect(rows()).toMatchObject([{ input_tokens: 10, cost_micro_usd: null }])
      expect(bothSums(kept.database).kept).toMatchObject([{ unpriced: 1, cost_micro_usd: 0 }])
    })

    test('it is written by itself, within a second', async () => {
      ledger.stop(NOON)
      kept.remove()
      kept = keep()
      start(50_000, 20)
      for (let count = 0; count < 250; count++) ledger.close(ledger.open(opening()), outcome())
      expect(ledger.health()).toEqual({ ok: true, waiting: 250, lost: 0 })
      const deadline = performance.now() + 1000
      while (ledger.health().waiting > 0 && performance.now() < deadline) await Bun.sleep(5)
      expect(rows()).toHaveLength(250)
    })

    test('many rows that wait are written before their time, and never by whoever closes them', async () => {
      ledger.stop(NOON)
      kept.remove()
      kept = keep()
      start(50_000, 60_000)
      const under = ledger.open(opening({ requestId: 'under way' }))
      for (let count = 0; count < 250; count++) ledger.close(ledger.open(opening()), outcome())
      expect(ledger.health()).toEqual({ ok: true, waiting: 251, lost: 0 })
      expect(rows()).toHaveLength(0)
      for (let turn = 0; turn < 100; turn++) {
        ledger.close(ledger.open(opening()), outcome())
        await Bun.sleep(0)
      }
      // As many have gone as came; the others are a backlog, and wait for the timer.
      expect(ledger.health().waiting).toBe(151)
      // What is still open is not in a hurry: its request may be a short one.
      expect(rows().map((row) => row['end_reason'])).not.toContain(null)
      ledger.close(under, outcome())
      ledger.flush(NOON)
      expect(rows()).toHaveLength(351)
    })

    test('at the bound, openings give way at no loss, and then the oldest closed rows, counted', () => {
      ledger.stop(NOON)
      kept.remove()
      kept = keep()
      start(10)
      const entries: Entry[] = []
      for (let count = 0; count < 30; count++) {
        entries.push(ledger.open(opening({ requestId: `r${count}` })))
      }
      expect(ledger.health()).toEqual({ ok: true, waiting: 10, lost: 0 })
      for (const entry of entries.slice(0, 14)) ledger.close(entry, outcome())
      expect(ledger.health()).toEqual({ ok: true, waiting: 10, lost: 4 })
      ledger.open(opening({ requestId: 'late' }))
      expect(ledger.health().lost).toBe(4)
      ledger.flush(NOON)
      expect(rows().map((row) => row['request_id'])).toEqual(
        [4, 5, 6, 7, 8, 9, 10, 11, 12, 13].map((count) => `r${count}`),
      )
      expect(lines.filter(({ text }) => text.includes('lost rows'))).toHaveLength(1)
      for (const entry of entries.slice(14, 20)) ledger.close(entry, outcome())
      ledger.flush(NOON)
      expect(rows()).toHaveLength(16)
    })

    test('numbers and texts of strangers make no row that is refused and no sum that overflows', () => {
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
      expect(ledger.flush(NOON)).toBe(true)
      expect(ledger.health()).toEqual({ ok: true, waiting: 0, lost: 0 })
      const all = rows()
      expect(all).toHaveLength(numbers.length * texts.length + 1)
      for (const row of all) {
        expect(Number(row['input_tokens'])).toBeWithin(0, 1e9 + 1)
        expect(String(row['model']).length).toBeLessThanOrEqual(256)
      }
      const { kept: sums, counted } = bothSums(kept.database)
      expect(sums).toEqual(counted)
    })

    test(
      'the sums of days are those of the rows, whatever the order of things',
      seeded(async ({ int: draw }) => {
        const running: Entry[] = []
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
          } else if (kind === 8) ledger.flush(NOON)
          else if (draw(40) === 0) await ledger.deleteBefore(NOON - draw(6) * 86_400_000)
        }
        ledger.flush(NOON)
        const { kept: sums, counted } = bothSums(kept.database)
        expect(sums).toEqual(counted)
      }),
    )

    test('what is forgotten is gone from rows and sums, whole days at a time', async () => {
      const at = (text: string) => opening({ openedAtMs: Date.parse(text), requestId: text })
      const under = ledger.open(at('2026-11-17T08:00:00Z'))
      ledger.flush(NOON)
      for (let count = 0; count < 230; count++) {
        ledger.close(ledger.open(at('2026-11-18T23:59:59.999Z')), outcome())
      }
      ledger.close(ledger.open(at('2026-11-19T00:00:00Z')), outcome())
      ledger.flush(NOON)
      expect(await ledger.deleteBefore(Date.parse('2026-11-19T13:00:00Z'))).toBe(230)
      // A request of long ago that is still under way keeps its row.
      expect(rows().map((row) => row['request_id'])).toEqual([
        '2026-11-17T08:00:00Z',
        '2026-11-19T00:00:00Z',
      ])
      expect(bothSums(kept.database).kept).toMatchObject([{ requests: 1 }])
      ledger.close(under, outcome())
      ledger.flush(NOON)
      expect(rows()[0]).toMatchObject({ end_reason: 'complete' })
    })

    test('stopping writes what waits, and what comes after it is counted as lost', () => {
      const [early, late] = [ledger.open(opening()), ledger.open(opening())]
      ledger.close(early, outcome())
      const peek = kept.database.filename === ':memory:' ? undefined : rows
      ledger.stop(NOON)
      if (peek) expect(peek().map((row) => row['end_reason'])).toContain('complete')
      ledger.close(late, outcome())
      ledger.open(opening())
      expect(ledger.health()).toMatchObject({ waiting: 0, lost: 1 })
      expect(ledger.flush(NOON)).toBe(true)
    })
  })
}
