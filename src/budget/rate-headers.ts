// One decision of a bucket in the two dialects that clients read: the IETF draft's structured
// fields (draft-ietf-httpapi-ratelimit-headers) and OpenAI's.

import type { BucketDecision } from './bucket.ts'

/** `windowSeconds` is the time in which an empty bucket fills. */
export function rateHeaders(decision: BucketDecision, windowSeconds: number, to: Headers): void {
  const { limit, remaining, resetSeconds } = decision
  to.set('ratelimit-policy', `"requests";q=${limit};w=${Math.ceil(windowSeconds)}`)
  to.set('ratelimit', `"requests";r=${remaining};t=${Math.ceil(resetSeconds)}`)
  to.set('x-ratelimit-limit-requests', String(limit))
  to.set('x-ratelimit-remaining-requests', String(remaining))
  to.set('x-ratelimit-reset-requests', `${Math.ceil(resetSeconds * 1000)}ms`)
}
