// How much may be under way at once: to the upstream in all, and for one identity. A lease is held
// until the stream has ended, whichever way, and giving it back twice does nothing.

import { type Decision, granted, refused } from '../refusal.ts'

export interface Lease {
  release(): void
  /** Something that is given back with it. */
  also(giveBack: () => void): void
}

export interface Concurrency {
  acquire(identity: string): Decision<Lease>
  readonly underWay: number
}

export interface ConcurrencyOptions {
  readonly maxTotal: number
  readonly maxPerIdentity: number
}

/** A stream's end cannot be foreseen; a second is a polite pace for asking again. */
const RETRY_AFTER_SECONDS = 1

export function concurrency({ maxTotal, maxPerIdentity }: ConcurrencyOptions): Concurrency {
  const held = new Map<string, number>()
  let total = 0

  const release = (identity: string): void => {
    total -= 1
    const left = (held.get(identity) ?? 1) - 1
    if (left > 0) held.set(identity, left)
    else held.delete(identity)
  }

  return {
    acquire(identity) {
      const mine = held.get(identity) ?? 0
      const retryAfterSeconds = RETRY_AFTER_SECONDS
      // One's own limit first: whoever is over it learns nothing of the others.
      if (mine >= maxPerIdentity)
        return refused('identity_concurrency_limit', { retryAfterSeconds })
      if (total >= maxTotal) return refused('upstream_concurrency_limit', { retryAfterSeconds })
      total += 1
      held.set(identity, mine + 1)
      let live = true
      let others: (() => void)[] | undefined
      return granted({
        release() {
          if (!live) return
          live = false
          release(identity)
          if (others) for (const giveBack of others) giveBack()
        },
        also(giveBack) {
          if (live) (others ??= []).push(giveBack)
          else giveBack()
        },
      })
    },
    get underWay() {
      return total
    },
  }
}
