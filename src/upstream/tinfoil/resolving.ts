// Names that callers choose, to addresses. A suffix on the operator's list lets them choose any number,
// names that nobody answers for among them: what one identity may ask at once is bounded, so is what
// all may, and how long an answer is waited for; and what has no address is remembered too.
//
// Not by getaddrinfo: Bun runs it on a few threads, which silent names would hold for seconds each,
// while connections to every upstream wait for one.

import { clearDeadline, deadline } from '../../turn/deadline.ts'
import { type Decision, granted, refused } from '../../refusal.ts'
import { type Enclave, type Lookup, resolveEnclave } from './enclave.ts'

export interface Resolving {
  resolve(host: string, identity: string, now: number): Promise<Decision<Enclave>>
}

/** Every request of a verifying client names its enclave: its address is asked this often. */
const ADDRESS_TTL_MS = 30_000
/** A name that has just been made is found soon after. */
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

/** Undefined where it takes longer; it never rejects. */
function within<T>(work: Promise<T | undefined>, timeoutMs: number): Promise<T | undefined> {
  return new Promise((resolve) => {
    const limit = deadline(timeoutMs, () => resolve(undefined))
    void work.then((value) => {
      clearDeadline(limit)
      resolve(value)
    })
  })
}

/** For each of two tries. */
const QUERY_MS = 1000

/** A resolver for each name: the system's servers may have changed, and one can be given up alone. */
async function asked(hostname: string): Promise<readonly { readonly address: string }[]> {
  // Loaded here: few gates are asked for an enclave by its name.
  const { Resolver } = await import('node:dns/promises')
  const resolver = new Resolver({ timeout: QUERY_MS, tries: 2 })
  const limit = deadline(TIMEOUT_MS, () => resolver.cancel())
  try {
    // The connection goes to the first that is found, and IPv4 is what more machines can reach.
    const addresses = await resolver.resolve4(hostname).catch((error: unknown) => {
      if (!String(Object(error).code).includes('ENODATA')) throw error
      return resolver.resolve6(hostname)
    })
    return addresses.map((address) => ({ address }))
  } finally {
    clearDeadline(limit)
  }
}

/** Bounded: the oldest is forgotten first. */
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
