// Durations as an operator writes them.

const DAY_SECONDS = 86_400
const UNIT_SECONDS: ReadonlyMap<string, number> = new Map([
  ['m', 60],
  ['h', 3600],
  ['d', DAY_SECONDS],
])

/**
 * Parses `30m`, `24h`, `7d` into seconds; undefined if it is not a duration, or longer than
 * `maxDays`.
 */
export function readDuration(text: string, maxDays: number): number | undefined {
  const [, count = '', unit = ''] = /^(\d{1,5})([mhd])$/.exec(text) ?? []
  const seconds = Number(count) * (UNIT_SECONDS.get(unit) ?? 0)
  return seconds > 0 && seconds <= maxDays * DAY_SECONDS ? seconds : undefined
}

/** Writes it in the largest unit that divides it: `90d`, `36h`, `90m`. */
export function durationText(seconds: number): string {
  for (const [unit, length] of [...UNIT_SECONDS].toReversed()) {
    if (seconds % length === 0) return `${seconds / length}${unit}`
  }
  return `${seconds}s`
}
