// The tokens of a session in memory, and decisions about them. Pure; `now` is an argument. Expiry uses
// the wall clock, because tokens outlive this process.

import type { Instant } from '../turn/instant.ts'
import type { IssuedTokens } from './token-answer.ts'
import type { SessionStatus } from './session-status.ts'
import type { SessionTokens } from './sealed-tokens.ts'

export interface HeldTokenSet {
  readonly id: string
  readonly version: number
  readonly tokens: SessionTokens
  /** Undefined if another process obtained them. */
  readonly lifetimeMs: number | undefined
}

const RENEW_WHEN_LEFT_MS = 300_000

export function freshness(
  { tokens, lifetimeMs }: HeldTokenSet,
  now: Instant,
): 'fresh' | 'due' | 'expired' {
  const { expiresAtMs } = tokens
  if (expiresAtMs === undefined) return 'fresh'
  const leftMs = expiresAtMs - epochMs(now)
  if (leftMs <= 0) return 'expired'
  // At most half of a short lifetime; otherwise every check would renew the token.
  return leftMs < Math.min(RENEW_WHEN_LEFT_MS, (lifetimeMs ?? Infinity) / 2) ? 'due' : 'fresh'
}

/**
 * `now` is when the request was sent: the time that the server took counts against the lifetime.
 */
export function heldFrom(
  issued: IssuedTokens,
  before: Pick<SessionTokens, 'refreshToken' | 'scope'>,
  now: Instant,
): Pick<HeldTokenSet, 'tokens' | 'lifetimeMs'> {
  const { accessToken, lifetimeSeconds } = issued
  const lifetimeMs = lifetimeSeconds === undefined ? undefined : lifetimeSeconds * 1000
  return {
    lifetimeMs,
    tokens: {
      accessToken,
      // RFC 6749 §6: a server that issues no new one keeps the old one valid.
      refreshToken: issued.refreshToken ?? before.refreshToken,
      expiresAtMs: lifetimeMs === undefined ? undefined : epochMs(now) + lifetimeMs,
      scope: issued.scope ?? before.scope,
    },
  }
}

export function statusOf({ expiresAtMs, scope, refreshToken }: SessionTokens): SessionStatus {
  return { expiresAtMs, scope, renewable: refreshToken !== undefined }
}

export function epochMs({ epochSeconds }: Instant): number {
  return epochSeconds * 1000
}

export function later({ epochSeconds, monotonicMs }: Instant, startedMs: number): Instant {
  const elapsedMs = performance.now() - startedMs
  return { epochSeconds: epochSeconds + elapsedMs / 1000, monotonicMs: monotonicMs + elapsedMs }
}
