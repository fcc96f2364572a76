// What is known of one request while it lives, gathered step by step and written down once, when
// it ends. It holds nothing that a log must not: no subject, no token, no body, no upstream URL.

import type { Instant } from './turn/instant.ts'
import type { Dialect, RefusalCode } from './refusal.ts'

declare const entry: unique symbol

/** The ledger's ticket for the row of a request: only the ledger that gave it can read it. */
export interface LedgerEntry {
  readonly [entry]: true
}

export interface Exchange {
  readonly requestId: string
  readonly at: Instant
  readonly method: string
  /** The route's pattern, never the path that was sent; '-' where none matched. */
  readonly route: string
  /** Of the route, or of the caller where there is none. */
  dialect: Dialect
  /** Health checks, and what comes as often, are answered without a line in the log. */
  silent: boolean
  /** The headers that every answer of this exchange carries. */
  readonly headers: Headers

  identity?: string | undefined
  /** Present for a device's request, where its enrolment names one. */
  org?: string | undefined
  upstream?: string | undefined
  /** As the request names it, or else as the upstream does. */
  model?: string | undefined
  status?: number | undefined
  /** Of our own refusal. */
  code?: RefusalCode | undefined
  /** Which check failed or how the upstream did; for the log alone. */
  reason?: string | undefined
  /** From arrival to the answer's headers. */
  headersMs?: number | undefined
  /** Body bytes, as they passed. */
  bytesIn: number
  bytesOut: number
  /** From arrival to the first byte of the answer's body. */
  firstByteMs?: number | undefined
  /** Its row in the ledger, once somebody is admitted. */
  entry?: LedgerEntry | undefined
}

export type ExchangeStart = Pick<
  Exchange,
  'requestId' | 'at' | 'method' | 'route' | 'dialect' | 'silent' | 'headers'
>

/** With every member from the start: an object that grows member by member is slow for all. */
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
  }
}
