// The ways in which enrolment says no. The shape is that of refusal.ts, so that a refusal from here
// is one of the gate's own as soon as its table knows the codes below; what is said to the caller
// stands there alone. A `reason` is for the log, and never holds what a caller sent.

import type { RefusalCode } from '../refusal.ts'

export type EnrollCode =
  | Extract<
      RefusalCode,
      | 'bad_request'
      | 'ambiguous_credentials'
      | 'invalid_token'
      | 'token_expired'
      | 'rate_limit_exceeded'
      | 'request_too_large'
    >
  | 'enrollment_closed'
  | 'enrollment_required'
  | 'enrollment_refused'
  | 'enrollment_limit'
  | 'enrollment_unavailable'
  | 'invalid_device_id'
  | 'token_revoked'

export interface EnrollRefusal {
  readonly ok: false
  readonly code: EnrollCode
  readonly reason?: string
  /** Said to the caller in place of the table's message. */
  readonly message?: string
  readonly retryAfterSeconds?: number
}

export type EnrollDecision<T> = { readonly ok: true; readonly value: T } | EnrollRefusal

export function declined(
  code: EnrollCode,
  more: Omit<EnrollRefusal, 'ok' | 'code'> = {},
): EnrollRefusal {
  return { ok: false, code, ...more }
}
