// Times as an operator writes them: durations and end dates.

import { readDuration } from '../turn/duration.ts'

const DAY_SECONDS = 86_400

/** A moment to come, in seconds since the epoch; `never` only where that is said. */
export type GivenEnd = number | 'never'

const MAX_END_DAYS = 3660

/** `90d` from now, `2027-01-31` (to the end of that day), `2027-01-31T12:00:00Z`, or `never`. */
export function readEnd(text: string, nowSeconds: number): GivenEnd | undefined {
  if (text === 'never') return 'never'
  const seconds = readDuration(text, MAX_END_DAYS)
  if (seconds !== undefined) return nowSeconds + seconds
  const at = readMoment(text)
  const isAhead = at > nowSeconds && at <= nowSeconds + MAX_END_DAYS * DAY_SECONDS
  return isAhead ? at : undefined
}

/** In UTC; NaN where it is none. */
function readMoment(text: string): number {
  const [, day = '', time] = /^(\d{4}-\d{2}-\d{2})(T\d{2}:\d{2}(?::\d{2})?Z)?$/.exec(text) ?? []
  const midnight = Date.parse(`${day}T00:00:00Z`) / 1000
  // 2027-02-31 would be taken for a day in March.
  const isDay = midnight > 0 && new Date(midnight * 1000).toISOString().startsWith(day)
  if (!isDay || day === '') return Number.NaN
  return time === undefined ? midnight + DAY_SECONDS : Date.parse(day + time) / 1000
}
