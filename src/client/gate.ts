// The three questions that a device asks of its gate, each bounded in time and size (ask.ts). No
// word of an answer reaches an error message.

import type { Problem, Result } from './api.ts'
import { type Answer, ask, badStatus, problem, problemOf } from './ask.ts'
import { proxyBaseUrl } from './base-url.ts'
import { type Grant, isBearerToken } from './grant.ts'

export type Asked =
  | { readonly kind: 'granted'; readonly grant: Grant }
  /** 401 or 403: the credential is not accepted. */
  | { readonly kind: 'refused'; readonly status: number }
  /** `heard`: the gate may have acted on it; false only where it certainly has not. */
  | { readonly kind: 'failed'; readonly problem: Problem; readonly heard: boolean }

export interface Gate {
  health(timeoutMs: number): Promise<Result<undefined>>
  bootstrap(
    body: { readonly device_id: string; readonly app_version?: string },
    enrollment: string | undefined,
    timeoutMs: number,
  ): Promise<Asked>
  refresh(token: string, timeoutMs: number): Promise<Asked>
}

/** A clock that is out by less is left alone: `Date` has whole seconds. */
const MIN_CLOCK_ERROR_MS = 60_000

export function gate(base: string, now: () => number): Gate {
  async function askForToken(path: string, init: RequestInit, timeoutMs: number): Promise<Asked> {
    let answer: Answer
    try {
      answer = await ask(base, path, { ...init, method: 'POST' }, timeoutMs)
    } catch (error) {
      return { kind: 'failed', problem: problemOf(error), heard: !neverSent(error) }
    }
    const { status } = answer
    if (status === 401 || status === 403) return { kind: 'refused', status }
    if (status !== 200 && status !== 201) {
      // What stands before a gate says 5xx when the gate was slow, too; below that, it refused.
      return { kind: 'failed', problem: badStatus(answer), heard: status >= 500 || status < 300 }
    }
    const grant = parseAnswer(answer, base, now())
    return grant
      ? { kind: 'granted', grant }
      : { kind: 'failed', problem: problem('invalid_answer', { status }), heard: true }
  }

  return {
    async health(timeoutMs) {
      try {
        const answer = await ask(base, '/healthz', { method: 'GET' }, timeoutMs)
        if (answer.status !== 200) return { ok: false, problem: badStatus(answer) }
        // Not the page that something before the gate shows in its place.
        return saysOk(answer.text)
          ? { ok: true, value: undefined }
          : { ok: false, problem: problem('invalid_answer', { status: 200 }) }
      } catch (error) {
        return { ok: false, problem: problemOf(error) }
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
  try {
    return Object(JSON.parse(text))['status'] === 'ok'
  } catch {
    return false
  }
}

function parseAnswer({ text, headers }: Answer, base: string, nowMs: number): Grant | undefined {
  let said: Readonly<Record<string, unknown>>
  try {
    said = Object(JSON.parse(text))
  } catch {
    return undefined
  }
  const token = said['wrapper_token']
  const proxy = said['proxy_base_url']
  const expiresAtMs = epochMs(said['expires_at'])
  if (!isBearerToken(token) || typeof proxy !== 'string' || expiresAtMs === undefined) {
    return undefined
  }
  // A device's clock may be hours out; what counts is how long the token lives by the gate's.
  const gateNowMs = Date.parse(headers.get('date') ?? '')
  const clockErrorMs = Math.abs(gateNowMs - nowMs) > MIN_CLOCK_ERROR_MS ? nowMs - gateNowMs : 0
  const localExpiryMs = expiresAtMs + clockErrorMs
  const lifetimeMs = localExpiryMs - nowMs
  if (lifetimeMs <= 0) return undefined
  return { token, proxyBaseUrl: proxyBaseUrl(proxy, base), expiresAtMs: localExpiryMs, lifetimeMs }
}

/** ISO 8601 as system C has it, or a NumericDate (RFC 7519 §2), or that in milliseconds. */
export function epochMs(value: unknown): number | undefined {
  const ms =
    typeof value === 'string'
      ? Date.parse(value)
      : typeof value === 'number'
        ? value * (value < 1e11 ? 1000 : 1)
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
