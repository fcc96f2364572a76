// The command line's requests to a gate's /auth routes. The key and the attempt go in headers, never
// in a URL; responses are validated before use, and no word of them is shown in an error. A link that
// is to be opened is https, or http to this machine, and nothing else.

import type { Problem, Result } from '../client/api.ts'
import { type GateAnswer, ask, badStatus, problem, problemOf } from '../client/ask.ts'
import { isLoopback, parseBaseUrl } from '../client/base-url.ts'
import { epochMs } from '../client/gate.ts'
import { isBearerToken } from '../client/grant.ts'
import { shellWord } from './shell-word.ts'

export interface SignInStarted {
  /**
   * The link for a person to open: the authorization server, or the gate, which redirects there.
   */
  readonly link: URL
  readonly state: string
  readonly expiresInMs: number
  /** Whether `code#state` is pasted by hand; otherwise the redirect brings it to the gate. */
  readonly paste: boolean
  /** The attempt, as a `Cookie` header. */
  readonly cookie: string
}

export interface SignedInAnswer {
  readonly authenticated: true
  readonly expiresAtMs: number | undefined
  readonly scope: string | undefined
  /** Undefined if the gate did not say. */
  readonly renewable: boolean | undefined
  /** Sent once, to the owner of the attempt. */
  readonly key: string | undefined
}

export type SignInStatus =
  SignedInAnswer | { readonly authenticated: false; readonly pending: boolean }

export interface Auth {
  /** The gate's address. */
  readonly base: string
  start(): Promise<Result<SignInStarted>>
  submit(attempt: SignInStarted, codeAndState: string): Promise<Result<SignInStatus>>
  /** The outcome of an attempt. */
  collect(attempt: SignInStarted): Promise<Result<SignInStatus>>
  /** Without a key: whether this gate offers sign-in at all. */
  status(key: string | undefined): Promise<Result<SignInStatus>>
  refresh(key: string): Promise<Result<SignInStatus>>
  logout(key: string): Promise<Result<undefined>>
}

const ASK_TIMEOUT_MS = 5000
/** The gate asks the authorization server meanwhile. */
const EXCHANGE_TIMEOUT_MS = 30_000

const ATTEMPT_COOKIE = 'postern_login'
/** RFC 6265 §4.1.1 `cookie-octet`. */
const COOKIE_VALUE = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]{1,1024}$/
const STATE = /^[A-Za-z0-9_-]{16,512}$/
const MAX_LINK_CHARS = 8192
const DEFAULT_EXPIRES_IN_SECONDS = 600
const MAX_EXPIRES_IN_SECONDS = 3600
const MAX_SCOPE_CHARS = 1024

/** Names the gate, so that the command means this one wherever it runs. */
export function signInWith(base: string): string {
  return `sign in with: postern login --gate ${shellWord(base)}`
}

/** Statuses with a specific meaning here, beyond an unhealthy gate. */
const meanings = (base: string): Readonly<Record<number, Pick<Problem, 'code' | 'message'>>> => ({
  400: {
    code: 'enrollment_refused',
    message: `the sign-in was not accepted; ${signInWith(base)}`,
  },
  401: { code: 'enrollment_refused', message: `the sign-in has ended; ${signInWith(base)}` },
  403: { code: 'enrollment_refused', message: 'the gate refuses to be asked from here' },
  404: {
    code: 'unhealthy',
    message: 'this gate has no sign-in: it was started without CLIENT_ID',
  },
  503: {
    code: 'unhealthy',
    message: 'the gate cannot reach the authorization server, or use its own file, now',
  },
})

export const NOT_LOCAL = 'the gate must be on this machine: a sign-in belongs to one'

/** For somebody who can start a gate. */
export function failing({ code, message }: Problem, base: string): string {
  if (code === 'unreachable') return `${message} at ${base}; is it running?`
  return code === 'timeout' ? `${message} (${base})` : message
}

export function signInEnded(base: string): Problem {
  return { ...problem('enrollment_refused'), ...meanings(base)[401] }
}

export function notAccepted(base: string): Problem {
  return { ...problem('enrollment_refused'), ...meanings(base)[400] }
}

/**
 * Undefined if `text` is not a gate on this machine: a sign-in belongs to one person on one
 * machine.
 */
export function parseLocalGate(text: string): string | undefined {
  const base = parseBaseUrl(text)
  return base !== undefined && isLoopback(new URL(base).hostname) ? base : undefined
}

export function auth(base: string): Auth {
  async function asked<T>(
    path: string,
    init: RequestInit,
    timeoutMs: number,
    parse: (said: Readonly<Record<string, unknown>>, answer: GateAnswer) => T | undefined,
  ): Promise<Result<T>> {
    let answer: GateAnswer
    try {
      const headers = { accept: 'application/json', ...init.headers }
      answer = await ask(base, path, { ...init, headers }, timeoutMs)
    } catch (error) {
      return { ok: false, problem: problemOf(error) }
    }
    if (answer.status < 200 || answer.status >= 300) {
      return { ok: false, problem: { ...badStatus(answer), ...meanings(base)[answer.status] } }
    }
    const value = parse(parseObject(answer.text), answer)
    return value === undefined
      ? { ok: false, problem: problem('invalid_answer', { status: answer.status }) }
      : { ok: true, value }
  }

  return {
    base,
    start: () =>
      asked('/auth/device/start', { method: 'POST' }, ASK_TIMEOUT_MS, (said, { headers }) =>
        parseStarted(said, headers, base),
      ),
    submit: ({ cookie }, code) =>
      asked(
        '/auth/device/submit',
        {
          method: 'POST',
          headers: { cookie, 'content-type': 'application/json' },
          body: JSON.stringify({ code }),
        },
        EXCHANGE_TIMEOUT_MS,
        parseStatus,
      ),
    collect: ({ cookie }) =>
      asked('/auth/status', { headers: { cookie } }, ASK_TIMEOUT_MS, parseStatus),
    status: (key) => asked('/auth/status', { headers: bearer(key) }, ASK_TIMEOUT_MS, parseStatus),
    refresh: (key) =>
      asked(
        '/auth/refresh',
        { method: 'POST', headers: bearer(key) },
        EXCHANGE_TIMEOUT_MS,
        parseStatus,
      ),
    async logout(key) {
      const init = { method: 'POST', headers: bearer(key) }
      const said = await asked('/auth/logout', init, EXCHANGE_TIMEOUT_MS, parseStatus)
      if (!said.ok) return said
      return said.value.authenticated
        ? { ok: false, problem: problem('invalid_answer') }
        : { ok: true, value: undefined }
    },
  }
}

function bearer(key: string | undefined): Record<string, string> {
  return key === undefined ? {} : { authorization: `Bearer ${key}` }
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    return Object(JSON.parse(text))
  } catch {
    return {}
  }
}

function parseStarted(
  members: Readonly<Record<string, unknown>>,
  headers: Headers,
  base: string,
): SignInStarted | undefined {
  const { paste, state, expires_in: expiresIn } = members
  const link = parseLink(paste === true ? members['auth_url'] : members['open_url'], base)
  const attempt = attemptIn(headers)
  if (typeof paste !== 'boolean' || !link || attempt === undefined) return undefined
  if (typeof state !== 'string' || !STATE.test(state)) return undefined
  const said = typeof expiresIn === 'string' ? Number(expiresIn) : expiresIn
  const seconds =
    typeof said === 'number' && said > 0
      ? Math.min(said, MAX_EXPIRES_IN_SECONDS)
      : DEFAULT_EXPIRES_IN_SECONDS
  const cookie = `${ATTEMPT_COOKIE}=${attempt}`
  return { link, state, expiresInMs: seconds * 1000, paste, cookie }
}

/** A program opens the link, and a person trusts it. */
function parseLink(value: unknown, base: string): URL | undefined {
  if (typeof value !== 'string' || value.length > MAX_LINK_CHARS) return undefined
  if (!URL.canParse(value, base)) return undefined
  const url = new URL(value, base)
  if (url.username !== '' || url.password !== '') return undefined
  const { protocol, hostname } = url
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname)) ? url : undefined
}

function attemptIn(headers: Headers): string | undefined {
  const prefix = `${ATTEMPT_COOKIE}=`
  const line = headers.getSetCookie().find((each) => each.startsWith(prefix)) ?? ''
  const [value = ''] = line.slice(prefix.length).split(';', 1)
  return COOKIE_VALUE.test(value) ? value : undefined
}

function parseStatus(said: Readonly<Record<string, unknown>>): SignInStatus | undefined {
  const { authenticated, renewable, scope } = said
  const key = said['session_key'] ?? undefined
  if (authenticated === false) return { authenticated, pending: said['pending'] === true }
  if (authenticated !== true || (key !== undefined && !isBearerToken(key))) return undefined
  return {
    authenticated,
    expiresAtMs: instantOf(said['expires_at']),
    scope: typeof scope === 'string' ? printableScope(scope) : undefined,
    renewable: typeof renewable === 'boolean' ? renewable : undefined,
    key,
  }
}

/** Undefined also for a day that does not exist. */
function instantOf(value: unknown): number | undefined {
  const ms = epochMs(value)
  return ms === undefined || Number.isNaN(new Date(ms).getTime()) ? undefined : ms
}

/** RFC 6749 §3.3; anything else a server adds must not move a terminal's cursor. */
function printableScope(scope: string): string {
  return scope.slice(0, MAX_SCOPE_CHARS).replaceAll(/[^\x20-\x7e]/g, '?')
}
