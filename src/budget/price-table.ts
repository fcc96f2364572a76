// A price table in JSON: the built-in one, or an operator's own. It is read strictly, because a price
// that was not read would be a request that costs nothing.
//
// A model that is not in the table has no price, and none is guessed from its name.

import { type JsonObject, parseStrictObject } from '../token/strict-json.ts'
import bundled from './prices.json'
import {
  isObject,
  type PriceMistake,
  readPrice,
  readTools,
  unknownMembers,
} from './price-members.ts'
import type { Price, Prices } from './prices.ts'

export type ParsedPrices =
  | { readonly ok: true; readonly prices: Prices }
  | { readonly ok: false; readonly mistakes: readonly PriceMistake[] }

/** The size bound guards against a path that names something else. */
export const MAX_PRICES_LENGTH = 1_048_576

const TABLE_MEMBERS = ['date', 'source', 'note', 'server_tools', 'models']

/** The built-in table, read when the first price is asked for and not at start. */
export function bundledPrices(): Prices {
  let prices: Prices | undefined
  const table = (): Prices => {
    const parsed = readTable(bundled)
    if (!parsed.ok) throw new Error('the bundled price table is wrong')
    return parsed.prices
  }
  return { date: bundled.date, priceOf: (model) => (prices ??= table()).priceOf(model) }
}

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
  return readTable(table)
}

function readTable(table: JsonObject): ParsedPrices {
  const mistakes: PriceMistake[] = []
  unknownMembers(table, TABLE_MEMBERS, 'the table', mistakes)
  for (const name of ['source', 'note']) {
    if (table[name] !== undefined && typeof table[name] !== 'string') {
      mistakes.push({ message: `${name} is not a string`, hint: 'give a string, or leave it out' })
    }
  }
  const { date, models } = table
  if (!isDate(date)) {
    mistakes.push({ message: 'date is not a date', hint: 'say when it was checked, as 2026-11-20' })
  }
  const tools = readTools(table['server_tools'], mistakes)
  const exact = new Map<string, Price>()
  const patterns: (readonly [prefix: string, price: Price])[] = []
  if (!isObject(models) || Object.keys(models).length === 0) {
    mistakes.push({ message: 'models names no model', hint: 'give an object, a member for each' })
  } else {
    for (const [name, given] of Object.entries(models)) {
      const label = `models[${JSON.stringify(name)}]`
      if (!/^[\x21-\x29\x2b-\x7e]{0,128}\*?$/.test(name) || name === '') {
        const hint = 'give an exact name, or its beginning and then one *'
        mistakes.push({ message: `${label} is not a model name or prefix`, hint })
      }
      const price = readPrice(given, label, tools, mistakes)
      if (name.endsWith('*')) patterns.push([name.slice(0, -1), price])
      else exact.set(name, price)
    }
  }
  if (mistakes.length > 0 || !isDate(date)) return { ok: false, mistakes }
  patterns.sort(([a], [b]) => b.length - a.length)
  const priceOf = (model: string): Price | undefined =>
    exact.get(model) ??
    exact.get(model.replace(SNAPSHOT, '')) ??
    patterns.find(([prefix]) => model.startsWith(prefix))?.[1]
  return { ok: true, prices: { date, priceOf } }
}

/** A dated snapshot costs what its model does, unless the table names it. */
const SNAPSHOT = /-\d{4}-\d{2}-\d{2}$/

function mistaken(message: string, hint: string): ParsedPrices {
  return { ok: false, mistakes: [{ message, hint }] }
}

function isDate(value: unknown): value is string {
  if (typeof value !== 'string' || !/^\d{4}-\d{2}-\d{2}$/.test(value)) return false
  const at = new Date(`${value}T00:00:00Z`)
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(value)
}
