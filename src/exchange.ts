// What is known of one request while it lives, gathered step by step and written down once, when
// it ends. It holds nothing that a log must not: no subject, no token, no body, no upstream URL.

import type { Instant } from './instant.ts'
import type { Dialect, RefusalCode } from './refusal.ts'
import type { Entry } from './settle/ledger.ts'

/** How a request ended. `refused` is our own answer; the others are those of a relayed one. */
export type End = 'complete' | 'refused' | 'client_gone' | 'upstream_error' | 'timeout' | 'drained'

export interface Exchange {
  readonly requestId: string
  readonly at: Instant
  readonly method: string
  /** The route's pattern, never the path that was sent; '-' where none matched. */
  readonly route: string
  readonly dialect: Dialect
  /** Health checks are answered without a line in the log. */
  readonly silent: boolean
  /** The headers that every answer of this exchange carries. */
  readonly headers: Headers

  identity?: string
  /** Present for a device's request, where its enrolment names one. */
  org?: string
  upstream?: string
  /** As the request names it, or else as the upstream does. */
  model?: string
  status?: number
  /** Of our own refusal. */
  code?: RefusalCode
  /** Which check failed or how the upstream did; for the log alone. */
  reason?: string
  /** From arrival to the answer's headers. */
  headersMs?: number
  /** Body bytes, as they passed. */
  bytesIn: number
  bytesOut: number
  /** From arrival to the first byte of the answer's body. */
  firstByteMs?: number
  /** Its row in the ledger, once somebody is admitted. */
  entry?: Entry
}
