// The three questions that a device asks of its gate, each bounded in time and size. No redirect is
// followed (it would carry the token elsewhere), and no word of an answer reaches an error message.

import type { Problem, Result } from './api.ts'
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

const MAX_ANSWER_BYTES = 65_536
/** A clock that is out by less is left alone: `Date` has whole seconds. */
const MIN_CLOCK_ERROR_MS = 60_000

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

export function gate(base: string, now: () => number): Gate {
  async function ask(path: string, init: RequestInit, timeoutMs: number): Promise<Answer> {
    const abort = new AbortController()
    const timer = setTimeout(() => abort.abort(), timeoutMs)
    // Bun's own: HTTP_PROXY would send a loopback request, and the token in it, to the proxy.
    const direct = base.startsWith('http:') ? { proxy: false } : {}
    try {
      const { signal } = abort
      const options: RequestInit = { ...init, ...direct, signal, redirect: 'manual' }
      const response = await fetch(base + path, options)
      const text = await readBounded(response)
      return { status: response.status, headers: response.headers, text }
    } finally {
      clearTimeout(timer)
      abort.abort()
    }
  }

  async function askForToken(path: string, init: RequestInit, timeoutMs: number): Promise<Asked> {
    let answer: Answer
    try {
      answer = await ask(path, { ...init, method: 'POST' }, timeoutMs)
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
        const answer = await ask('/healthz', { method: 'GET' }, timeoutMs)
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

class TooLarge extends Error {}

async function readBounded(response: Response): Promise<string> {
  if (!response.body) return ''
  const decoder = new TextDecoder()
  const reader = response.body.getReader()
  let text = ''
  let bytes = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return text + decoder.decode()
    bytes += value.byteLength
    if (bytes > MAX_ANSWER_BYTES) throw new TooLarge()
    text += decoder.decode(value, { stream: true })
  }
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
function epochMs(value: unknown): number | undefined {
  const ms =
    typeof value === 'string'
      ? Date.parse(value)
      : typeof value === 'number'
        ? value * (value < 1e11 ? 1000 : 1)
        : Number.NaN
  return Number.isFinite(ms) ? ms : undefined
}

const MESSAGES = {
  unreachable: 'the gate cannot be reached',
  timeout: 'the gate did not answer in time',
  unhealthy: 'the gate is not well',
  redirected: 'the gate answered with a redirect, which is not followed',
  invalid_answer: 'the gate gave an answer that makes no sense',
  rate_limited: 'the gate asks to come back later',
  enrollment_refused: 'the gate does not enrol this device: it needs a new enrolment',
  storage_failed: 'the token cannot be kept: the storage failed',
  busy: 'another process is renewing the token, and takes too long',
  stopped: 'the client was stopped',
} as const satisfies Record<Problem['code'], string>

export function problem(
  code: Problem['code'],
  more: Omit<Problem, 'code' | 'message'> = {},
): Problem {
  return { code, message: MESSAGES[code], ...more }
}

function badStatus({ status, headers }: Answer): Problem {
  const retryAfter = headers.get('retry-after') ?? ''
  const later = /^\d{1,9}$/.test(retryAfter) ? { retryAfterSeconds: Number(retryAfter) } : {}
  // 0: what a manual redirect looks like to a fetch that is built for browsers.
  if (status === 0 || (status >= 300 && status < 400)) return problem('redirected', { status })
  if (status === 429) return problem('rate_limited', { status, ...later })
  return problem('unhealthy', { status, ...later })
}

function problemOf(error: unknown): Problem {
  if (error instanceof TooLarge) return problem('invalid_answer')
  const aborted = error instanceof Error && error.name === 'AbortError'
  return problem(aborted ? 'timeout' : 'unreachable')
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
