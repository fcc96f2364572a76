// Days and months in UTC, as the ledger and the spend caps count them.

export const DAY_MS = 86_400_000

/** `2026-11-20`. */
export const dayOf = (epochMs: number): string => new Date(epochMs).toISOString().slice(0, 10)

/** `2026-11`. */
export const monthOf = (epochMs: number): string => new Date(epochMs).toISOString().slice(0, 7)

export const monthStartMs = (epochMs: number): number => monthMs(epochMs, 0)

/** When the next month begins. */
export const monthEndMs = (epochMs: number): number => monthMs(epochMs, 1)

function monthMs(epochMs: number, months: number): number {
  const date = new Date(epochMs)
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + months)
}
