// The four requests that a device sends to its gate, each bounded in time and size (ask.ts). No word
// of a response reaches an error message.

import type { Problem, Result } from './api.ts'
import { type GateAnswer, ask, badStatus, problem, problemOf } from './ask.ts'
import { proxyBaseUrl } from './base-url.ts'
import { type Grant, isBearerToken } from './grant.ts'

export type GateAsked =
  | { readonly kind: 'granted'; readonly grant: Grant }
  /** 401 or 403: the credential is not accepted. `code`: the reason, if it is known. */
  | {
      readonly kind: 'refused'
      readonly status: number
      readonly code: GateRefusalCode | undefined
    }
  /** `heard`: the gate may have acted on the request; false only if it certainly has not. */
  | { readonly kind: 'failed'; readonly problem: Problem; readonly heard: boolean }

/** The codes of a refused token or enrolment that matter here. */
export type GateRefusalCode = (typeof REFUSAL_CODES)[number]

const REFUSAL_CODES = [
  'token_expired',
  'token_revoked',
  'invalid_token',
  'enrollment_closed',
  'enrollment_required',
  'enrollment_refused',
] as const

/** A token's standing at its gate. */
export type GateStanding =
  /**
   * `replaced`: whether a refresh has already issued a newer token; undefined if the gate does not
   * say.
   */
  | { readonly kind: 'good'; readonly replaced: boolean | undefined }
  /** Only the gate itself answers with these codes, never a proxy before it. */
  | { readonly kind: 'dead'; readonly code: GateRefusalCode }
  /** The gate's version does not know this request. */
  | { readonly kind: 'unasked' }
  /** Something before the gate blocks the request: nothing follows from that. */
  | { readonly kind: 'untold' }
  | { readonly kind: 'failed'; readonly problem: Problem }

export interface RemoteGate {
  health(timeoutMs: number): Promise<Result<undefined>>
  /** `GET /device`. */
  standing(token: string, timeoutMs: number): Promise<GateStanding>
  bootstrap(
    body: {
      readonly device_id: string
      readonly device_name?: string
      readonly app_version?: string
    },
    enrollment: string | undefined,
    timeoutMs: number,
  ): Promise<GateAsked>
  refresh(token: string, timeoutMs: number): Promise<GateAsked>
}

/** A smaller clock error is ignored: `Date` has whole seconds. */
const MIN_CLOCK_ERROR_MS = 60_000

export function gate(base: string, now: () => number): RemoteGate {
  async function askForToken(
    path: string,
    init: RequestInit,
    timeoutMs: number,
  ): Promise<GateAsked> {
    let answer: GateAnswer
    try {
      answer = await ask(base, path, { ...init, method: 'POST' }, timeoutMs)
    } catch (error) {
      return { kind: 'failed', problem: problemOf(error), heard: !neverSent(error) }
    }
    const { status } = answer
    const said = parseObject(answer.text)
    // A proxy before the gate also refuses requests, with a page of its own.
    if (said && (status === 401 || status === 403)) {
      return { kind: 'refused', status, code: refusalCode(said) }
    }
    if (status < 200 || status >= 300) {
      // A proxy before the gate also answers 5xx when the gate was slow; below 500, it refused.
      return { kind: 'failed', problem: badStatus(answer), heard: status >= 500 }
    }
    const grant = said && parseGranted(said, answer.headers, base, now())
    return grant
      ? { kind: 'granted', grant }
      : { kind: 'failed', problem: problem('invalid_answer', { status }), heard: true }
  }

  return {
    async health(timeoutMs) {
      try {
        const answer = await ask(base, '/healthz', { method: 'GET' }, timeoutMs)
        if (answer.status !== 200) return { ok: false, problem: badStatus(answer) }
        // Not the page that a proxy shows in its place.
        return saysOk(answer.text)
          ? { ok: true, value: undefined }
          : { ok: false, problem: problem('invalid_answer', { status: 200 }) }
      } catch (error) {
        return { ok: false, problem: problemOf(error) }
      }
    },
    async standing(token, timeoutMs) {
      try {
        const init = { method: 'GET', headers: bearer(token) }
        const answer = await ask(base, '/device', init, timeoutMs)
        const { status } = answer
        const said = parseObject(answer.text)
        if (status >= 200 && status < 300) {
          const replaced = said?.['replaced']
          return { kind: 'good', replaced: typeof replaced === 'boolean' ? replaced : undefined }
        }
        const code = refusalCode(said)
        if (status === 401 && code !== undefined) return { kind: 'dead', code }
        if (status === 404 || status === 405) return { kind: 'unasked' }
        if (status >= 400 && status < 500 && status !== 408 && status !== 429) {
          return { kind: 'untold' }
        }
        return { kind: 'failed', problem: badStatus(answer) }
      } catch (error) {
        return { kind: 'failed', problem: problemOf(error) }
      }
    },
    bootstrap(body, enrollment, timeoutMs) {
      const headers = { 'content-type': 'application/json', ...bearer(enrollment) }
      return askForToken('/bootstrap', { headers, body: JSON.stringify(body) }, timeoutMs)
    },
    refresh: (token, timeoutMs) => askForToken('/refresh', { headers: bearer(token) }, timeoutMs),
  }
}

function bearer(credential: string | undefined): Record<string, string> {
  return credential === undefined ? {} : { authorization: `Bearer ${credential}` }
}

function saysOk(text: string): boolean {
  return parseObject(text)?.['status'] === 'ok'
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : undefined
  } catch {
    return undefined
  }
}

function refusalCode(
  said: Readonly<Record<string, unknown>> | undefined,
): GateRefusalCode | undefined {
  const { code } = Object(said?.['error']) as { readonly code?: unknown }
  return REFUSAL_CODES.find((each) => each === code)
}

/** If nothing says how long a token lives: short enough to ask for the next in good time. */
const UNSAID_LIFETIME_MS = 3_600_000

/**
 * A valid token is never discarded because of what is beside it: the token that it replaces is
 * retired by now.
 */
function parseGranted(
  said: Readonly<Record<string, unknown>>,
  headers: Headers,
  base: string,
  nowMs: number,
): Grant | undefined {
  const { wrapper_token: token, proxy_base_url: proxy } = said
  if (!isBearerToken(token)) return undefined
  // A device's clock may be hours off; what counts is how long the token lives by the gate's clock.
  const gateNowMs = Date.parse(headers.get('date') ?? '')
  const clockErrorMs = Math.abs(gateNowMs - nowMs) > MIN_CLOCK_ERROR_MS ? nowMs - gateNowMs : 0
  const saidExpiryMs = epochMs(said['expires_at']) ?? epochMs(claimedExpiry(token))
  const localExpiryMs =
    saidExpiryMs === undefined ? nowMs + UNSAID_LIFETIME_MS : saidExpiryMs + clockErrorMs
  const lifetimeMs = localExpiryMs - nowMs
  if (lifetimeMs <= 0) return undefined
  return {
    token,
    proxyBaseUrl: typeof proxy === 'string' ? proxyBaseUrl(proxy, base) : base,
    expiresAtMs: localExpiryMs,
    lifetimeMs,
  }
}

/** The `exp` of a JWT. Nothing is verified: it only says when to ask again. */
function claimedExpiry(token: string): unknown {
  const [, claims = ''] = token.split('.')
  return parseObject(Buffer.from(claims, 'base64url').toString('utf8'))?.['exp']
}

/** ISO 8601, or a NumericDate (RFC 7519 §2), or one in milliseconds. */
export function epochMs(value: unknown): number | undefined {
  const number =
    typeof value === 'string' && /^\s*\d{1,15}(?:\.\d{0,9})?\s*$/.test(value)
      ? Number(value)
      : value
  const ms =
    typeof number === 'string'
      ? Date.parse(number)
      : typeof number === 'number'
        ? number * (number < 1e11 ? 1000 : 1)
        : Number.NaN
  return Number.isFinite(ms) ? ms : undefined
}

/** No connection was made, so nothing was sent. Node keeps the code in `cause`. */
const NO_CONNECTION = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])

function neverSent(error: unknown): boolean {
  const { code, cause } = Object(error) as { code?: unknown; cause?: { code?: unknown } }
  return NO_CONNECTION.has(String(code ?? cause?.code))
}
