// How much may be under way at once: to the upstream in all, and for one identity. A lease is held
// until the stream has ended, whichever way, and giving it back twice does nothing.

import { type Decision, granted, refused } from '../../refusal.ts'

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

/** Entries of those that hold nothing stay until there are so many: most come back at once. */
const MAX_RESTING = 1024

export function concurrency({ maxTotal, maxPerIdentity }: ConcurrencyOptions): Concurrency {
  const held = new Map<string, Holder>()
  let total = 0
  const ended = (): void => {
    total -= 1
  }
  const holderOf = (identity: string): Holder => {
    const found = held.get(identity)
    if (found) return found
    if (held.size >= MAX_RESTING + 2 * total) {
      for (const [each, { places }] of held) if (places === 0) held.delete(each)
    }
    const holder = { places: 0 }
    held.set(identity, holder)
    return holder
  }

  return {
    acquire(identity) {
      const holder = holderOf(identity)
      const retryAfterSeconds = RETRY_AFTER_SECONDS
      // One's own limit first: whoever is over it learns nothing of the others.
      if (holder.places >= maxPerIdentity)
        return refused('identity_concurrency_limit', { retryAfterSeconds })
      if (total >= maxTotal) return refused('upstream_concurrency_limit', { retryAfterSeconds })
      total += 1
      holder.places += 1
      return granted(new Held(holder, ended))
    },
    get underWay() {
      return total
    },
  }
}

interface Holder {
  places: number
}

class Held implements Lease {
  #holder: Holder | undefined
  readonly #ended: () => void
  #others: (() => void)[] | undefined

  constructor(holder: Holder, ended: () => void) {
    this.#holder = holder
    this.#ended = ended
  }

  release(): void {
    if (!this.#holder) return
    this.#holder.places -= 1
    this.#holder = undefined
    this.#ended()
    if (this.#others) for (const giveBack of this.#others) giveBack()
  }

  also(giveBack: () => void): void {
    if (this.#holder) (this.#others ??= []).push(giveBack)
    else giveBack()
  }
}
