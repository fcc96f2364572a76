// Days and months in UTC, as the ledger and the spend caps count them.

export const DAY_MS = 86_400_000

export type Period = 'month' | 'day'

export interface Span {
  readonly startMs: number
  readonly endMs: number
}

/** `2026-11-20`. */
export const dayOf = (epochMs: number): string => new Date(epochMs).toISOString().slice(0, 10)

/** `2026-11`. */
export const monthOf = (epochMs: number): string => new Date(epochMs).toISOString().slice(0, 7)

export const monthStartMs = (epochMs: number): number => monthMs(epochMs, 0)

/** When the next month begins. */
export const monthEndMs = (epochMs: number): number => monthMs(epochMs, 1)

export const dayStartMs = (epochMs: number): number => Math.floor(epochMs / DAY_MS) * DAY_MS

/** The month or day that contains a moment. */
export function spanOf(period: Period, epochMs: number): Span {
  if (period === 'month') return { startMs: monthStartMs(epochMs), endMs: monthEndMs(epochMs) }
  const startMs = dayStartMs(epochMs)
  return { startMs, endMs: startMs + DAY_MS }
}

/** Parses what `dayOf` or `monthOf` writes. */
export function periodFrom(written: string): { readonly period: Period; readonly startMs: number } {
  const isMonth = /^\d{4}-\d\d$/.test(written)
  const isDay = /^\d{4}-\d\d-\d\d$/.test(written)
  const startMs =
    isMonth || isDay ? Date.parse(`${isMonth ? `${written}-01` : written}T00:00Z`) : NaN
  // February 30 may be read as March 2.
  if (Number.isNaN(startMs) || !dayOf(startMs).startsWith(written)) {
    throw new RangeError('a month is written YYYY-MM, and a day YYYY-MM-DD')
  }
  return { period: isMonth ? 'month' : 'day', startMs }
}

function monthMs(epochMs: number, months: number): number {
  const date = new Date(epochMs)
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + months)
}
