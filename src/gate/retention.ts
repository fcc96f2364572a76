// Once a day the ledger forgets what is older than it may be.

import type { Settings } from '../config/read.ts'
import type { Ledger } from '../ledger/port.ts'
import { DAY_MS, monthStartMs } from '../turn/calendar.ts'

export function forgetDaily(ledger: Ledger, settings: () => Settings): void {
  const forget = (): void => {
    const now = Date.now()
    // A cap is restored from this month's sums, so that these outlive a shorter retention.
    void ledger.deleteBefore(now - settings().ledgerRetentionDays * DAY_MS, monthStartMs(now))
  }
  forget()
  setInterval(forget, DAY_MS).unref()
}
