// The two cookies of the sign-in (RFC 6265bis): which browser began it, and which is signed in. This file
// writes and reads them; the login checks their values. A cookie that comes twice counts as none: other
// ports of this machine share our cookies and may add one.

export interface LoginCookies {
  /** The session's key, from a `Cookie` header. */
  session(cookie: string | null): string | undefined
  attempt(cookie: string | null): string | undefined
  /** For `Set-Cookie`, like all below. */
  keepSession(key: string): string
  dropSession(): string
  keepAttempt(attempt: string, maxAgeSeconds: number): string
  dropAttempt(): string
}

export interface LoginCookieOptions {
  /** Whether browsers use https. */
  readonly secure: boolean
  /**
   * Whether the redirect comes back to this gate. That is a navigation from another site, for which
   * browsers omit Strict cookies, so the attempt's must be Lax.
   */
  readonly returnsHere: boolean
}

/** Longer than any key or attempt. */
const MAX_VALUE_LENGTH = 512
/** The characters of both; RFC 6265 §4.1.1 allows them unquoted. */
const VALUE = /^[A-Za-z0-9._~-]+$/

export function loginCookies({ secure, returnsHere }: LoginCookieOptions): LoginCookies {
  // `__Host-`: browsers accept it from this host only, so no other host of the domain can set it.
  const session = secure ? '__Host-postern_session' : 'postern_session'
  const attempt = 'postern_login'
  const end = `; HttpOnly${secure ? '; Secure' : ''}`
  const sessionRest = `; Path=/; SameSite=Strict${end}`
  const attemptRest = `; Path=/auth; SameSite=${returnsHere ? 'Lax' : 'Strict'}${end}`
  return {
    session: (cookie) => valueOf(cookie, session),
    attempt: (cookie) => valueOf(cookie, attempt),
    keepSession: (key) => `${session}=${key}${sessionRest}`,
    dropSession: () => `${session}=; Max-Age=0${sessionRest}`,
    keepAttempt: (value, maxAgeSeconds) =>
      `${attempt}=${value}; Max-Age=${Math.floor(maxAgeSeconds)}${attemptRest}`,
    dropAttempt: () => `${attempt}=; Max-Age=0${attemptRest}`,
  }
}

function valueOf(cookie: string | null, name: string): string | undefined {
  const values = (cookie ?? '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1))
  const [value = ''] = values
  const sound = values.length === 1 && value.length <= MAX_VALUE_LENGTH && VALUE.test(value)
  return sound ? value : undefined
}
