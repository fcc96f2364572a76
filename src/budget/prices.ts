// What tokens cost: a table of prices by model, the cost of what was used, and the most that a
// request can cost before it is sent. Money is whole micro-dollars, rounded up once a request.
//
// A model that is not in the table has no price here, and none is guessed from its name.

import { parseStrictObject } from '../admit/strict-json.ts'
import type { TokenCounts } from '../upstream/tally.ts'
import bundled from './prices.json'

/** Micro-dollars for a million tokens: an integer, where dollars would be fractions. */
export interface Rates {
  readonly input: number
  readonly output: number
  readonly cacheRead: number
  readonly cacheWrite5m: number
  readonly cacheWrite1h: number
}

export interface Price {
  readonly rates: Rates
  /** The whole request is billed at these, where its prompt (cached tokens too) is longer. */
  readonly longPrompt?: { readonly aboveTokens: number; readonly rates: Rates }
}

export interface Prices {
  /** When somebody last compared the table with what the provider asks, `YYYY-MM-DD`. */
  readonly date: string
  /** Of an exact name, else of the longest pattern that fits; undefined where neither does. */
  priceOf(model: string): Price | undefined
}

export interface PriceMistake {
  readonly message: string
  readonly hint: string
}

export type ParsedPrices =
  | { readonly ok: true; readonly prices: Prices }
  | { readonly ok: false; readonly mistakes: readonly PriceMistake[] }

/** An operator's file; the bound is against a path that names something else. */
export const MAX_PRICES_LENGTH = 1_048_576

/** A thousand times the dearest; a price in micro-dollars by mistake is above it. */
const MAX_USD_PER_MILLION = 100_000

/**
 * Tokens that Anthropic adds and bills and no body shows: the prompt that tools bring along (some
 * 500 tokens), marks around messages.
 */
export const HIDDEN_PROMPT_TOKENS = 2048

const RATE_FIELDS = {
  input: 'input',
  output: 'output',
  cache_read: 'cacheRead',
  cache_write_5m: 'cacheWrite5m',
  cache_write_1h: 'cacheWrite1h',
} as const satisfies Readonly<Record<string, keyof Rates>>
const RATE_NAMES = Object.keys(RATE_FIELDS) as (keyof typeof RATE_FIELDS)[]

/** The table that comes with the program. */
export function bundledPrices(): Prices {
  const parsed = parsePrices(JSON.stringify(bundled))
  if (!parsed.ok) throw new Error('the bundled price table is wrong')
  return parsed.prices
}

/** Strict, since a price that is not read is a request that costs nothing. */
export function parsePrices(text: string): ParsedPrices {
  if (text.length > MAX_PRICES_LENGTH) {
    return mistaken('is larger than 1 MiB', 'check the path; a price table is a few kilobytes')
  }
  const table = parseStrictObject(text)
  if (!table) {
    return mistaken(
      'is not a JSON object whose members appear once each',
      'start from src/budget/prices.json',
    )
  }
  const mistakes: PriceMistake[] = []
  unknownMembers(table, ['date', 'source', 'note', 'models'], 'the table', mistakes)
  for (const name of ['source', 'note']) {
    if (table[name] !== undefined && typeof table[name] !== 'string') {
      mistakes.push({ message: `${name} is no text`, hint: 'give a string, or leave it out' })
    }
  }
  const { date, models } = table
  if (!isDate(date)) {
    mistakes.push({ message: 'date is no date', hint: 'say when it was checked, as 2026-11-20' })
  }
  const exact = new Map<string, Price>()
  const patterns: (readonly [prefix: string, price: Price])[] = []
  if (!isObject(models) || Object.keys(models).length === 0) {
    mistakes.push({ message: 'models names no model', hint: 'give an object, a member for each' })
  } else {
    for (const [name, given] of Object.entries(models)) {
      const label = `models[${JSON.stringify(name)}]`
      if (!/^[\x21-\x29\x2b-\x7e]{0,128}\*?$/.test(name) || name === '') {
        const hint = 'give an exact name, or its beginning and then one *'
        mistakes.push({ message: `${label} is no name of models`, hint })
      }
      const price = readPrice(given, label, mistakes)
      if (name.endsWith('*')) patterns.push([name.slice(0, -1), price])
      else exact.set(name, price)
    }
  }
  if (mistakes.length > 0 || !isDate(date)) return { ok: false, mistakes }
  patterns.sort(([a], [b]) => b.length - a.length)
  const priceOf = (model: string): Price | undefined =>
    exact.get(model) ?? patterns.find(([prefix]) => model.startsWith(prefix))?.[1]
  return { ok: true, prices: { date, priceOf } }
}

/** Rounded up to a whole micro-dollar, once, over all that the request used. */
export function costMicroUsd(usage: TokenCounts, price: Price): number {
  const promptTokens = usage.inputTokens + usage.cacheReadTokens + usage.cacheCreationTokens
  const isLong = price.longPrompt !== undefined && promptTokens > price.longPrompt.aboveTokens
  const rates = isLong ? price.longPrompt.rates : price.rates
  return microUsd([
    [usage.inputTokens, rates.input],
    [usage.outputTokens, rates.output],
    [usage.cacheReadTokens, rates.cacheRead],
    [usage.cacheCreation1hTokens, rates.cacheWrite1h],
    // Where it is not said for how long, it is for 5 minutes: the default of the API.
    [usage.cacheCreationTokens - usage.cacheCreation1hTokens, rates.cacheWrite5m],
  ])
}

export interface Extent {
  /** The request's body, decoded: a compressed one says nothing about its tokens. */
  readonly inputBytes: number
  /** What the request allows for output, thinking included. */
  readonly maxTokens: number
}

/**
 * What to reserve: every byte of the body a token, each at the dearest price that a token of a
 * prompt can have (a cache write for an hour costs twice an input token), and all the output that
 * was allowed. A token of text stands for at least a byte, and JSON never writes it in fewer.
 *
 * Not bounded by it is what a body only points at, and what is seen after the fact alone: images
 * and documents by URL or file id (and an image that compresses better than its pixels count), the
 * results and repeated turns of server tools, compaction, an advisor model, and the few characters
 * that a tokenizer's normalization makes longer.
 */
export function worstCaseMicroUsd(price: Price, { inputBytes, maxTokens }: Extent): number {
  const promptTokens = inputBytes + HIDDEN_PROMPT_TOKENS
  const worst = ({ output, ...prompt }: Rates): number =>
    microUsd([
      [promptTokens, Math.max(...Object.values(prompt))],
      [maxTokens, output],
    ])
  const short = worst(price.rates)
  const { longPrompt } = price
  if (!longPrompt || promptTokens <= longPrompt.aboveTokens) return short
  return Math.max(short, worst(longPrompt.rates))
}

const MILLION = 1_000_000n

/** `max_tokens` is a stranger's: a sum too large for a number is the largest there is. */
function microUsd(parts: readonly (readonly [tokens: number, rate: number])[]): number {
  let total = 0n
  for (const [tokens, rate] of parts) total += BigInt(Math.max(0, tokens)) * BigInt(rate)
  const rounded = (total + MILLION - 1n) / MILLION
  return rounded > Number.MAX_SAFE_INTEGER ? Number.MAX_SAFE_INTEGER : Number(rounded)
}

function readPrice(given: unknown, label: string, mistakes: PriceMistake[]): Price {
  if (!isObject(given)) {
    mistakes.push({ message: `${label} is no object`, hint: `give ${RATE_NAMES.join(', ')}` })
    return { rates: NO_RATES }
  }
  unknownMembers(given, [...RATE_NAMES, 'long_prompt'], label, mistakes)
  const rates = readRates(given, label, mistakes)
  const long = given['long_prompt']
  if (long === undefined) return { rates }
  const longLabel = `${label}.long_prompt`
  if (!isObject(long)) {
    mistakes.push({ message: `${longLabel} is no object`, hint: 'give prices, or leave it out' })
    return { rates }
  }
  unknownMembers(long, [...RATE_NAMES, 'above_tokens'], longLabel, mistakes)
  const aboveTokens = long['above_tokens']
  if (typeof aboveTokens !== 'number' || !Number.isSafeInteger(aboveTokens) || aboveTokens < 1) {
    const hint = 'give the number of tokens up to which the first prices hold'
    mistakes.push({ message: `${longLabel}.above_tokens is no number of tokens`, hint })
    return { rates }
  }
  return { rates, longPrompt: { aboveTokens, rates: readRates(long, longLabel, mistakes) } }
}

const NO_RATES: Rates = { input: 0, output: 0, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0 }

function readRates(
  given: Readonly<Record<string, unknown>>,
  label: string,
  mistakes: PriceMistake[],
): Rates {
  const rates = { ...NO_RATES }
  for (const name of RATE_NAMES) {
    const usd = given[name]
    const rate = typeof usd === 'number' ? Math.round(usd * 1e6) : Number.NaN
    if (usd === undefined) {
      const hint = 'give it in US dollars for a million tokens; 0 where it is free'
      mistakes.push({ message: `${label}.${name} is missing`, hint })
    } else if (!(rate >= 0 && rate <= MAX_USD_PER_MILLION * 1e6)) {
      const hint = `give US dollars for a million tokens, from 0 to ${MAX_USD_PER_MILLION}`
      mistakes.push({ message: `${label}.${name} is no price`, hint })
    } else if (rate / 1e6 !== usd) {
      const hint = 'a millionth of a dollar for a million tokens is the least'
      mistakes.push({ message: `${label}.${name} has more than six decimals`, hint })
    } else {
      rates[RATE_FIELDS[name]] = rate
    }
  }
  return rates
}

function unknownMembers(
  given: Readonly<Record<string, unknown>>,
  known: readonly string[],
  label: string,
  mistakes: PriceMistake[],
): void {
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue
    const message = `${label} has a member ${JSON.stringify(name)} that nothing reads`
    mistakes.push({ message, hint: `its members are ${known.join(', ')}` })
  }
}

function mistaken(message: string, hint: string): ParsedPrices {
  return { ok: false, mistakes: [{ message, hint }] }
}

function isDate(value: unknown): value is string {
  if (typeof value !== 'string' || !/^\d{4}-\d{2}-\d{2}$/.test(value)) return false
  const at = new Date(`${value}T00:00:00Z`)
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(value)
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
