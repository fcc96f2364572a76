// What is known about one request while it runs, gathered step by step and recorded once, when it
// ends. It holds nothing that a log must not: no subject, no token, no body, no upstream URL.

import type { Instant } from './turn/instant.ts'
import type { Dialect, RefusalCode } from './refusal.ts'

declare const entry: unique symbol

/** The ledger's handle for a request's row: only the ledger that issued it can read it. */
export interface LedgerEntry {
  readonly [entry]: true
}

export interface Exchange {
  readonly requestId: string
  readonly at: Instant
  readonly method: string
  /** The route's pattern, never the requested path; '-' until one matches. */
  route: string
  /** The dialect of the route, or of the caller if there is no route. */
  dialect: Dialect
  /** True for requests that are as frequent as health checks, which get no log line. */
  silent: boolean
  /** The headers that every response of this exchange carries; none once a stream has begun. */
  headers: Headers

  identity?: string | undefined
  /** Present for a device's request, if its enrolment names one. */
  org?: string | undefined
  upstream?: string | undefined
  /** As named by the request, or else by the upstream. */
  model?: string | undefined
  status?: number | undefined
  /** The code of our own refusal. */
  code?: RefusalCode | undefined
  /** Which check failed, or how the upstream failed; only for the log. */
  reason?: string | undefined
  /** From arrival to the response headers. */
  headersMs?: number | undefined
  /** Body bytes, as passed on. */
  bytesIn: number
  bytesOut: number
  /** From arrival to the first byte of the response body. */
  firstByteMs?: number | undefined
  /** Its row in the ledger, once the caller is admitted. */
  entry?: LedgerEntry | undefined
  /** Names of the upstreams that were asked before this one and gave no answer, or were passed over. */
  tried?: readonly string[] | undefined
}

export type ExchangeStart = Pick<
  Exchange,
  'requestId' | 'at' | 'method' | 'route' | 'dialect' | 'silent' | 'headers'
>

/** Creates every member at once: an object that grows member by member is slow. */
export function exchangeOf(begun: ExchangeStart): Exchange {
  const { requestId, at, method, route, dialect, silent, headers } = begun
  return {
    requestId,
    at,
    method,
    route,
    dialect,
    silent,
    headers,
    identity: undefined,
    org: undefined,
    upstream: undefined,
    model: undefined,
    status: undefined,
    code: undefined,
    reason: undefined,
    headersMs: undefined,
    bytesIn: 0,
    bytesOut: 0,
    firstByteMs: undefined,
    entry: undefined,
    tried: undefined,
  }
}
