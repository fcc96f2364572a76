// What is reserved: as much as a request could cost, and not more than its models can read and write.

import { describe, expect, test } from 'bun:test'
import { costly as plain } from '../support/costly.ts'
import type { Costly } from '../../src/upstream/costly.ts'
import { bundledPrices, parsePrices } from '../../src/budget/price-table.ts'
import { HIDDEN_PROMPT_TOKENS, type Prices } from '../../src/budget/prices.ts'
import { MAX_IMAGE_TOKENS, mostOf } from '../../src/budget/worst-case.ts'

/** Micro-dollars for a token: 1 in, 2 out, 3 and 4 to write a cache. */
const rates = { input: 1, output: 2, cache_read: 0, cache_write_5m: 3, cache_write_1h: 4 }
const limits = { context_tokens: 100_000, max_output_tokens: 10_000 }
const parsed = parsePrices(
  JSON.stringify({
    date: '2026-11-29',
    server_tools: { web_search_requests: 10_000, code_execution_hours: 1 },
    models: {
      m: { ...rates, ...limits, multipliers: { 'speed:fast': 2, 'inference_geo:us': 1.5 } },
      slow: { ...rates, ...limits, multipliers: { 'inference_geo:us': 1.5 } },
      old: rates,
    },
  }),
)
if (!parsed.ok) throw new Error('prices')
const { prices } = parsed

const costly = (over: Partial<Costly> = {}): Costly => plain({ textBytes: 1000, ...over })
function most(over: Partial<Costly> = {}, maxTokens = 100, on: Prices = prices): number | string {
  const found = mostOf(costly(over), maxTokens, on)
  return found.ok ? found.microUsd : `${found.model}: ${found.what ?? 'no price'}`
}
const PROMPT = 1000 + HIDDEN_PROMPT_TOKENS
const OWN = PROMPT + 200

test("text by its bytes, images by the API's maximum", () => {
  expect(most()).toBe(OWN)
  expect(most({ images: 3 })).toBe(OWN + 3 * MAX_IMAGE_TOKENS)
})

test("never more than the model's window and its longest answer", () => {
  expect(most({ textBytes: 33_554_432, images: 600 }, 1e15)).toBe(100_000 + 20_000)
  expect(most({ refers: true })).toBe(100_000 + 200)
  // A table that says nothing of a window.
  expect(most({ refers: true, model: 'old' })).toBe(1_000_000 + HIDDEN_PROMPT_TOKENS + 200)
})

test('a price class only if it is requested', () => {
  expect(most({ cacheWrite: '5m' })).toBe(PROMPT * 3 + 200)
  expect(most({ cacheWrite: '1h' })).toBe(PROMPT * 4 + 200)
  expect(most({ priceClasses: ['speed:fast'] })).toBe(OWN * 2)
  expect(most({ priceClasses: ['speed:fast', 'inference_geo:us'] })).toBe(OWN * 3)
  expect(most({ priceClasses: ['speed:warp'] })).toBe('m: speed:warp')
  expect(most({ model: 'slow', priceClasses: ['speed:fast'] })).toBe('slow: speed:fast')
})

test('tools, code, compaction and other models that the API runs', () => {
  expect(most({ serverTools: { web_search_requests: 8 } })).toBe(OWN + 80_000_000)
  expect(most({ serverTools: { oracle_requests: 1 } })).toBe('m: oracle_requests')
  expect(most({ runsCode: true })).toBe(OWN + 1_000_000)
  expect(most({ compacts: true })).toBe(OWN * 2)
  expect(most({ models: ['m', 'slow'] })).toBe(OWN * 3)
  expect(most({ models: ['unheard-of'] })).toBe('unheard-of: no price')
})

test('each fallback, at its own length and speed', () => {
  const fallback = { model: 'slow', maxTokens: undefined, priceClasses: undefined }
  expect(most({ fallbacks: [fallback, { ...fallback, maxTokens: 500 }] })).toBe(OWN * 3 + 800)
  const fast = { priceClasses: ['speed:fast', 'inference_geo:us'] }
  // `slow` cannot be fast, and is not where it need not be.
  expect(most({ ...fast, fallbacks: [fallback] })).toBe(OWN * 3 + OWN * 1.5)
  expect(most({ ...fast, fallbacks: [{ ...fallback, priceClasses: ['speed:fast'] }] })).toBe(
    'slow: speed:fast',
  )
  expect(most({ fallbacks: [{ ...fallback, model: 'unheard-of' }] })).toBe('unheard-of: no price')
})

test('each call of an advisor, which reads the whole conversation', () => {
  const advisor = { model: 'm', maxUses: 2, maxTokens: 50, cacheWrite: 'none' } as const
  const call = PROMPT + 100 + 100
  expect(most({ advisors: [advisor] })).toBe(OWN + 2 * call)
  expect(most({ advisors: [{ ...advisor, maxUses: 0 }] })).toBe(OWN)
  // Where it says nothing: three calls of 16,384 tokens, and the model writes 10,000 at the most.
  expect(most({ advisors: [{ ...advisor, maxUses: undefined, maxTokens: undefined }] })).toBe(
    OWN + 3 * (PROMPT + 100 + 20_000),
  )
  expect(most({ advisors: [{ ...advisor, maxUses: 9e15 }] })).toBe(Number.MAX_SAFE_INTEGER)
})

describe('with the prices that are built in', () => {
  const usd = (over: Partial<Costly>, maxTokens: number): number =>
    Number(most(over, maxTokens, bundledPrices())) / 1e6

  test('usual requests fit under a cap of $20', () => {
    for (const model of [
      'claude-opus-5',
      'claude-opus-4-8',
      'claude-opus-5-5',
      'claude-fable-5-2',
    ]) {
      // An image; a whole window of text; a document of any length; a search as Claude Code asks for.
      expect(usd({ model, images: 1 }, 64_000)).toBeLessThan(3)
      expect(usd({ model, textBytes: 32e6, cacheWrite: '5m' }, 64_000)).toBeLessThan(20)
      expect(usd({ model, refers: true, cacheWrite: '5m' }, 64_000)).toBeLessThan(20)
      expect(
        usd({ model, refers: true, serverTools: { web_search_requests: 8 } }, 32_000),
      ).toBeLessThan(20)
    }
  })

  test("Claude Code's first word costs 80 KB at the price of five minutes", () => {
    const model = 'claude-opus-4-8'
    const tokens = 80_000 + HIDDEN_PROMPT_TOKENS
    expect(usd({ model, textBytes: 80_000, cacheWrite: '5m' }, 64_000)).toBeCloseTo(
      (tokens * 6.25 + 64_000 * 25) / 1e6,
      5,
    )
  })
})
