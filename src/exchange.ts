// What is known of one request while it lives, gathered step by step and written down once, when
// it ends. It holds nothing that a log must not: no subject, no token, no body, no upstream URL.

import type { Instant } from './instant.ts'
import type { Usage } from './upstream/usage.ts'

/** How a request ended. `refused` is our own answer; the others are those of a relayed one. */
export type End = 'complete' | 'refused' | 'client_gone' | 'upstream_error' | 'timeout' | 'drained'

export interface Exchange {
  readonly requestId: string
  readonly at: Instant
  readonly method: string
  /** The route's pattern, never the path that was sent; '-' where none matched. */
  readonly route: string
  /** Health checks are answered without a line in the log. */
  readonly silent: boolean
  /** The headers that every answer of this exchange carries. */
  readonly headers: Headers

  identity?: string
  status?: number
  /** Which check failed or how the upstream did; for the log alone. */
  reason?: string
  /** From arrival to the answer's headers. */
  headersMs?: number
  /** Body bytes, as they passed. */
  bytesIn: number
  bytesOut: number
  usage?: Usage
}
