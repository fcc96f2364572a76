// Writes a bucket's decision into headers that clients read: the IETF draft's structured fields
// (draft-ietf-httpapi-ratelimit-headers) for all, and OpenAI's or Anthropic's own.

import type { Instant } from '../turn/instant.ts'
import type { Dialect } from '../refusal.ts'
import type { BucketDecision } from '../state/port.ts'

/** The response that gets the headers. */
export interface RateHeaderTarget {
  readonly headers: Headers
  readonly dialect: Dialect
  readonly at: Instant
}

/** What a limiter advertises, the same each time. */
export interface AdvertisedLimit {
  readonly policy: string
  readonly limit: string
}

/** `windowSeconds` is the time in which an empty bucket fills. */
export function limitsOf(limit: number, windowSeconds: number): AdvertisedLimit {
  const policy = `"requests";q=${limit};w=${Math.ceil(windowSeconds)}`
  return { policy, limit: String(limit) }
}

export function rateHeaders(
  { remaining, resetSeconds }: BucketDecision,
  { policy, limit }: AdvertisedLimit,
  { headers, dialect, at }: RateHeaderTarget,
): void {
  headers.set('ratelimit-policy', policy)
  headers.set('ratelimit', `"requests";r=${remaining};t=${Math.ceil(resetSeconds)}`)
  if (dialect === 'openai') {
    headers.set('x-ratelimit-limit-requests', limit)
    headers.set('x-ratelimit-remaining-requests', String(remaining))
    headers.set('x-ratelimit-reset-requests', `${Math.ceil(resetSeconds * 1000)}ms`)
  } else {
    const reset = new Date(Math.ceil(at.epochSeconds + resetSeconds) * 1000)
    headers.set('anthropic-ratelimit-requests-limit', limit)
    headers.set('anthropic-ratelimit-requests-remaining', String(remaining))
    headers.set('anthropic-ratelimit-requests-reset', reset.toISOString().replace('.000', ''))
  }
}
