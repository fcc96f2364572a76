// Deletes old rows of the ledger: shortly after the start, so that the first responses do not wait for
// it, and then once a day.

import type { Settings } from '../config/read.ts'
import type { Ledger } from '../ledger/port.ts'
import { DAY_MS, monthStartMs } from '../turn/calendar.ts'

const SOON_MS = 1000

export function forgetDaily(ledger: Ledger, settings: () => Settings): void {
  const forget = (): void => {
    const now = Date.now()
    // Caps are restored from this month's sums, so these are kept even if the retention is shorter.
    void ledger.deleteBefore(now - settings().ledgerRetentionDays * DAY_MS, monthStartMs(now))
  }
  setTimeout(forget, SOON_MS).unref()
  setInterval(forget, DAY_MS).unref()
}
