// The port behind which an upstream stands: where a request goes and with whose key, which headers
// pass, and how its usage is read. Two of them answer: tinfoil.ts and anthropic.ts.

import type { IncomingHttpHeaders } from 'node:http'
import type { Decision } from '../refusal.ts'
import type { MeteredUsage } from './tally.ts'

export interface Destination {
  readonly url: URL
  /** Connect here rather than where the name points by then. */
  readonly address?: string
}

export interface Asked {
  readonly method: string
  /** A path of our own table. */
  readonly path: string
  /** The raw query with its `?`, or ''. */
  readonly search: string
  /** An enclave that the client chose and the list allows. */
  readonly enclaveHost?: string | undefined
  readonly sealed: boolean
}

/** Reads along while an answer passes; looks at each chunk and keeps none. */
export interface UsageMeter {
  push?(chunk: Uint8Array): void
  /** Once, however the answer ended; undefined where it says nothing of usage. */
  end(trailers: NodeJS.Dict<string>): MeteredUsage | undefined
}

export interface Upstream {
  readonly name: 'tinfoil' | 'anthropic'
  destination(asked: Asked, now: number): Promise<Decision<Destination>>
  /** What goes out: the allowed of the client's headers, and last our own credential. */
  requestHeaders(client: Headers): Record<string, string>
  /** What comes back: the allowed of the upstream's headers, set on our own answer. */
  answerHeaders(upstream: IncomingHttpHeaders, to: Headers): void
  meter(asked: Asked, status: number, headers: IncomingHttpHeaders): UsageMeter
  /** An answer that this upstream cannot have meant, in a few words for the log. */
  invalid(asked: Asked, status: number, headers: IncomingHttpHeaders): string | undefined
}

export function copyAllowed(names: readonly string[], from: Headers): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const name of names) {
    const value = from.get(name)
    if (value !== null) headers[name] = value
  }
  return headers
}

export function setAllowed(names: readonly string[], from: IncomingHttpHeaders, to: Headers): void {
  for (const name of names) {
    const value = from[name]
    if (typeof value === 'string') to.set(name, value)
  }
}
