// Times as an operator writes them: how long something is good for, and until when.

const DAY_SECONDS = 86_400
const UNIT_SECONDS: ReadonlyMap<string, number> = new Map([
  ['m', 60],
  ['h', 3600],
  ['d', DAY_SECONDS],
])

/** `30m`, `24h`, `7d` in seconds; undefined where it is none, or longer than `maxDays`. */
export function readDuration(text: string, maxDays: number): number | undefined {
  const [, count = '', unit = ''] = /^(\d{1,5})([mhd])$/.exec(text) ?? []
  const seconds = Number(count) * (UNIT_SECONDS.get(unit) ?? 0)
  return seconds > 0 && seconds <= maxDays * DAY_SECONDS ? seconds : undefined
}

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
