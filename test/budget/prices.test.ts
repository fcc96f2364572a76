// Prices: what a table may say, which one holds for a model, and what tokens cost to the
// micro-dollar.

import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'

import {
  bundledPrices,
  costMicroUsd,
  HIDDEN_PROMPT_TOKENS,
  MAX_PRICES_LENGTH,
  parsePrices,
  worstCaseMicroUsd,
  type Price,
} from '../../src/budget/prices.ts'

const ROW = { input: 3, output: 15, cache_read: 0.3, cache_write_5m: 3.75, cache_write_1h: 6 }
const table = (models: object, more: object = {}) =>
  JSON.stringify({ date: '2026-11-20', models, ...more })

function parsed(text: string) {
  const result = parsePrices(text)
  if (!result.ok) throw new Error(JSON.stringify(result.mistakes))
  return result.prices
}

function mistakesOf(text: string): string[] {
  const result = parsePrices(text)
  if (result.ok) return []
  for (const { hint } of result.mistakes) expect(hint).not.toBe('')
  return result.mistakes.map(({ message }) => message)
}

function priceOf(model: string, prices = bundledPrices()): Price {
  const price = prices.priceOf(model)
  if (!price) throw new Error(`no price for ${model}`)
  return price
}

const used = (input: number, output = 0, cacheRead = 0, cacheCreation = 0, oneHour = 0) => ({
  inputTokens: input,
  outputTokens: output,
  cacheReadTokens: cacheRead,
  cacheCreationTokens: cacheCreation,
  cacheCreation1hTokens: oneHour,
})

describe('the bundled table', () => {
  test('is what it demands of others, read from the file itself', () => {
    const url = new URL('../../src/budget/prices.json', import.meta.url)
    const text = readFileSync(url, 'utf8')
    expect(mistakesOf(text)).toEqual([])
    expect(bundledPrices().date).toBe(JSON.parse(text).date)
  })

  test('knows the models of today and yesterday by their usual names', () => {
    const inputs = Object.entries({
      'claude-opus-5-5': 4,
      'claude-opus-5': 5,
      'claude-opus-4-5-20251101': 5,
      'claude-opus-4-1-20250805': 15,
      'claude-opus-4-20250514': 15,
      'claude-sonnet-5-5': 2,
      'claude-sonnet-4-5-20250929': 3,
      'claude-3-7-sonnet-latest': 3,
      'claude-haiku-5-5': 0.1,
      'claude-haiku-4-5-20251001': 1,
      'claude-3-haiku-20240307': 0.25,
      'claude-fable-5-1': 10,
    })
    for (const [model, usd] of inputs) {
      expect([model, priceOf(model).rates.input]).toEqual([model, usd * 1e6])
    }
  })

  test('guesses no price from a name', () => {
    const prices = bundledPrices()
    const unknown = ['', 'gpt-5', 'claude-opus-6', 'claude-opus-5-1', 'Claude-Opus-5', '__proto__']
    for (const model of unknown) expect([model, prices.priceOf(model)]).toEqual([model, undefined])
  })
})

describe('which price holds', () => {
  const at = (usd: number) => ({ ...ROW, input: usd })
  const prices = parsed(
    table({
      'a*': at(1),
      'a-b*': at(2),
      'a-b': at(3),
      'a-b-c*': at(4),
      x: at(5),
      __proto__: at(6),
    }),
  )
  const input = (model: string) => prices.priceOf(model)?.rates.input

  test('the exact name, else the longest beginning, whatever their order', () => {
    expect(['a', 'ab', 'a-b', 'a-bc', 'a-b-', 'a-b-c', 'a-b-cd'].map(input)).toEqual(
      [1, 1, 3, 2, 2, 4, 4].map((usd) => usd * 1e6),
    )
    expect(['x', 'xy', 'b', 'constructor'].map(input)).toEqual([
      5e6,
      undefined,
      undefined,
      undefined,
    ])
  })

  test('a lone * is a price for everything else, where an operator wants one', () => {
    const all = parsed(table({ '*': at(9), a: at(1) }))
    expect(all.priceOf('anything')?.rates.input).toBe(9e6)
    expect(all.priceOf('a')?.rates.input).toBe(1e6)
  })
})

describe('a table with mistakes', () => {
  test('is refused with each of them named', () => {
    const mistakes = mistakesOf(
      table(
        {
          'no-row': 7,
          'm*d*': ROW,
          'with space': ROW,
          short: { input: 1 },
          odd: { ...ROW, input: '3', output: -1, cache_read: 0.0000001, cache_write_5m: 1e9 },
          more: { ...ROW, cached: 1 },
          long: { ...ROW, long_prompt: { ...ROW, above_tokens: 0.5 } },
          long2: { ...ROW, long_prompt: { above_tokens: 5 } },
          long3: { ...ROW, long_prompt: [] },
        },
        { date: '2026-02-30', source: 7, extra: 1 },
      ),
    )
    expect(mistakes).toEqual([
      'the table has a member "extra" that nothing reads',
      'source is no text',
      'date is no date',
      'models["no-row"] is no object',
      'models["m*d*"] is no name of models',
      'models["with space"] is no name of models',
      'models["short"].output is missing',
      'models["short"].cache_read is missing',
      'models["short"].cache_write_5m is missing',
      'models["short"].cache_write_1h is missing',
      'models["odd"].input is no price',
      'models["odd"].output is no price',
      'models["odd"].cache_read has more than six decimals',
      'models["odd"].cache_write_5m is no price',
      'models["more"] has a member "cached" that nothing reads',
      'models["long"].long_prompt.above_tokens is no number of tokens',
      'models["long2"].long_prompt.input is missing',
      'models["long2"].long_prompt.output is missing',
      'models["long2"].long_prompt.cache_read is missing',
      'models["long2"].long_prompt.cache_write_5m is missing',
      'models["long2"].long_prompt.cache_write_1h is missing',
      'models["long3"].long_prompt is no object',
    ])
  })

  test('two prices for one model are not the last one', () => {
    const row = JSON.stringify(ROW)
    const twice = `{"date":"2026-11-20","models":{"a":${row},"a":${row}}}`
    expect(mistakesOf(twice)).toEqual(['is not a JSON object whose members appear once each'])
  })

  test('no JSON, no object, no models, an empty name, something huge', () => {
    for (const text of ['', '[]', 'null', '{', 'date: 2026'])
      expect(mistakesOf(text)).toHaveLength(1)
    for (const models of [undefined, null, [], {}, 'a']) {
      expect(mistakesOf(table(models as object))).toEqual(['models names no model'])
    }
    expect(mistakesOf(table({ '': ROW }))).toEqual(['models[""] is no name of models'])
    expect(mistakesOf(' '.repeat(MAX_PRICES_LENGTH + 1))).toEqual(['is larger than 1 MiB'])
  })

  test('free is a price', () => {
    const free = { input: 0, output: 0, cache_read: 0, cache_write_5m: 0, cache_write_1h: 0 }
    const price = priceOf('a', parsed(table({ a: free })))
    expect(costMicroUsd(used(5, 5, 5, 5, 5), price)).toBe(0)
  })
})

describe('what tokens cost', () => {
  const sonnet = priceOf('claude-sonnet-4-5')

  test('each class has its price, and an hour of cache has its own', () => {
    expect(costMicroUsd(used(1_000_000), sonnet)).toBe(3_000_000)
    expect(costMicroUsd(used(0, 1_000_000), sonnet)).toBe(15_000_000)
    expect(costMicroUsd(used(0, 0, 1_000_000), sonnet)).toBe(300_000)
    expect(costMicroUsd(used(0, 0, 0, 1_000_000), sonnet)).toBe(3_750_000)
    expect(costMicroUsd(used(0, 0, 0, 1_000_000, 1_000_000), sonnet)).toBe(6_000_000)
    expect(costMicroUsd(used(0, 0, 0, 1_000_000, 400_000), sonnet)).toBe(4_650_000)
  })

  test('is rounded up, once and not in each class', () => {
    expect(costMicroUsd(used(0), sonnet)).toBe(0)
    expect(costMicroUsd(used(0, 0, 1), sonnet)).toBe(1)
    // 0.3 + 3.75 = 4.05
    expect(costMicroUsd(used(0, 0, 1, 1), sonnet)).toBe(5)
    expect(costMicroUsd(used(0, 0, 10), sonnet)).toBe(3)
    // 0.1 + 0.2 is not 0.3 in floating point: three reads at 0.1 are exactly 0.3, and then up to 1.
    const haiku = priceOf('claude-haiku-4-5')
    expect(costMicroUsd(used(0, 0, 30), haiku)).toBe(3)
  })

  test('is exact where floating point is not', () => {
    const dear = priceOf(
      'a',
      parsed(table({ a: { ...ROW, input: 0.000001, output: 99_999.999999 } })),
    )
    expect(costMicroUsd(used(1_000_000_007), dear)).toBe(1001)
    expect(costMicroUsd(used(0, 89_999), dear)).toBe(8_999_900_000)
    expect(costMicroUsd(used(0, Number.MAX_SAFE_INTEGER), dear)).toBe(Number.MAX_SAFE_INTEGER)
  })

  test('a part that is larger than its whole costs no less for it', () => {
    expect(costMicroUsd(used(0, 0, 0, 5, 10), sonnet)).toBe(60)
  })

  test('a prompt over the limit is billed at its own prices, all of it, cached tokens counted', () => {
    const haiku = priceOf('claude-haiku-5-5')
    expect(costMicroUsd(used(100_000, 1000), haiku)).toBe(10_500)
    expect(costMicroUsd(used(100_001, 1000), haiku)).toBe(52_501)
    expect(costMicroUsd(used(1, 0, 60_000, 40_000), haiku)).toBe(28_001)
    expect(costMicroUsd(used(0, 0, 60_000, 40_000), haiku)).toBe(5600)
  })
})

describe('the most that a request can cost', () => {
  test('covers every way its bytes can be billed, in any split', () => {
    for (const model of ['claude-sonnet-4-5', 'claude-haiku-5-5', 'claude-fable-5-1']) {
      const price = priceOf(model)
      for (const inputBytes of [0, 1, 97_952, 97_953, 300_000]) {
        const worst = worstCaseMicroUsd(price, { inputBytes, maxTokens: 1000 })
        const all = inputBytes + HIDDEN_PROMPT_TOKENS
        for (const usage of [
          used(all, 1000),
          used(0, 1000, all),
          used(0, 1000, 0, all),
          used(0, 1000, 0, all, all),
          used(Math.floor(all / 3), 999, Math.floor(all / 3), Math.floor(all / 3), 1),
        ]) {
          expect(costMicroUsd(usage, price)).toBeLessThanOrEqual(worst)
        }
      }
    }
  })

  test('is an hour of cache for the prompt and all of the output', () => {
    const worst = worstCaseMicroUsd(priceOf('claude-sonnet-4-5'), {
      inputBytes: 1000,
      maxTokens: 100,
    })
    expect(worst).toBe((1000 + HIDDEN_PROMPT_TOKENS) * 6 + 100 * 15)
  })

  test('what a stranger asks for stays a number', () => {
    const price = priceOf('claude-opus-5-5')
    const extent = { inputBytes: 2 ** 25, maxTokens: Number.MAX_SAFE_INTEGER }
    expect(worstCaseMicroUsd(price, extent)).toBe(Number.MAX_SAFE_INTEGER)
  })
})
