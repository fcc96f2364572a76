// The refusals of enrolment. Their shape is that of refusal.ts, so that each is one of the gate's
// refusals once its table knows the codes below; the message to the caller stands there. A `reason` is
// for the log, and never contains what a caller sent.

import type { RefusalCode } from '../refusal.ts'
import type { OpenedToken } from './device-token.ts'

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
  /** Sent to the caller instead of the table's message. */
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

const STORAGE_RETRY_SECONDS = 5

export function revoked(reason = 'token is revoked'): EnrollRefusal {
  return declined('token_revoked', { reason })
}

export function unavailable(reason: string): EnrollRefusal {
  return declined('enrollment_unavailable', { reason, retryAfterSeconds: STORAGE_RETRY_SECONDS })
}

export function notOpened({ expired, reason }: OpenedToken & { ok: false }): EnrollRefusal {
  return declined(expired ? 'token_expired' : 'invalid_token', { reason })
}
