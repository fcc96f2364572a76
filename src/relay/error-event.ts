// A stream may end in an error event after a 200. The event's type tells what the status would have
// told about the upstream.

import type { Verdict } from '../budget/pass.ts'

/** 429 and 529 never count against an upstream, and a 4xx is about the request. */
const NEUTRAL: ReadonlySet<string> = new Set([
  // Anthropic's.
  'overloaded_error',
  'rate_limit_error',
  'invalid_request_error',
  'authentication_error',
  'permission_error',
  'not_found_error',
  'billing_error',
  'request_too_large',
  // OpenAI's, and those of servers that speak its dialect.
  'rate_limit_exceeded',
  'insufficient_quota',
  'invalid_prompt',
  'invalid_request',
  'content_filter',
  'content_policy_violation',
  'context_length_exceeded',
])

export function verdictOnError(type: string): Verdict {
  return NEUTRAL.has(type) ? 'neutral' : 'failure'
}
