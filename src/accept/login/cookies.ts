// The two cookies of signing in (RFC 6265bis): which browser began, and which is signed in. They are
// made and read here; whether what they hold is worth anything is the login's to say. One name that
// comes twice counts as none: another port of this machine shares our cookies and may add to them.

export interface LoginCookies {
  /** The session's key, from a `Cookie` header. */
  session(cookie: string | null): string | undefined
  attempt(cookie: string | null): string | undefined
  /** For `Set-Cookie`, as are all below. */
  keepSession(key: string): string
  dropSession(): string
  keepAttempt(attempt: string, maxAgeSeconds: number): string
  dropAttempt(): string
}

export interface LoginCookieOptions {
  /** Whether browsers come by https. */
  readonly secure: boolean
  /**
   * Whether the redirect comes back to this gate: it is a navigation from another site, on which
   * browsers leave out what is Strict, so that the attempt has to be Lax.
   */
  readonly returnsHere: boolean
}

/** More than a key or an attempt has; a longer one is nobody's. */
const MAX_VALUE_LENGTH = 512
/** What both consist of, and no more: RFC 6265 §4.1.1 allows all of it unquoted. */
const VALUE = /^[A-Za-z0-9._~-]+$/

export function loginCookies({ secure, returnsHere }: LoginCookieOptions): LoginCookies {
  // `__Host-`: browsers take it from this very host alone, so that no neighbour can set it.
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
