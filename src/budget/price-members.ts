// Reads the members of a price table: a model's price, and the prices of server tools. It collects
// every mistake with a hint and goes on reading, so that all are reported at once.

import type { JsonObject } from '../token/strict-json.ts'
import { isPriceClass } from '../upstream/reading/price-classes.ts'
import type { MediaRates, Price, Rates, ToolPrices } from './prices.ts'

export interface PriceMistake {
  readonly message: string
  readonly hint: string
}

/**
 * A thousand times the most expensive price; a price given in micro-dollars by mistake is above it.
 */
const MAX_USD = 100_000
const MAX_MULTIPLIER = 1000

const RATE_FIELDS = {
  input: 'input',
  output: 'output',
  cache_read: 'cacheRead',
  cache_write_5m: 'cacheWrite5m',
  cache_write_1h: 'cacheWrite1h',
} as const satisfies Readonly<Record<string, keyof Rates>>
const RATE_NAMES = Object.keys(RATE_FIELDS) as (keyof typeof RATE_FIELDS)[]
const MODEL_MEMBERS = [
  ...RATE_NAMES,
  'long_prompt',
  'audio',
  'image',
  'context_tokens',
  'max_output_tokens',
  'multipliers',
]

const NO_RATES: Rates = { input: 0, output: 0, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0 }

export function readPrice(
  given: unknown,
  label: string,
  tools: ToolPrices,
  mistakes: PriceMistake[],
): Price {
  if (!isObject(given)) {
    mistakes.push({ message: `${label} is not an object`, hint: `give ${RATE_NAMES.join(', ')}` })
    return { rates: NO_RATES, multipliers: new Map(), tools }
  }
  unknownMembers(given, MODEL_MEMBERS, label, mistakes)
  const rates = readRates(given, label, mistakes)
  const contextTokens = readTokens(given, 'context_tokens', label, mistakes)
  const maxOutputTokens = readTokens(given, 'max_output_tokens', label, mistakes)
  const longPrompt = readLongPrompt(given['long_prompt'], `${label}.long_prompt`, mistakes)
  const media = readMedia(given, label, mistakes)
  return {
    rates,
    ...(media && { media }),
    multipliers: readMultipliers(given['multipliers'], `${label}.multipliers`, mistakes),
    tools,
    ...(contextTokens === undefined ? {} : { contextTokens }),
    ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
    ...(longPrompt === undefined ? {} : { longPrompt }),
  }
}

function readLongPrompt(
  given: unknown,
  label: string,
  mistakes: PriceMistake[],
): Price['longPrompt'] {
  if (given === undefined) return undefined
  if (!isObject(given)) {
    mistakes.push({ message: `${label} is not an object`, hint: 'give prices, or leave it out' })
    return undefined
  }
  unknownMembers(given, [...RATE_NAMES, 'above_tokens'], label, mistakes)
  const aboveTokens = given['above_tokens']
  if (!isTokenCount(aboveTokens)) {
    const hint = 'give the number of tokens up to which the first prices hold'
    mistakes.push({ message: `${label}.above_tokens is not a number of tokens`, hint })
    return undefined
  }
  return { aboveTokens, rates: readRates(given, label, mistakes) }
}

function readMedia(
  given: JsonObject,
  label: string,
  mistakes: PriceMistake[],
): MediaRates | undefined {
  const media: { -readonly [name in keyof MediaRates]: MediaRates[name] } = {}
  for (const name of ['audio', 'image'] as const) {
    const rates = given[name]
    if (rates === undefined) continue
    const what = `${label}.${name}`
    if (!isObject(rates) || rates['input'] === undefined || rates['output'] === undefined) {
      const hint = 'give input and output, in US dollars for a million tokens, or leave it out'
      mistakes.push({ message: `${what} is not a price`, hint })
      continue
    }
    unknownMembers(rates, ['input', 'output'], what, mistakes)
    media[name] = {
      input: readUsd(rates['input'], `${what}.input`, 'a million tokens', mistakes),
      output: readUsd(rates['output'], `${what}.output`, 'a million tokens', mistakes),
    }
  }
  return Object.keys(media).length === 0 ? undefined : media
}

function readRates(given: JsonObject, label: string, mistakes: PriceMistake[]): Rates {
  const rates = { ...NO_RATES }
  for (const name of RATE_NAMES) {
    if (given[name] === undefined) {
      const hint = 'give it in US dollars for a million tokens; 0 where it is free'
      mistakes.push({ message: `${label}.${name} is missing`, hint })
    } else {
      const what = `${label}.${name}`
      rates[RATE_FIELDS[name]] = readUsd(given[name], what, 'a million tokens', mistakes)
    }
  }
  return rates
}

function readTokens(
  given: JsonObject,
  name: string,
  label: string,
  mistakes: PriceMistake[],
): number | undefined {
  const count = given[name]
  if (count === undefined || isTokenCount(count)) return count
  const hint = 'give a whole number, or leave it out'
  mistakes.push({ message: `${label}.${name} is not a number of tokens`, hint })
  return undefined
}

function readMultipliers(
  given: unknown,
  label: string,
  mistakes: PriceMistake[],
): ReadonlyMap<string, number> {
  const multipliers = new Map<string, number>()
  if (given === undefined) return multipliers
  if (!isObject(given)) {
    const hint = 'give an object such as {"speed:fast": 2}, or leave it out'
    mistakes.push({ message: `${label} is not an object`, hint })
    return multipliers
  }
  for (const [name, value] of Object.entries(given)) {
    const what = `${label}[${JSON.stringify(name)}]`
    const millionths = typeof value === 'number' ? Math.round(value * 1e6) : Number.NaN
    if (!isPriceClass(name)) {
      const hint = 'write it as speed:fast, inference_geo:us, service_tier:batch'
      mistakes.push({ message: `${what} is not a price class`, hint })
    } else if (!(millionths >= 0 && millionths <= MAX_MULTIPLIER * 1e6)) {
      const hint = `give a number from 0 to ${MAX_MULTIPLIER}; 1 is the list price`
      mistakes.push({ message: `${what} is not a multiplier`, hint })
    } else if (millionths / 1e6 !== value) {
      mistakes.push({ message: `${what} has more than six decimals`, hint: 'round it' })
    } else {
      multipliers.set(name, millionths)
    }
  }
  return multipliers
}

const CODE_EXECUTION = 'code_execution_hours'
const TOOL_REQUESTS = /^[a-z][a-z0-9_]{0,48}_requests$/

/**
 * Named as in the API: `web_search_requests` for a thousand requests, `code_execution_hours` for
 * one hour.
 */
export function readTools(given: unknown, mistakes: PriceMistake[]): ToolPrices {
  const requests = new Map<string, number>()
  let codeExecutionHour: number | undefined
  if (given !== undefined && !isObject(given)) {
    const hint = 'give an object such as {"web_search_requests": 10}, or leave it out'
    mistakes.push({ message: 'server_tools is not an object', hint })
  } else {
    for (const [name, usd] of Object.entries(given ?? {})) {
      const what = `server_tools[${JSON.stringify(name)}]`
      if (name === CODE_EXECUTION) {
        codeExecutionHour = readUsd(usd, what, 'an hour', mistakes)
      } else if (TOOL_REQUESTS.test(name)) {
        requests.set(name, readUsd(usd, what, 'a thousand requests', mistakes))
      } else {
        const hint = `its members are ${CODE_EXECUTION} and those of usage.server_tool_use`
        mistakes.push({ message: `${what} is not a server tool`, hint })
      }
    }
  }
  return { requests, ...(codeExecutionHour === undefined ? {} : { codeExecutionHour }) }
}

/** Micro-dollars for one `unit`. */
function readUsd(usd: unknown, what: string, unit: string, mistakes: PriceMistake[]): number {
  const rate = typeof usd === 'number' ? Math.round(usd * 1e6) : Number.NaN
  if (!(rate >= 0 && rate <= MAX_USD * 1e6)) {
    const hint = `give US dollars for ${unit}, from 0 to ${MAX_USD}`
    mistakes.push({ message: `${what} is not a price`, hint })
  } else if (rate / 1e6 !== usd) {
    const hint = `a millionth of a dollar for ${unit} is the least`
    mistakes.push({ message: `${what} has more than six decimals`, hint })
  } else {
    return rate
  }
  return 0
}

export function unknownMembers(
  given: JsonObject,
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

function isTokenCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
