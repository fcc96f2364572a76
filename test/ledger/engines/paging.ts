// The last requests, page by page.

import { afterEach, beforeEach, expect, test } from 'bun:test'
import type { GateLedger } from '../../../src/ledger/engine.ts'
import type { PageWanted, RequestPage, UsageFilter } from '../../../src/ledger/reports.ts'
import { measure, NOON, recordingLog } from '../../settle/ledger-parts.ts'
import { valueOf } from './asking.ts'
import { type TestedEngine, type TestedLedger, write } from './tested.ts'

export function paging(engine: TestedEngine): void {
  let tested: TestedLedger
  let gate: GateLedger
  beforeEach(() => {
    tested = engine.make()
    gate = tested.gate({ log: recordingLog().log, flushEveryMs: 60_000 })
  })
  afterEach(async () => {
    await gate.ledger.stop(NOON)
    tested.remove()
  })
  const page = async (filter: UsageFilter, wanted: PageWanted = {}): Promise<RequestPage> =>
    valueOf(await gate.reports.requests(filter, wanted))

  test('come newest first, page by page, each once, whatever is written meanwhile', async () => {
    const rows = Array.from({ length: 250 }, (_, row) => {
      // Many in one millisecond: the cursor must not skip or repeat among them.
      const openedAtMs = NOON + Math.floor(row / 40)
      return [{ openedAtMs, requestId: `r${row}`, device: row % 2 ? 'odd' : 'even' }, {}] as const
    })
    await write(gate, rows)
    const seen: string[] = []
    let before: string | undefined
    for (let pages = 0; pages < 20; pages++) {
      const found = await page({ device: 'odd' }, { limit: 30, ...(before && { before }) })
      seen.push(...found.rows.map(({ requestId }) => requestId))
      await write(gate, [[{ openedAtMs: NOON + 99, requestId: 'new', device: 'odd' }]])
      before = found.next
      if (before === undefined) break
    }
    const odd = rows.map(([{ requestId }]) => requestId).filter((_, row) => row % 2 === 1)
    expect(seen).toEqual(odd.toReversed())
  })

  test('a row is told in full, under way or ended', async () => {
    const tools = { webSearch: 2, webFetch: 0, codeExecution: 1, other: 0 }
    const measured = measure({ tools, priceClass: 'speed:fast', reasoning: 8 })
    await write(gate, [
      [{ requestId: 'ended' }, { usage: { state: 'exact', measured } }],
      [{ requestId: 'running', openedAtMs: NOON + 1 }],
    ])
    const { total } = await tested.command.reports.usage('day', {})
    expect(total).toMatchObject({ tools, reasoningTokens: 8 })
    const { rows, next } = await page({})
    expect(next).toBeUndefined()
    const [running, ended] = rows
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
  })

  test('no page is longer than its bound, whatever is asked for', async () => {
    await write(
      gate,
      Array.from({ length: 150 }, () => [{}, {}]),
    )
    for (const limit of [1e9, Infinity, Number.NaN, 0]) {
      expect((await page({}, { limit })).rows).toHaveLength(100)
    }
    for (const limit of [1, -5, 0.5]) expect((await page({}, { limit })).rows).toHaveLength(1)
  })
}
