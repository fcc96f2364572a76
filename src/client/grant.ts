// The token as it is kept, and what may be decided from it: pure, `now` is an argument. A kept
// token that is not exactly what we write counts as none, and the device starts again.

export interface Grant {
  readonly token: string
  readonly proxyBaseUrl: string
  /** By this machine's clock. */
  readonly expiresAtMs: number
  readonly lifetimeMs: number
  /**
   * Written before a refresh is sent, gone with its answer. Where it stays, the answer was lost, or
   * we died, and the gate may have retired this token.
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

/** `base` is kept with it: a token is never shown to another gate than the one that gave it. */
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

/** Half of a short life, or every look at it would renew it. */
export function renewsAtMs(grant: Grant, whenLeftMs: number): number {
  return grant.expiresAtMs - Math.min(whenLeftMs, grant.lifetimeMs / 2)
}

/**
 * May this token be shown to /refresh? `resend`: it was, a moment ago, and the gate's grace still
 * covers another ask. `doubtful`: it was, too long ago; if the gate heard, another ask would revoke
 * the family. A clock that was set back makes it doubtful, never good.
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
