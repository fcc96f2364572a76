// The token as it is stored, and decisions about it. Pure; `now` is an argument. A stored token that
// is not exactly in our format counts as none, and the device starts again.

export interface Grant {
  readonly token: string
  readonly proxyBaseUrl: string
  /** By this machine's clock. */
  readonly expiresAtMs: number
  readonly lifetimeMs: number
  /**
   * Written before a refresh is sent, and removed with its answer. If it is still there, the answer
   * was lost or the process died, and the gate may have retired this token.
   */
  readonly refreshSentAtMs?: number
}

const MAX_GRANT_CHARS = 32_768

/** RFC 6750 §2.1 `b64token`: what a header can carry, and nothing else. */
const BEARER_TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/
const MAX_TOKEN_CHARS = 8192

export function isBearerToken(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_TOKEN_CHARS && BEARER_TOKEN.test(value)
}

/** `base` is stored with it: a token is never sent to a gate other than the one that issued it. */
export function serializeGrant(grant: Grant, base: string): string {
  return JSON.stringify({ version: 1, base, ...grant })
}

export function parseGrant(text: string, base: string): Grant | undefined {
  if (text.length > MAX_GRANT_CHARS) return undefined
  let kept: Readonly<Record<string, unknown>>
  try {
    kept = Object(JSON.parse(text))
  } catch {
    return undefined
  }
  const { token, proxyBaseUrl, expiresAtMs, lifetimeMs, refreshSentAtMs } = kept
  if (kept['version'] !== 1 || kept['base'] !== base) return undefined
  if (!isBearerToken(token) || typeof proxyBaseUrl !== 'string') return undefined
  if (!isFinite(expiresAtMs) || !isFinite(lifetimeMs)) return undefined
  const grant = { token, proxyBaseUrl, expiresAtMs, lifetimeMs }
  if (refreshSentAtMs === undefined) return grant
  return isFinite(refreshSentAtMs) ? { ...grant, refreshSentAtMs } : undefined
}

function isFinite(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

export function isGood(grant: Grant, nowMs: number): boolean {
  return grant.expiresAtMs > nowMs
}

/** At most half of a short lifetime; otherwise every check would renew the token. */
export function renewsAtMs(grant: Grant, whenLeftMs: number): number {
  return grant.expiresAtMs - Math.min(whenLeftMs, grant.lifetimeMs / 2)
}

/**
 * Whether this token may be sent to /refresh. `resend`: it was sent a moment ago, and the gate's
 * grace period still allows a repeat. `doubtful`: it was sent too long ago; if the gate received
 * it, a repeat would revoke the family. A clock that was set back makes it doubtful, never fresh.
 */
export function refreshable(
  grant: Grant,
  nowMs: number,
  resendWithinMs: number,
): 'fresh' | 'resend' | 'doubtful' {
  if (grant.refreshSentAtMs === undefined) return 'fresh'
  const sinceMs = nowMs - grant.refreshSentAtMs
  return sinceMs >= 0 && sinceMs <= resendWithinMs ? 'resend' : 'doubtful'
}
