// Money for a stream that is cut at any byte: at least what was counted, at most that and a stated
// bound, never more than was reserved, and never less the more of it has passed.

import { describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { bundledPrices } from '../../src/budget/price-table.ts'
import { costOf, type Price } from '../../src/budget/prices.ts'
import { spendCaps } from '../../src/state/memory/spend.ts'
import { type Bill, charge } from '../../src/settle/bill.ts'
import type { Measure } from '../../src/ledger/port.ts'
import { anthropicUsageMeter } from '../../src/upstream/anthropic/usage.ts'
import { openAiUsageMeter } from '../../src/upstream/reading/openai-usage.ts'
import { REMAINDER_TOKENS, tokensOf } from '../../src/upstream/reading/passed.ts'
import { seeded } from '../support/random.ts'
import { piecesOf } from '../upstream/pieces.ts'

const FOLDER = new URL('../vectors/anthropic/', import.meta.url)
const NOW = Date.UTC(2026, 10, 20)
const prices = bundledPrices()

interface Charged {
  readonly measured: Measure | undefined
  readonly estimated: Measure | undefined
  readonly spent: number
}

function charged(pieces: Iterable<Uint8Array>, price: Price, reserved: number): Charged {
  const meter = anthropicUsageMeter('text/event-stream', undefined)
  for (const piece of pieces) meter.push(piece, 0)
  const caps = spendCaps()
  const taken = caps.reserve(
    [{ key: 'device:d', period: 'month', capMicroUsd: 1e12 }],
    reserved,
    NOW,
  )
  if (!taken.ok) throw new Error(taken.reason)
  const bill: Bill = {
    reservation: taken.reservation,
    // Nothing of the prompt: what is charged for an answer that said nothing has only this bound.
    atMost: (output) => Math.min(reserved, Math.ceil((output * price.rates.output) / 1e6)),
    usage: meter.end({}, false),
    owed: true,
  }
  const metered = charge(bill, {
    end: 'client_gone',
    durationMs: 0,
    price,
    priceOf: prices.priceOf,
  })
  return {
    measured: 'measured' in metered ? metered.measured : undefined,
    estimated: 'estimated' in metered ? metered.estimated : undefined,
    spent: caps.read('device:d', NOW).spentMicroUsd,
  }
}

/** The most that a stream of so many bytes can be charged beyond its counts. */
function boundOf(stream: Uint8Array, price: Price, { input, cacheRead, cacheCreation }: Measure) {
  const text = new TextDecoder().decode(stream)
  const results = text.split('_tool_result","tool_use_id"').length - 1
  const searches = text.split('"server_tool_use"').length - 1
  const passed = tokensOf(stream.length)
  const bound = costOf(price, {
    inputTokens: results * (input + cacheRead + cacheCreation) + passed,
    outputTokens: passed + REMAINDER_TOKENS + text.split('content_block_start').length,
    cacheReadTokens: 0,
    cacheCreationTokens: 0,
    cacheCreation1hTokens: 0,
    serverTools: { web_search_requests: searches },
    priceClasses: text.includes('"speed":"fast"') ? ['speed:fast', 'inference_geo:us'] : [],
  })
  // A container's five minutes.
  return (bound ?? 0) + (text.includes('code_execution') ? 4167 : 0)
}

const names = readdirSync(FOLDER).filter((name) => name.endsWith('.sse'))

describe('a stream cut at any byte', () => {
  for (const name of names) {
    const stream = new Uint8Array(readFileSync(new URL(name, FOLDER)))
    const model = /"model":"([^"]+)"/.exec(new TextDecoder().decode(stream))?.[1] ?? ''
    const price = prices.priceOf(model)

    test(
      `${name}: never less than was counted, never more than that and the bound`,
      seeded((random) => {
        if (!price) throw new Error(`no price for ${model}`)
        const cuts = Array.from({ length: 150 }, () => random.int(stream.length + 1))
        let before: Charged = { measured: undefined, estimated: undefined, spent: 0 }
        for (const cut of cuts.toSorted((a, b) => a - b)) {
          const passed = stream.subarray(0, cut)
          const now = charged(piecesOf(passed, random), price, 50_000_000)
          const seen = now.measured?.costMicroUsd ?? 0
          const guessed = now.estimated?.costMicroUsd ?? 0
          expect(now.spent).toBe(seen + guessed)
          expect(guessed).toBeGreaterThanOrEqual(0)
          const none = { input: 0, output: 0, cacheRead: 0, cacheCreation: 0 }
          // An advisor or a compaction at work is bounded by the reservation alone.
          const isBounded = !/advisor|compaction/.test(name)
          if (isBounded) {
            expect(guessed).toBeLessThanOrEqual(boundOf(passed, price, now.measured ?? none))
          }
          expect(seen).toBeGreaterThanOrEqual(before.measured?.costMicroUsd ?? 0)
          // A count takes the place of an estimate; between two counts, more is never less.
          if (seen === (before.measured?.costMicroUsd ?? 0)) {
            expect(now.spent).toBeGreaterThanOrEqual(before.spent)
          }
          before = now
        }
      }),
    )

    test(
      `${name}: never more than was reserved, nor less than was counted`,
      seeded((random) => {
        if (!price) throw new Error(`no price for ${model}`)
        for (let round = 0; round < 50; round += 1) {
          const passed = stream.subarray(0, random.int(stream.length + 1))
          const reserved = random.int(3000)
          const { measured, spent } = charged([passed], price, reserved)
          const seen = measured?.costMicroUsd ?? 0
          expect(spent).toBeGreaterThanOrEqual(seen)
          expect(spent).toBeLessThanOrEqual(Math.max(seen, reserved))
        }
      }),
    )
  }

  test('the known example: Opus, $0.075 known of $4.80 reserved', () => {
    const usage = { input_tokens: 2000, cache_read_input_tokens: 130_000, output_tokens: 1 }
    const message = { model: 'claude-opus-5', usage }
    const start = `event: message_start\ndata: ${JSON.stringify({ type: 'message_start', message })}\n\n`
    const price = prices.priceOf('claude-opus-5')
    if (!price) throw new Error('no price')
    const { measured, spent } = charged([new TextEncoder().encode(start)], price, 4_800_000)
    expect(measured?.costMicroUsd).toBe(75_025)
    expect(spent).toBe(75_025 + REMAINDER_TOKENS * 25)
  })
})

describe("attack: a stream in OpenAI's dialect that is left while the model thinks", () => {
  const price = prices.priceOf('gpt-5') as Price
  const chunk = (content: string): Uint8Array =>
    new TextEncoder().encode(`data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`)
  const delta = new TextEncoder().encode(
    `event: response.output_text.delta\ndata: {"delta":"${'word '.repeat(60)}"}\n\n`,
  )
  /** Output tokens, for what came at these milliseconds and was left at `leftAt`. */
  const outputFor = (
    came: readonly (readonly [atMs: number, bytes: Uint8Array])[],
    leftAt: number,
  ) => {
    const meter = openAiUsageMeter('text/event-stream', undefined)
    for (const [atMs, bytes] of came) meter?.push(bytes, atMs)
    let output = 0
    const caps = spendCaps()
    const taken = caps.reserve([{ key: 'k', period: 'month', capMicroUsd: 1e12 }], 1e9, NOW)
    if (!taken.ok) throw new Error(taken.reason)
    const atMost = (tokens: number): number => (output = tokens)
    const bill: Bill = { reservation: taken.reservation, atMost, usage: meter?.end({}), owed: true }
    charge(bill, { end: 'client_gone', durationMs: leftAt, price, priceOf: prices.priceOf })
    return output - REMAINDER_TOKENS
  }

  test('in silence before the first word, or between two', () => {
    for (const came of [
      [[1000, chunk('')]],
      [
        [1000, chunk('a')],
        [99_000, chunk('b')],
      ],
    ] as const) {
      expect(outputFor(came, 100_000)).toBeWithin(7800, 8100)
    }
    expect(
      outputFor(
        [
          [1000, delta],
          [99_000, delta],
        ],
        100_000,
      ),
    ).toBeWithin(7800, 8200)
    expect(outputFor([], 100_000)).toBe(8000)
  })

  test('a stream that writes all the time is charged what it wrote', () => {
    const words = Array.from({ length: 200 }, (_, at) => [500 + at * 50, chunk('word ')] as const)
    expect(outputFor(words, 10_500)).toBeWithin(200, 700)
  })
})
