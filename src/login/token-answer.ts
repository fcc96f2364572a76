// Reads a token endpoint's response. Providers are careless about what they send beside a token (a
// member that is `null`, a number as text, a type in another case), and the refresh token has been
// rotated by then: whatever is valid in a response is kept, whatever is beside it. Pure. No word of
// the server reaches a reason except the error names of RFC 6749.

/** The result of a sign-in or a refresh. */
export interface IssuedTokens {
  readonly accessToken: string
  readonly refreshToken: string | undefined
  readonly lifetimeSeconds: number | undefined
  /** Undefined if the server did not name it: then it is what was requested (RFC 6749 §5.1). */
  readonly scope: string | undefined
}

/**
 * `refused`: the server refused, or its response is unusable. `ended`: what was presented is no
 * longer valid (`invalid_grant`). `unavailable`: it did not answer, or said that it cannot now.
 */
export interface TokenFailure {
  readonly ok: false
  readonly kind: 'refused' | 'ended' | 'unavailable'
  /** For the log. */
  readonly reason: string
  /** Came with an unusable access token: the presented refresh token is retired by now. */
  readonly refreshToken?: string
}

export type TokenAnswer = { readonly ok: true; readonly value: IssuedTokens } | TokenFailure

export interface TokenResponse {
  readonly status: number
  readonly contentType: string
  readonly text: string
}

/** A longer token would not fit into headers. */
const MAX_TOKEN_LENGTH = 8192
/** Refresh tokens travel in a body. */
const MAX_REFRESH_TOKEN_LENGTH = 32_768
const MAX_SCOPE_LENGTH = 4096
/** A token that claims more is refreshed once a year. */
const MAX_LIFETIME_SECONDS = 31_536_000

/** RFC 6749 §A.12, without the space that no header can carry. */
const TOKEN = /^[\x21-\x7e]+$/
/** RFC 6749 §A.4. */
const SCOPE = /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/
/**
 * Also matches `BearerToken`, which some send. Other types demand a proof that nobody here could
 * make (RFC 9449).
 */
const BEARER = /^\s*bearer/i

/** RFC 6749 §5.2; other errors a server invents are not repeated. */
const ERRORS = new Set([
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
])
/** Some send these with a 400 instead of a 503. */
const PASSING_ERRORS = new Set(['temporarily_unavailable', 'server_error', 'slow_down'])

export function failed(kind: TokenFailure['kind'], reason: string): TokenFailure {
  return { ok: false, kind, reason }
}

/** Whether the same request may succeed later: the status says nothing about the grant. */
export function isPassing(status: number): boolean {
  return status >= 500 || status === 408 || status === 425 || status === 429
}

export function readAnswer(response: TokenResponse): TokenAnswer {
  const { status } = response
  if (isPassing(status)) return failed('unavailable', `status ${status}`)
  if (status >= 200 && status < 300) return readGranted(response)
  return status >= 400 ? readRefusal(response) : failed('refused', `status ${status}`)
}

function readGranted({ contentType, text }: TokenResponse): TokenAnswer {
  const members = membersOf(text, contentType)
  const refreshToken = refreshTokenIn(members['refresh_token'])
  const wrong = (reason: string): TokenFailure => ({
    ...failed('refused', reason),
    ...(refreshToken !== undefined && { refreshToken }),
  })
  const { access_token: accessToken, token_type: type } = members
  if (typeof accessToken !== 'string' || accessToken === '') return wrong('malformed')
  if (accessToken.length > MAX_TOKEN_LENGTH || !TOKEN.test(accessToken)) return wrong('token')
  if (typeof type === 'string' && type.trim() !== '' && !BEARER.test(type)) {
    return wrong('token type')
  }
  return {
    ok: true,
    value: {
      accessToken,
      refreshToken,
      lifetimeSeconds: lifetimeIn(members['expires_in']),
      scope: scopeIn(members['scope']),
    },
  }
}

function readRefusal({ status, contentType, text }: TokenResponse): TokenFailure {
  const name = errorIn(membersOf(text, contentType))
  if (name === undefined)
    return failed('refused', status === 400 ? 'malformed' : `status ${status}`)
  if (PASSING_ERRORS.has(name)) return failed('unavailable', name)
  // Only as JSON, the form meant for it, because this ends the sign-in.
  if (name === 'invalid_grant' && /\bjson\b/i.test(contentType)) return failed('ended', name)
  return failed('refused', ERRORS.has(name) ? name : 'error')
}

/** JSON with any media type, or the form encoding that some use. */
function membersOf(text: string, contentType: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text.replace(/^\uFEFF/, ''))
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {}
  } catch {
    const isForm = /^application\/x-www-form-urlencoded\b/i.test(contentType)
    return isForm ? Object.fromEntries(new URLSearchParams(text)) : {}
  }
}

/** The error's name, or the name in an error object, as some APIs have it. */
function errorIn({ error }: Readonly<Record<string, unknown>>): string | undefined {
  const { code, type } = Object(error) as { readonly code?: unknown; readonly type?: unknown }
  const name = [error, code, type].find((each) => typeof each === 'string' && each !== '')
  return typeof name === 'string' ? name.toLowerCase() : undefined
}

function refreshTokenIn(value: unknown): string | undefined {
  if (typeof value !== 'string' || value === '') return undefined
  return value.length <= MAX_REFRESH_TOKEN_LENGTH ? value : undefined
}

/** A lifetime of 0 or less is unusable: then the API decides when the token is over. */
function lifetimeIn(value: unknown): number | undefined {
  const seconds = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  return typeof seconds === 'number' && seconds > 0
    ? Math.min(seconds, MAX_LIFETIME_SECONDS)
    : undefined
}

function scopeIn(value: unknown): string | undefined {
  const text = Array.isArray(value) ? value.join(' ') : value
  return typeof text === 'string' && text.length <= MAX_SCOPE_LENGTH && SCOPE.test(text)
    ? text
    : undefined
}
