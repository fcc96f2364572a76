// The port behind which an upstream stands: where a request goes and with whose key, which headers
// pass, and how its cost and its usage are read. gate/upstreams.ts has a maker for each kind.

import type { Instant } from '../turn/instant.ts'
import { type Decision, type Dialect, type Refusal, refused } from '../refusal.ts'
import type { UpstreamKind } from '../names.ts'
import type { Destination } from '../http1/destination.ts'
import type { AnswerHeaders } from '../http1/fields.ts'
import type { Costly } from './costly.ts'
import { forbiddenBy } from './forbidden.ts'
import type { Inspected } from './inspected.ts'
import type { Kept } from './reading/kept.ts'
import type { MeteredUsage } from './reading/tally.ts'

/** A route as an API has it. */
export interface Endpoint {
  readonly dialect: Dialect
  readonly method: string
  readonly path: string
}

export interface Asked {
  readonly method: string
  /** A path of our own table. */
  readonly path: string
  /** The raw query with its `?`, or ''. */
  readonly search: string
  /** An enclave that the client chose and the list allows. */
  readonly enclaveHost?: string | undefined
  /** Who asks: what one may ask for is bounded. */
  readonly identity?: string
  readonly sealed: boolean
}

/** Reads along while an answer passes; looks at each chunk and keeps none. */
export interface UsageMeter {
  push?(chunk: Uint8Array, now: number): void
  /**
   * Once, however the answer ended; undefined where it says nothing of usage. `isComplete`: its
   * connection saw it end.
   */
  end(trailers: AnswerHeaders, isComplete: boolean): MeteredUsage | undefined
}

export interface Upstream {
  /** Of this one among several of its kind, in logs and in the ledger. */
  readonly name: string
  readonly kind: UpstreamKind
  /** Asked when the gate starts, and not for each request. */
  serves(endpoint: Endpoint): boolean
  /** What it takes: an upstream of `sealed` bodies cannot be asked in clear. */
  readonly bodies: 'plain' | 'sealed' | 'both'
  /** What the request's headers say of its body: sealed or not, and how large. */
  inspect(headers: Headers, hasBody: boolean): Decision<Inspected>
  /** What the body says that a request costs, where a limit depends on it; `body` is decoded. */
  costOf(path: string, body: Uint8Array): Decision<Costly>
  /**
   * There where it keeps what was made, all under one key: reads which ids of it a body names, that is
   * sent to this path; undefined where none can.
   */
  referring?(path: string): ((body: Uint8Array) => Decision<readonly string[]>) | undefined
  /** What `postern check` asks it for. */
  readonly checks: readonly { readonly path: string; readonly withKey: boolean }[]
  /** Without a promise where nothing has to be looked up. */
  destination(asked: Asked, now: number): Decision<Destination> | Promise<Decision<Destination>>
  /**
   * There where the credential is the caller's own, and comes and goes: asked for just before a
   * request goes out. `rejected` is one that was answered 401; a newer one comes back, or a refusal.
   */
  credential?(identity: string, now: Instant, rejected?: string): Promise<Decision<string>>
  /** What goes out: the allowed of the client's headers, and last our own credential. */
  requestHeaders(client: Headers, credential?: string): Record<string, string>
  /** What comes back: the allowed of the upstream's headers, set on our own answer. */
  answerHeaders(upstream: AnswerHeaders, to: Headers): void
  /** `kept`: told of what the upstream keeps, while the answer passes. */
  meter(asked: Asked, status: number, headers: AnswerHeaders, kept?: Kept): UsageMeter
  /** The values of those headers that `answerHeaders` sets. */
  passes(upstream: AnswerHeaders): readonly string[]
  /**
   * What a caller is told of an error that is about the credential that went out, and not about their
   * request; undefined where the error passes as it came. `body`: decoded, '' for a 401.
   */
  credentialRefused(status: number, body: string): Refusal | undefined
  /** An answer that this upstream cannot have meant, in a few words for the log. */
  invalid(asked: Asked, status: number, headers: AnswerHeaders): string | undefined
}

export function copyAllowed(names: readonly string[], from: Headers): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const name of names) {
    const value = from.get(name)
    if (value !== null) headers[name] = value
  }
  return headers
}

export function allowedValues(names: readonly string[], from: AnswerHeaders): readonly string[] {
  const values: string[] = []
  for (const name of names) {
    const value = from[name]
    if (value !== undefined) values.push(value)
  }
  return values
}

/** For an upstream whose key is the operator's. */
export function operatorsKeyRefused(status: number, body: string): Refusal | undefined {
  if (status === 403 && forbiddenBy(body) !== 'request') {
    return refused('upstream_auth', { reason: 'upstream status 403, not about the request' })
  }
  return status === 401 ? refused('upstream_auth', { reason: 'upstream status 401' }) : undefined
}

export function setAllowed(names: readonly string[], from: AnswerHeaders, to: Headers): void {
  for (const name of names) {
    const value = from[name]
    if (typeof value === 'string') to.set(name, value)
  }
}

/** `paths`: as `POST /v1/messages`, all of one API. */
export function serving(dialect: Dialect, paths: readonly string[]): Upstream['serves'] {
  const served = new Set(paths)
  return (endpoint) =>
    endpoint.dialect === dialect && served.has(`${endpoint.method} ${endpoint.path}`)
}
