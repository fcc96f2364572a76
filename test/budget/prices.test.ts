// Prices: what a table may say, which one holds for a model, and what tokens cost to the
// micro-dollar.

import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'

import { bundledPrices, MAX_PRICES_LENGTH, parsePrices } from '../../src/budget/price-table.ts'
import {
  costOf,
  HIDDEN_PROMPT_TOKENS,
  type Price,
  type RequestFacts,
  worstCase,
} from '../../src/budget/prices.ts'
import { priceClassesIn } from '../../src/upstream/reading/price-classes.ts'

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

/** Micro-dollars for a token. */
const MEDIA = {
  input: 1,
  output: 2,
  cache_read: 0,
  cache_write_5m: 1,
  cache_write_1h: 1,
  audio: { input: 10, output: 20 },
  image: { input: 5, output: 6 },
}

test('audio and images at their own price, and at that of text without one', () => {
  const parts = {
    reasoningTokens: 7,
    audioInputTokens: 10,
    imageInputTokens: 20,
    audioOutputTokens: 3,
    imageOutputTokens: 0,
  }
  const billed = { ...used(100, 50), parts }
  const price = priceOf('m', parsed(table({ m: MEDIA })))
  expect(costOf(price, billed)).toBe(70 * 1 + 10 * 10 + 20 * 5 + 47 * 2 + 3 * 20)
  const plain = priceOf('m', parsed(table({ m: { ...MEDIA, audio: undefined, image: undefined } })))
  expect(costOf(plain, billed)).toBe(100 + 100)
  // Never more tokens than there are.
  expect(costOf(price, { ...used(5, 0), parts })).toBe(50)
})

test('the maximum cost of several responses, and of audio', () => {
  const price = priceOf('m', parsed(table({ m: { ...MEDIA, max_output_tokens: 50 } })))
  const most = (more: Partial<RequestFacts>) => {
    const found = worstCase(price, {
      promptTokens: 100,
      maxTokens: 80,
      cacheWrite: 'none',
      ...more,
    })
    return found.ok && found.microUsd
  }
  const prompt = 100 + HIDDEN_PROMPT_TOKENS
  expect(most({})).toBe(prompt + 50 * 2)
  expect(most({ answers: 3 })).toBe(prompt + 3 * 50 * 2)
  expect(most({ media: ['audio'] })).toBe(prompt * 10 + 50 * 20)
  expect(most({ media: ['image'] })).toBe(prompt * 5 + 50 * 6)
})

const used = (input: number, output = 0, cacheRead = 0, cacheCreation = 0, oneHour = 0) => ({
  inputTokens: input,
  outputTokens: output,
  cacheReadTokens: cacheRead,
  cacheCreationTokens: cacheCreation,
  cacheCreation1hTokens: oneHour,
})

describe('the bundled table', () => {
  test('is valid, and has the date of its file', () => {
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
      'claude-fable-5-2': 8,
      'gpt-6.2-sol': 2,
      'gpt-5.4-2026-03-05': 2.5,
      'gpt-4o': 2.5,
      'gpt-4o-2024-05-13': 5,
      'gpt-4o-mini-2024-07-18': 0.15,
      'text-embedding-3-small': 0.02,
    })
    for (const [model, usd] of inputs) {
      expect([model, priceOf(model).rates.input]).toEqual([model, usd * 1e6])
    }
  })

  test("has limits and a batch price for each of Anthropic's models", () => {
    const url = new URL('../../src/budget/prices.json', import.meta.url)
    for (const name of Object.keys(JSON.parse(readFileSync(url, 'utf8')).models)) {
      if (!name.startsWith('claude')) continue
      const { contextTokens = 0, maxOutputTokens = 0, multipliers } = priceOf(name.replace('*', ''))
      expect([name, contextTokens >= 200_000, maxOutputTokens >= 4096]).toEqual([name, true, true])
      expect([name, multipliers.get('service_tier:batch')]).toEqual([name, 500_000])
    }
  })

  test('guesses no price from a name', () => {
    const prices = bundledPrices()
    const unknown = [
      '',
      'gpt-9',
      'gpt-4.1-micro',
      'gpt-4o-2024',
      'claude-opus-6',
      'claude-opus-5-1',
      'Claude-Opus-5',
      '__proto__',
    ]
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

  test("a model as it was on a day has the model's, before any beginning that fits", () => {
    const days = parsed(table({ 'm*': at(1), m: at(2), 'm-2026-01-02': at(3) }))
    const of = (model: string) => days.priceOf(model)?.rates.input
    expect(['m', 'm-2026-05-06', 'm-2026-01-02', 'm-2026', 'm-x'].map(of)).toEqual(
      [2, 2, 3, 1, 1].map((usd) => usd * 1e6),
    )
  })

  test('a lone * prices every other model, if an operator wants one', () => {
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
          limits: { ...ROW, context_tokens: '1M', max_output_tokens: 0 },
          times: {
            ...ROW,
            multipliers: {
              fast: 2,
              'speed:standard': 1,
              'speed:fast': -1,
              'inference_geo:us': 1e-7,
            },
          },
          times2: { ...ROW, multipliers: 2 },
        },
        {
          date: '2026-02-30',
          source: 7,
          extra: 1,
          server_tools: { web_search: 10, web_fetch_requests: '0', code_execution_hours: -1 },
        },
      ),
    )
    expect(mistakes).toEqual([
      'the table has a member "extra" that nothing reads',
      'source is not a string',
      'date is not a date',
      'server_tools["web_search"] is not a server tool',
      'server_tools["web_fetch_requests"] is not a price',
      'server_tools["code_execution_hours"] is not a price',
      'models["no-row"] is not an object',
      'models["m*d*"] is not a model name or prefix',
      'models["with space"] is not a model name or prefix',
      'models["short"].output is missing',
      'models["short"].cache_read is missing',
      'models["short"].cache_write_5m is missing',
      'models["short"].cache_write_1h is missing',
      'models["odd"].input is not a price',
      'models["odd"].output is not a price',
      'models["odd"].cache_read has more than six decimals',
      'models["odd"].cache_write_5m is not a price',
      'models["more"] has a member "cached" that nothing reads',
      'models["long"].long_prompt.above_tokens is not a number of tokens',
      'models["long2"].long_prompt.input is missing',
      'models["long2"].long_prompt.output is missing',
      'models["long2"].long_prompt.cache_read is missing',
      'models["long2"].long_prompt.cache_write_5m is missing',
      'models["long2"].long_prompt.cache_write_1h is missing',
      'models["long3"].long_prompt is not an object',
      'models["limits"].context_tokens is not a number of tokens',
      'models["limits"].max_output_tokens is not a number of tokens',
      'models["times"].multipliers["fast"] is not a price class',
      'models["times"].multipliers["speed:standard"] is not a price class',
      'models["times"].multipliers["speed:fast"] is not a multiplier',
      'models["times"].multipliers["inference_geo:us"] has more than six decimals',
      'models["times2"].multipliers is not an object',
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
    expect(mistakesOf(table({ '': ROW }))).toEqual(['models[""] is not a model name or prefix'])
    expect(mistakesOf(' '.repeat(MAX_PRICES_LENGTH + 1))).toEqual(['is larger than 1 MiB'])
  })

  test('free is a price', () => {
    const free = { input: 0, output: 0, cache_read: 0, cache_write_5m: 0, cache_write_1h: 0 }
    const price = priceOf('a', parsed(table({ a: free })))
    expect(costOf(price, used(5, 5, 5, 5, 5))).toBe(0)
  })
})

describe('the cost of tokens', () => {
  const sonnet = priceOf('claude-sonnet-4-5')

  test('each class has its price, and an hour of cache has its own', () => {
    expect(costOf(sonnet, used(1_000_000))).toBe(3_000_000)
    expect(costOf(sonnet, used(0, 1_000_000))).toBe(15_000_000)
    expect(costOf(sonnet, used(0, 0, 1_000_000))).toBe(300_000)
    expect(costOf(sonnet, used(0, 0, 0, 1_000_000))).toBe(3_750_000)
    expect(costOf(sonnet, used(0, 0, 0, 1_000_000, 1_000_000))).toBe(6_000_000)
    expect(costOf(sonnet, used(0, 0, 0, 1_000_000, 400_000))).toBe(4_650_000)
  })

  test('is rounded up, once and not in each class', () => {
    expect(costOf(sonnet, used(0))).toBe(0)
    expect(costOf(sonnet, used(0, 0, 1))).toBe(1)
    // 0.3 + 3.75 = 4.05
    expect(costOf(sonnet, used(0, 0, 1, 1))).toBe(5)
    expect(costOf(sonnet, used(0, 0, 10))).toBe(3)
    // 0.1 + 0.2 is not 0.3 in floating point: three reads at 0.1 are exactly 0.3, and then up to 1.
    const haiku = priceOf('claude-haiku-4-5')
    expect(costOf(haiku, used(0, 0, 30))).toBe(3)
  })

  test('is exact, unlike floating point', () => {
    const dear = priceOf(
      'a',
      parsed(table({ a: { ...ROW, input: 0.000001, output: 99_999.999999 } })),
    )
    expect(costOf(dear, used(1_000_000_007))).toBe(1001)
    expect(costOf(dear, used(0, 89_999))).toBe(8_999_900_000)
    expect(costOf(dear, used(0, Number.MAX_SAFE_INTEGER))).toBe(Number.MAX_SAFE_INTEGER)
  })

  test('a part that is larger than its whole costs no less for it', () => {
    expect(costOf(sonnet, used(0, 0, 0, 5, 10))).toBe(60)
  })

  test('a prompt over the limit is billed at its own prices, all of it, cached tokens counted', () => {
    const haiku = priceOf('claude-haiku-5-5')
    expect(costOf(haiku, used(100_000, 1000))).toBe(10_500)
    expect(costOf(haiku, used(100_001, 1000))).toBe(52_501)
    expect(costOf(haiku, used(1, 0, 60_000, 40_000))).toBe(28_001)
    expect(costOf(haiku, used(0, 0, 60_000, 40_000))).toBe(5600)
  })
})

describe('price classes', () => {
  const opus = priceOf('claude-opus-5-5')
  const million = { ...used(1_000_000, 1_000_000), cacheReadTokens: 1_000_000 }
  const cost = (...priceClasses: string[]) => costOf(opus, { ...million, priceClasses })

  test('are read from a body or a usage object; the list price has none', () => {
    for (const plain of [
      {},
      { speed: null, service_tier: 'auto' },
      { speed: 'standard', inference_geo: 'not_available', service_tier: 'standard' },
      { inference_geo: 'global', service_tier: 'standard_only', model: 'x' },
    ]) {
      expect(priceClassesIn(plain)).toEqual([])
    }
    expect(priceClassesIn({ speed: 'fast', inference_geo: 'us', service_tier: 'batch' })).toEqual([
      'speed:fast',
      'inference_geo:us',
      'service_tier:batch',
    ])
    const odd = { speed: 7, inference_geo: 'a:b', service_tier: '' }
    expect(priceClassesIn(odd)).toEqual(['speed:?', 'inference_geo:?', 'service_tier:?'])
  })

  test('multiply the price of every token, and each other', () => {
    expect(cost()).toBe(24_200_000)
    expect(cost('speed:fast')).toBe(48_400_000)
    expect(cost('inference_geo:us')).toBe(26_620_000)
    expect(cost('speed:fast', 'inference_geo:us')).toBe(53_240_000)
    expect(cost('service_tier:batch')).toBe(12_100_000)
    expect(cost('service_tier:priority')).toBe(24_200_000)
  })

  test('are rounded up once, without a loss on the way', () => {
    const one = { ...used(0, 1), priceClasses: ['inference_geo:us', 'service_tier:batch'] }
    // 20 * 1.1 * 0.5 = 11 exactly
    expect(costOf(opus, one)).toBe(11)
    expect(costOf(opus, { ...one, cacheReadTokens: 1 })).toBe(12)
  })

  test('that the table does not know have no cost, and never the list price', () => {
    expect(cost('speed:faster')).toBeUndefined()
    expect(cost('inference_geo:eu', 'speed:fast')).toBeUndefined()
    const old = priceOf('a', parsed(table({ a: ROW })))
    expect(costOf(old, { ...million, priceClasses: ['speed:fast'] })).toBeUndefined()
    expect(costOf(old, million)).toBe(18_300_000)
    const facts = { promptTokens: 1, maxTokens: 1, cacheWrite: 'none' } as const
    expect(worstCase(old, { ...facts, priceClasses: ['service_tier:batch'] })).toEqual({
      ok: false,
      unpriced: 'service_tier:batch',
    })
  })
})

describe('server tools', () => {
  const opus = priceOf('claude-opus-5-5')

  test('are priced by request, whatever the speed', () => {
    const searched = { ...used(0), serverTools: { web_search_requests: 3, web_fetch_requests: 5 } }
    expect(costOf(opus, searched)).toBe(30_000)
    expect(costOf(opus, { ...searched, priceClasses: ['speed:fast'] })).toBe(30_000)
  })

  test('without a price have no cost, if they were used', () => {
    const tool = (count: number) => ({ ...used(1), serverTools: { time_travel_requests: count } })
    expect(costOf(opus, tool(0))).toBe(4)
    expect(costOf(opus, tool(1))).toBeUndefined()
    const old = priceOf('a', parsed(table({ a: ROW })))
    expect(costOf(old, { ...used(1), serverTools: { web_search_requests: 1 } })).toBeUndefined()
    expect(costOf(old, { ...used(1), codeExecutionMs: 1 })).toBeUndefined()
  })

  test('code is billed for five minutes at the least', () => {
    const ran = (codeExecutionMs: number) => costOf(opus, { ...used(0), codeExecutionMs })
    expect([ran(0), ran(300_000), ran(3_600_000)]).toEqual([4167, 4167, 50_000])
  })

  test('are reserved if they are requested, or named if they have no price', () => {
    const facts = { promptTokens: 0, maxTokens: 0, cacheWrite: 'none' } as const
    const prompt = HIDDEN_PROMPT_TOKENS * 4
    const searches = { ...facts, serverTools: { web_search_requests: 5 } }
    expect(worstCase(opus, searches)).toEqual({ ok: true, microUsd: prompt + 50_000 })
    const code = { ...facts, codeExecutionMs: 3_600_000 }
    expect(worstCase(opus, code)).toEqual({ ok: true, microUsd: prompt + 50_000 })
    const unknown = { ...facts, serverTools: { time_travel_requests: 1 } }
    expect(worstCase(opus, unknown)).toEqual({ ok: false, unpriced: 'time_travel_requests' })
    const old = priceOf('a', parsed(table({ a: ROW })))
    expect(worstCase(old, code)).toEqual({ ok: false, unpriced: 'code_execution_hours' })
  })
})

describe('the most that a request can cost', () => {
  const worst = (price: Price, facts: RequestFacts): number => {
    const found = worstCase(price, facts)
    if (!found.ok) throw new Error(found.unpriced)
    return found.microUsd
  }

  test('covers every way its prompt can be billed, in any split', () => {
    for (const model of ['claude-sonnet-4-5', 'claude-haiku-5-5', 'claude-fable-5-1']) {
      const price = priceOf(model)
      for (const promptTokens of [0, 1, 97_952, 97_953, 190_000]) {
        const facts = { promptTokens, maxTokens: 1000, cacheWrite: '1h' } as const
        const most = worst(price, facts)
        const all = promptTokens + HIDDEN_PROMPT_TOKENS
        for (const usage of [
          used(all, 1000),
          used(0, 1000, all),
          used(0, 1000, 0, all),
          used(0, 1000, 0, all, all),
          used(Math.floor(all / 3), 999, Math.floor(all / 3), Math.floor(all / 3), 1),
        ]) {
          expect(costOf(price, usage)).toBeLessThanOrEqual(most)
        }
      }
    }
  })

  test('is the dearest cache write that was asked for, and all of the output', () => {
    const price = priceOf('claude-sonnet-4-5')
    const facts = { promptTokens: 1000, maxTokens: 100 }
    const prompt = 1000 + HIDDEN_PROMPT_TOKENS
    expect(worst(price, { ...facts, cacheWrite: '1h' })).toBe(prompt * 6 + 1500)
    expect(worst(price, { ...facts, cacheWrite: '5m' })).toBe(prompt * 3.75 + 1500)
    expect(worst(price, { ...facts, cacheWrite: 'none' })).toBe(prompt * 3 + 1500)
  })

  test('is at the price classes that were asked for', () => {
    const price = priceOf('claude-opus-5-5')
    const facts = { promptTokens: 0, maxTokens: 1000, cacheWrite: 'none' } as const
    const plain = HIDDEN_PROMPT_TOKENS * 4 + 20_000
    expect(worst(price, facts)).toBe(plain)
    expect(worst(price, { ...facts, priceClasses: ['speed:fast'] })).toBe(plain * 2)
    expect(worst(price, { ...facts, priceClasses: ['service_tier:batch'] })).toBe(plain / 2)
  })

  test('of a tier that the account decides, is the dearer of the two', () => {
    const dear = parsed(table({ a: { ...ROW, multipliers: { 'service_tier:priority': 1.5 } } }))
    const facts = { promptTokens: 0, maxTokens: 0, cacheWrite: 'none' } as const
    expect(worst(priceOf('a', dear), facts)).toBe(HIDDEN_PROMPT_TOKENS * 4.5)
  })

  test('is never more than the model can read and write', () => {
    const price = priceOf('claude-opus-5-5')
    const all = { promptTokens: 2 ** 25, maxTokens: Number.MAX_SAFE_INTEGER } as const
    expect(worst(price, { ...all, cacheWrite: 'none' })).toBe(4_000_000 + 128_000 * 20)
    expect(worst(price, { ...all, cacheWrite: 'none', samplings: 10 })).toBe(
      40_000_000 + 128_000 * 20,
    )
    // A batch may be allowed longer answers than the model's own limit.
    const batch = { ...all, maxTokens: 300_000, priceClasses: ['service_tier:batch'] }
    expect(worst(price, { ...batch, cacheWrite: 'none' })).toBe(2_000_000 + 150_000 * 20)
  })

  test("a stranger's request costs a finite number even if the table has no limits", () => {
    const price = priceOf('a', parsed(table({ a: ROW })))
    const facts = { promptTokens: 2 ** 25, maxTokens: Number.MAX_SAFE_INTEGER } as const
    expect(worst(price, { ...facts, cacheWrite: '1h' })).toBe(Number.MAX_SAFE_INTEGER)
  })
})
