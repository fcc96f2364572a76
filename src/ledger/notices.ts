// What the ledger has not written yet: openings and closed rows, each in order, with one common bound.
// They are in memory; this file knows no database.

import { InOrder, type Linked } from './in-order.ts'
import type { LedgerEntry } from '../exchange.ts'
import type { Opening, Outcome } from './port.ts'

/** An entry as the ledger sees it. It lives as long as its request or its notice. */
export interface PendingEntry extends Linked<PendingEntry>, LedgerEntry {
  readonly opening: Opening
  outcome: Outcome | undefined
  /** The row that its opening became, and in which file. */
  row: { readonly file: number; readonly id: number } | undefined
}

export function pendingEntry(opening: Opening): PendingEntry {
  const slip: Omit<PendingEntry, keyof LedgerEntry> = {
    opening,
    outcome: undefined,
    row: undefined,
    chain: undefined,
    before: undefined,
    after: undefined,
  }
  return slip as PendingEntry
}

export interface Notices {
  opened(slip: PendingEntry): void
  closed(slip: PendingEntry): void
  /** Up to `max`, closed ones first: they hold what was spent. They stay until `done`. */
  next(max: number): readonly PendingEntry[]
  done(slips: readonly PendingEntry[]): void
  readonly size: number
  /** How many of them are closed. */
  readonly closedSize: number
  /** Closed rows that had to make room. */
  readonly lost: number
}

export function notices(max: number): Notices {
  const openings = new InOrder<PendingEntry>()
  const closings = new InOrder<PendingEntry>()
  let lost = 0

  /** An opening that makes room is no loss: its row is written whole when it closes. */
  const makeRoom = (): void => {
    if (openings.size + closings.size < max) return
    const oldest = openings.first ?? closings.first
    if (!oldest || openings.delete(oldest)) return
    closings.delete(oldest)
    lost += 1
  }

  return {
    opened(slip) {
      if (closings.size >= max) return
      makeRoom()
      openings.add(slip)
    },
    closed(slip) {
      openings.delete(slip)
      makeRoom()
      closings.add(slip)
    },
    next(most) {
      const slips: PendingEntry[] = []
      for (const chain of [closings, openings]) {
        for (let slip = chain.first; slip && slips.length < most; slip = slip.after) {
          slips.push(slip)
        }
      }
      return slips
    },
    done(slips) {
      for (const slip of slips) slip.chain?.delete(slip)
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
