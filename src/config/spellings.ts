// Alternative spellings of settings, translated to the usual names: ADDR for HOST and PORT, and a number of
// requests in a window for the token bucket. Two spellings of one setting are a mistake, even if they agree.

import type { Given } from './given.ts'
import type { Mistake } from './kinds.ts'
import type { Key, Values } from './table.ts'

export interface Respelled {
  readonly values: Values
  readonly mistakes: readonly Mistake[]
}

const NOTHING: Respelled = { values: {}, mistakes: [] }

function wrong({ from }: Given, message: string, hint: string): Respelled {
  return { values: {}, mistakes: [{ setting: from, message, hint }] }
}

const USE_ONE = 'two spellings of the same; use one'

export function readAddress(given: ReadonlyMap<Key, Given>): Respelled {
  const addr = given.get('addr')
  if (!addr) return NOTHING
  const split = /^(\[[0-9a-fA-F:.]+\]|[^:]*):(\d{1,5})$/.exec(addr.text)
  const port = Number(split?.[2])
  if (!split || port > 65_535) return wrong(addr, 'is not a host:port', 'as in :5381')
  if (given.has('host') || given.has('port')) {
    return wrong(addr, 'is given together with HOST or PORT', USE_ONE)
  }
  if (!split[1]) return { values: { port }, mistakes: [] }
  return { values: { host: split[1].replace(/^\[|\]$/g, ''), port }, mistakes: [] }
}

/** The older spelling of the token bucket. */
export function readWindow(given: ReadonlyMap<Key, Given>, values: Values): Respelled {
  const ours = given.get('rateLimitMax') ?? given.get('rateLimitWindow')
  if (!ours) return NOTHING
  const { rateLimitMax: max, rateLimitWindow: windowMs = 60_000 } = values
  if (given.has('rateLimitRpm') || given.has('rateLimitBurst')) {
    return wrong(ours, 'is given together with RATE_LIMIT_RPM or RATE_LIMIT_BURST', USE_ONE)
  }
  if (!given.has('rateLimitMax')) {
    return wrong(ours, 'is given without RATE_LIMIT_MAX', 'a window needs a number of requests')
  }
  // A number that could not be read is already a mistake.
  if (max === undefined) return NOTHING
  return {
    values: { rateLimitRpm: (max * 60_000) / windowMs, rateLimitBurst: max },
    mistakes: [],
  }
}
