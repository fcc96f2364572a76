// What the ledger has been told and has not written yet: openings and closed rows, each in order,
// bounded together. It keeps them in memory and knows nothing of a database.

import type { Entry, Opening, Outcome } from './ledger.ts'

/** An entry as the ledger sees it. It lives as long as its request or its notice. */
export interface Slip extends Entry {
  readonly opening: Opening
  outcome: Outcome | undefined
  /** The row that its opening became, and in which file. */
  row: { readonly file: number; readonly id: number } | undefined
}

export interface Notices {
  opened(slip: Slip): void
  closed(slip: Slip): void
  /** Up to `max`, closed ones first: they hold what was spent. They stay until `done`. */
  next(max: number): readonly Slip[]
  done(slips: readonly Slip[]): void
  readonly size: number
  /** Closed rows that had to make room. */
  readonly lost: number
}

export function notices(max: number): Notices {
  const openings = new Set<Slip>()
  const closings = new Set<Slip>()
  let lost = 0

  /** An opening that makes room is no loss: its row is written whole when it closes. */
  const makeRoom = (): void => {
    if (openings.size + closings.size < max) return
    const [set, oldest] = first(openings) ?? first(closings) ?? []
    if (!set || !oldest) return
    set.delete(oldest)
    if (set === closings) lost += 1
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
      const slips: Slip[] = []
      for (const set of [closings, openings]) {
        for (const slip of set) {
          if (slips.length >= most) return slips
          slips.push(slip)
        }
      }
      return slips
    },
    done(slips) {
      for (const slip of slips) if (!closings.delete(slip)) openings.delete(slip)
    },
    get size() {
      return openings.size + closings.size
    },
    get lost() {
      return lost
    },
  }
}

function first(set: Set<Slip>): readonly [Set<Slip>, Slip] | undefined {
  const { value } = set.values().next()
  return value && [set, value]
}
