// The tokens of a session as they are held in memory, and what may be decided from them: pure, `now`
// is an argument. Their ends are by the wall clock, since they outlive this run of the program.

import type { Instant } from '../turn/instant.ts'
import type { IssuedTokens } from './token-answer.ts'
import type { SessionStatus } from './session-status.ts'
import type { SessionTokens } from './sealed-tokens.ts'

export interface HeldTokenSet {
  readonly id: string
  readonly version: number
  readonly tokens: SessionTokens
  /** Undefined where another run of the program obtained them. */
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
  // Half of a short life, or every look at it would renew it.
  return leftMs < Math.min(RENEW_WHEN_LEFT_MS, (lifetimeMs ?? Infinity) / 2) ? 'due' : 'fresh'
}

/** `now` is when it was asked for: what the server took to answer is off its life, too. */
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
      // RFC 6749 §6: a server that issues no new one lets the old one stand.
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
