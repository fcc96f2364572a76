// How much may be under way at once: to the upstream in all, for one identity and for one organisation.
// A lease is held until the stream has ended, whichever way, and giving it back twice does nothing.

import { granted, refused } from '../../refusal.ts'
import type { Concurrency, Lease } from '../port.ts'

/** A stream's end cannot be foreseen; a second is a polite pace for asking again. */
const RETRY_AFTER_SECONDS = 1

/** Entries of those that hold nothing stay until there are so many: most come back at once. */
const MAX_RESTING = 1024

export function concurrency(maxTotal: () => number): Concurrency {
  const persons = new Holders()
  const organisations = new Holders()
  let total = 0
  const ended = (): void => {
    total -= 1
  }

  return {
    acquire(identity, most = Infinity, org = undefined, mostOfOrg = undefined) {
      const person = persons.of(identity, total)
      const organisation =
        org === undefined || mostOfOrg === undefined ? undefined : organisations.of(org, total)
      const retryAfterSeconds = RETRY_AFTER_SECONDS
      // One's own limit first: whoever is over it learns nothing of the others.
      if (person.places >= most) return refused('identity_concurrency_limit', { retryAfterSeconds })
      if (organisation && organisation.places >= (mostOfOrg ?? Infinity)) {
        return refused('organisation_concurrency_limit', { retryAfterSeconds })
      }
      if (total >= maxTotal()) return refused('upstream_concurrency_limit', { retryAfterSeconds })
      total += 1
      person.places += 1
      if (organisation) organisation.places += 1
      return granted(new HeldLease(person, organisation, ended))
    },
    get underWay() {
      return total
    },
  }
}

interface Holder {
  places: number
}

class Holders {
  readonly #held = new Map<string, Holder>()

  /** `total`: how many places are taken of all. */
  of(key: string, total: number): Holder {
    const found = this.#held.get(key)
    if (found) return found
    if (this.#held.size >= MAX_RESTING + 2 * total) {
      for (const [each, { places }] of this.#held) if (places === 0) this.#held.delete(each)
    }
    const holder = { places: 0 }
    this.#held.set(key, holder)
    return holder
  }
}

class HeldLease implements Lease {
  #person: Holder | undefined
  readonly #organisation: Holder | undefined
  readonly #ended: () => void
  #others: (() => void)[] | undefined

  constructor(person: Holder, organisation: Holder | undefined, ended: () => void) {
    this.#person = person
    this.#organisation = organisation
    this.#ended = ended
  }

  release(): void {
    if (!this.#person) return
    this.#person.places -= 1
    if (this.#organisation) this.#organisation.places -= 1
    this.#person = undefined
    this.#ended()
    if (this.#others) for (const giveBack of this.#others) giveBack()
  }

  also(giveBack: () => void): void {
    if (this.#person) (this.#others ??= []).push(giveBack)
    else giveBack()
  }
}
