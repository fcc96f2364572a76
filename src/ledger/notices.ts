// What the ledger has not written yet: opened and closed entries, each in order, with one common
// bound. They are in memory; this file knows no database.

import { InOrder, type Linked } from './in-order.ts'
import type { LedgerEntry } from '../exchange.ts'
import type { Opening, Outcome } from './port.ts'

/** An entry as the ledger sees it. It lives as long as its request or its notice. */
export interface PendingEntry extends Linked<PendingEntry>, LedgerEntry {
  readonly opening: Opening
  outcome: Outcome | undefined
  /** The row that holds its opening, and the file of that row. */
  row: { readonly file: number; readonly id: number } | undefined
}

export function pendingEntry(opening: Opening): PendingEntry {
  const entry: Omit<PendingEntry, keyof LedgerEntry> = {
    opening,
    outcome: undefined,
    row: undefined,
    chain: undefined,
    before: undefined,
    after: undefined,
  }
  return entry as PendingEntry
}

export interface Notices {
  opened(entry: PendingEntry): void
  closed(entry: PendingEntry): void
  /**
   * Up to `max` entries, closed ones first, because they hold what was spent. They stay until
   * `done`.
   */
  next(max: number): readonly PendingEntry[]
  done(entries: readonly PendingEntry[]): void
  readonly size: number
  /** How many of them are closed. */
  readonly closedSize: number
  /** Closed entries that were dropped to make room. */
  readonly lost: number
}

export function notices(max: number): Notices {
  const openings = new InOrder<PendingEntry>()
  const closings = new InOrder<PendingEntry>()
  let lost = 0

  /** Dropping an opening loses nothing: its row is written whole when it closes. */
  const makeRoom = (): void => {
    if (openings.size + closings.size < max) return
    const oldest = openings.first ?? closings.first
    if (!oldest || openings.delete(oldest)) return
    closings.delete(oldest)
    lost += 1
  }

  return {
    opened(entry) {
      if (closings.size >= max) return
      makeRoom()
      openings.add(entry)
    },
    closed(entry) {
      openings.delete(entry)
      makeRoom()
      closings.add(entry)
    },
    next(most) {
      const entries: PendingEntry[] = []
      for (const chain of [closings, openings]) {
        for (let entry = chain.first; entry && entries.length < most; entry = entry.after) {
          entries.push(entry)
        }
      }
      return entries
    },
    done(entries) {
      for (const entry of entries) entry.chain?.delete(entry)
    },
    get size() {
      return openings.size + closings.size
    },
    get closedSize() {
      return closings.size
    },
    get lost() {
      return lost
    },
  }
}
