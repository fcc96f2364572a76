// Resolves names that callers choose. With a suffix on the operator's list they can choose any number of
// names, even some whose DNS servers never answer. So lookups are bounded for each identity, in total and
// in time, and a name without an address is remembered too.
//
// It does not use getaddrinfo: Bun runs that on a few threads, which unanswered names would block for seconds
// each, while connections to every upstream wait.

import { clearDeadline, deadline } from '../../turn/deadline.ts'
import { type Decision, granted, refused } from '../../refusal.ts'
import { type Enclave, type Lookup, resolveEnclave } from './enclave.ts'

export interface Resolving {
  resolve(host: string, identity: string, now: number): Promise<Decision<Enclave>>
}

/** Every request of a verifying client names its enclave, so addresses are cached for this long. */
const ADDRESS_TTL_MS = 30_000
/** Short, so that a new name is found soon. */
const NO_ADDRESS_TTL_MS = 10_000
const MAX_ADDRESSES = 256
const MAX_NO_ADDRESSES = 1024
const MAX_LOOKUPS = 64
const MAX_LOOKUPS_OF_AN_IDENTITY = 4
const TIMEOUT_MS = 3000

const NO_ADDRESS = refused('enclave_not_allowed', { reason: 'no public address' })

export function resolving(lookup: Lookup = asked, timeoutMs: number = TIMEOUT_MS): Resolving {
  const known = new Kept<Enclave>(MAX_ADDRESSES)
  const unknown = new Kept<true>(MAX_NO_ADDRESSES)
  const flights = new Map<string, Promise<Enclave | undefined>>()
  const perIdentity = new Map<string, number>()

  const begin = (host: string, identity: string, now: number): Promise<Enclave | undefined> => {
    perIdentity.set(identity, (perIdentity.get(identity) ?? 0) + 1)
    const flight = within(resolveEnclave(host, lookup), timeoutMs).then((enclave) => {
      flights.delete(host)
      const left = (perIdentity.get(identity) ?? 1) - 1
      if (left > 0) perIdentity.set(identity, left)
      else perIdentity.delete(identity)
      if (enclave) known.set(host, enclave, now + ADDRESS_TTL_MS)
      else unknown.set(host, true, now + NO_ADDRESS_TTL_MS)
      return enclave
    })
    flights.set(host, flight)
    return flight
  }

  return {
    async resolve(host, identity, now) {
      const enclave = known.get(host, now)
      if (enclave) return granted(enclave)
      if (unknown.get(host, now)) return NO_ADDRESS
      let flight = flights.get(host)
      if (!flight) {
        if ((perIdentity.get(identity) ?? 0) >= MAX_LOOKUPS_OF_AN_IDENTITY) return TOO_MANY_OF_ONE
        if (flights.size >= MAX_LOOKUPS) return TOO_MANY
        flight = begin(host, identity, now)
      }
      const found = await flight
      return found ? granted(found) : NO_ADDRESS
    },
  }
}

const RETRY_SECONDS = 2
const TOO_MANY_OF_ONE = refused('identity_concurrency_limit', {
  reason: 'names being resolved',
  message: 'too many new enclaves are named at once by this identity',
  retryAfterSeconds: RETRY_SECONDS,
})
const TOO_MANY = refused('upstream_concurrency_limit', {
  reason: 'names being resolved',
  message: 'too many new enclaves are named at once',
  retryAfterSeconds: RETRY_SECONDS,
})

/** Undefined if it takes longer; it never rejects. */
function within<T>(work: Promise<T | undefined>, timeoutMs: number): Promise<T | undefined> {
  return new Promise((resolve) => {
    const limit = deadline(timeoutMs, () => resolve(undefined))
    void work.then((value) => {
      clearDeadline(limit)
      resolve(value)
    })
  })
}

/** For each of two attempts. */
const QUERY_MS = 1000

/** A resolver for each name: the system's servers may have changed, and a single lookup can be cancelled. */
async function asked(hostname: string): Promise<readonly { readonly address: string }[]> {
  // Loaded here, because few gates need it.
  const { Resolver } = await import('node:dns/promises')
  const resolver = new Resolver({ timeout: QUERY_MS, tries: 2 })
  const limit = deadline(TIMEOUT_MS, () => resolver.cancel())
  try {
    // The connection uses the first address, and more machines can reach IPv4.
    const addresses = await resolver.resolve4(hostname).catch((error: unknown) => {
      if (!String(Object(error).code).includes('ENODATA')) throw error
      return resolver.resolve6(hostname)
    })
    return addresses.map((address) => ({ address }))
  } finally {
    clearDeadline(limit)
  }
}

/** Bounded: the oldest entry is forgotten first. */
class Kept<T> {
  readonly #max: number
  readonly #values = new Map<string, { readonly value: T; readonly until: number }>()

  constructor(max: number) {
    this.#max = max
  }

  get(name: string, now: number): T | undefined {
    const kept = this.#values.get(name)
    return kept && kept.until > now ? kept.value : undefined
  }

  set(name: string, value: T, until: number): void {
    this.#values.delete(name)
    this.#values.set(name, { value, until })
    for (const [oldest] of this.#values) {
      if (this.#values.size <= this.#max) break
      this.#values.delete(oldest)
    }
  }
}
