// Tinfoil: where a request goes and with whose key. Its enclaves read what we cannot.

import type { Secret } from '../config/secret.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import { type Enclave, type Lookup, resolveEnclave } from './enclave.ts'

export interface Destination {
  readonly url: URL
  /** Connect here rather than where the name points by then. */
  readonly address?: string
}

export interface Tinfoil {
  /** `path` is a route of ours, `search` the raw query with its `?`, or ''. */
  destination(
    path: string,
    search: string,
    enclaveHost: string | undefined,
    now: number,
  ): Promise<Decision<Destination>>
  /** The headers that are the gate's own: its key, and the wish for usage. */
  readonly headers: Readonly<Record<string, string>>
}

export interface TinfoilOptions {
  readonly baseUrl: URL
  readonly apiKey: Secret
  readonly lookup?: Lookup
}

export const USAGE_HEADER = 'x-tinfoil-usage-metrics'

/** Every request of a verifying client names its enclave: its address is asked this often. */
const ADDRESS_TTL_MS = 30_000
/** A suffix on the list lets strangers choose names: those that resolve are few, and bounded. */
const MAX_ADDRESSES = 256

/**
 * `path` below the path of `base`. Set, not resolved: with a base of `https://host//`, resolving
 * `//v1/models` would make `v1` the host that gets our key.
 */
export function urlUnder(base: URL, path: string, search = ''): URL {
  const url = new URL(base)
  url.pathname = base.pathname.replace(/\/+$/, '') + path
  url.search = search
  return url
}

export function tinfoil({ baseUrl, apiKey, lookup }: TinfoilOptions): Tinfoil {
  const known = new Map<string, { readonly enclave: Enclave; readonly until: number }>()

  const enclaveOf = async (host: string, now: number): Promise<Enclave | undefined> => {
    const cached = known.get(host)
    if (cached && cached.until > now) return cached.enclave
    const enclave = await resolveEnclave(host, lookup)
    if (!enclave) return undefined
    if (known.size >= MAX_ADDRESSES) known.clear()
    known.set(host, { enclave, until: now + ADDRESS_TTL_MS })
    return enclave
  }

  return {
    async destination(path, search, enclaveHost, now) {
      if (enclaveHost === undefined) {
        return granted({ url: urlUnder(baseUrl, path, search) })
      }
      const enclave = await enclaveOf(enclaveHost, now)
      if (!enclave) return refused('enclave_not_allowed', { reason: 'no public address' })
      return granted({ url: new URL(path + search, enclave.url), address: enclave.address })
    },
    headers: {
      authorization: `Bearer ${apiKey.reveal()}`,
      'x-tinfoil-request-usage-metrics': 'true',
    },
  }
}
