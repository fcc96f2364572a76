// The port of an upstream: where a request goes and with which key, which headers pass, and how its cost
// and usage are read. gate/upstreams.ts creates each kind.

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

/** A route of an API. */
export interface Endpoint {
  readonly dialect: Dialect
  readonly method: string
  readonly path: string
}

/** Converts a complete, decoded body, or says why it cannot. */
export type Rewrite = (body: Uint8Array) => Decision<Uint8Array>

export interface Asked {
  readonly method: string
  /** A path from our own table. */
  readonly path: string
  /** The raw query with its `?`, or ''. */
  readonly search: string
  /** The allowed enclave that the client chose. */
  readonly enclaveHost?: string | undefined
  /** The caller, whose lookups are bounded. */
  readonly identity?: string
  readonly sealed: boolean
}

/** Meters a response while it passes; reads each chunk and keeps none. */
export interface UsageMeter {
  push?(chunk: Uint8Array, now: number): void
  /**
   * Called once, however the response ended; undefined without usage. `isComplete`: it ended properly on its
   * connection.
   */
  end(trailers: AnswerHeaders, isComplete: boolean): MeteredUsage | undefined
}

export interface Upstream {
  /** Its name in logs and in the ledger; there may be several of its kind. */
  readonly name: string
  readonly kind: UpstreamKind
  /** Called when the gate starts or reloads, not for each request. */
  serves(endpoint: Endpoint): boolean
  /** The bodies that it accepts: an upstream for `sealed` bodies gets no plain ones. */
  readonly bodies: 'plain' | 'sealed' | 'both'
  /** Reads from the headers whether the body is sealed, and its length. */
  inspect(headers: Headers, hasBody: boolean): Decision<Inspected>
  /** Reads the request's cost from the decoded body, if a limit depends on it. */
  costOf(path: string, body: Uint8Array): Decision<Costly>
  /**
   * Present if it stores objects, all under one key: reads the ids of such objects in a body for this path;
   * undefined if there can be none.
   */
  referring?(path: string): ((body: Uint8Array) => Decision<readonly string[]>) | undefined
  /** For a response that cannot pass unchanged; undefined for all others. */
  rewriting?(method: string, path: string): Rewrite | undefined
  /** The requests of `postern check`. */
  readonly checks: readonly { readonly path: string; readonly withKey: boolean }[]
  /** Synchronous unless a name must be resolved. */
  destination(asked: Asked, now: number): Decision<Destination> | Promise<Decision<Destination>>
  /**
   * Present only if each caller has a renewable credential of their own. It is called just before a
   * request is sent. `rejected` got a 401; the result is a newer credential, or a refusal.
   */
  credential?(identity: string, now: Instant, rejected?: string): Promise<Decision<string>>
  /** The request's headers: the client's allowed ones, and last our own credential. */
  requestHeaders(client: Headers, credential?: string): Record<string, string>
  /** Sets the upstream's allowed headers on our response. */
  answerHeaders(upstream: AnswerHeaders, to: Headers): void
  /** `kept`: called with the ids of stored objects while the response passes. */
  meter(asked: Asked, status: number, headers: AnswerHeaders, kept?: Kept): UsageMeter
  /** The values of the headers that `answerHeaders` sets. */
  passes(upstream: AnswerHeaders): readonly string[]
  /**
   * The refusal for an error about our credential instead of the request; undefined if the error passes
   * unchanged. `body`: decoded; '' for a 401.
   */
  credentialRefused(status: number, body: string): Refusal | undefined
  /** Why a response cannot be genuine, in a few words for the log. */
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

/** `paths`: in the form `POST /v1/messages`, all of one API. */
export function serving(dialect: Dialect, paths: readonly string[]): Upstream['serves'] {
  const served = new Set(paths)
  return (endpoint) =>
    endpoint.dialect === dialect && served.has(`${endpoint.method} ${endpoint.path}`)
}
