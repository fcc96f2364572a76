// Limits how many requests run at once: to the upstream in total, for one identity, and for one
// organisation. A lease is held until the stream has ended, for whatever reason; releasing it twice
// does nothing.

import { granted, refused } from '../../refusal.ts'
import type { Concurrency, Lease } from '../port.ts'

/** Nobody can tell when a stream will end; one second is a polite interval for a retry. */
const RETRY_AFTER_SECONDS = 1

/** Entries without a lease are kept up to this number, because most callers return soon. */
const MAX_IDLE_HOLDERS = 1024

export function concurrency(maxTotal: () => number): Concurrency {
  const persons = new Holders()
  const organisations = new Holders()
  let total = 0
  const ended = (): void => {
    total -= 1
  }

  return {
    acquire(identity, most = Infinity, org = undefined, mostOfOrg = undefined, former = undefined) {
      const person = persons.of(identity, total)
      const organisation =
        org === undefined || mostOfOrg === undefined ? undefined : organisations.of(org, total)
      const retryAfterSeconds = RETRY_AFTER_SECONDS
      // The caller's own limit first: a caller over it learns nothing about the others.
      const places = former ? person.places + persons.placesOf(former) : person.places
      if (places >= most) return refused('identity_concurrency_limit', { retryAfterSeconds })
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

  /** `total`: how many slots are taken overall. */
  of(key: string, total: number): Holder {
    const found = this.#held.get(key)
    if (found) return found
    if (this.#held.size >= MAX_IDLE_HOLDERS + 2 * total) {
      for (const [each, { places }] of this.#held) if (places === 0) this.#held.delete(each)
    }
    const holder = { places: 0 }
    this.#held.set(key, holder)
    return holder
  }

  placesOf(keys: readonly string[]): number {
    return keys.reduce((sum, key) => sum + (this.#held.get(key)?.places ?? 0), 0)
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
