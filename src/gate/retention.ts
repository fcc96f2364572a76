// Deletes old rows of the ledger once a day.

import type { Settings } from '../config/read.ts'
import type { Ledger } from '../ledger/port.ts'
import { DAY_MS, monthStartMs } from '../turn/calendar.ts'

export function forgetDaily(ledger: Ledger, settings: () => Settings): void {
  const forget = (): void => {
    const now = Date.now()
    // Caps are restored from this month's sums, so these are kept even if the retention is shorter.
    void ledger.deleteBefore(now - settings().ledgerRetentionDays * DAY_MS, monthStartMs(now))
  }
  forget()
  setInterval(forget, DAY_MS).unref()
}
