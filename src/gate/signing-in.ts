// Assembles one person's sign-in: the session and its tokens, the browser's cookies, the upstream that
// the token is for, and the admission to it.

import { LOGIN_PATHS } from '../accept/login/paths.ts'
import type { LoginParts } from '../accept/login/parts.ts'
import { type LoginRoutes, loginRoutes } from '../accept/login/routes.ts'
import { loginCookies } from '../accept/login/cookies.ts'
import { asksFromElsewhere, knownHost, saysWhoAsks } from '../accept/login/guard.ts'
import type { PolicyOf } from '../policy/select.ts'
import { type AdmitSession, sessionAdmission, sessionIdentity } from '../admit/session.ts'
import type { Identify } from '../token/identity.ts'
import { isLoopback } from '../hosts.ts'
import type { Settings } from '../config/read.ts'
import { login } from '../login/login.ts'
import { LOGIN_PRAGMAS } from '../login/schema.ts'
import { seals } from '../login/seal.ts'
import { areSameSecrets } from '../secret.ts'
import { type Sessions, sessions, SessionsUnusable } from '../login/sessions.ts'
import type { Logger } from '../log.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { Prepare } from './remade.ts'
import { type LoginSource, loginAt } from './sources.ts'
import type { DatabaseFollower } from '../database/follow.ts'
import type { Ask } from '../http1/ask.ts'
import type { Upstream } from '../upstream/upstream.ts'

type Credential = NonNullable<Upstream['credential']>

export interface SigningIn {
  /** Also makes admission use the new policies. */
  readonly prepare: Prepare
  /** The page and its routes. */
  routes(common: Pick<LoginParts, 'answers' | 'countAddress' | 'bodyTimeoutMs'>): LoginRoutes
  /** The URL at which programs and browsers reach this gate. */
  readonly publicUrl: () => URL
  readonly apiBaseUrl: URL
  readonly accessToken: Credential
  readonly admitSession: AdmitSession
  /** Resolves when pending writes are on the disk. */
  close(): Promise<void>
}

export interface SigningInOptions {
  readonly ask: Ask
  readonly settings: Settings
  readonly from: LoginSource
  readonly file: DatabaseFollower
  readonly identify: Identify
  readonly former: () => readonly Identify[]
  readonly policyOf: PolicyOf
  readonly log: Logger
  readonly listeningAt: () => URL
}

export function signingIn(options: SigningInOptions): SigningIn {
  const { ask, settings, from, file, identify, former, log, listeningAt } = options
  const redirectUri = new URL(from.redirectUri)
  const returnsHere = isOurs(redirectUri, settings)
  const connection = file.connect({ busyTimeoutMs: 20, pragmas: LOGIN_PRAGMAS })
  // Both are read whenever they are needed; a reload changes them.
  const sealing = { connection, secrets: from.secrets }
  const session = sessions(sealing)
  const parts = { ...from, ask, returnsHere, sessions: session, log }
  const signIn = login(parts)
  const publicUrl = (): URL => settings.proxyBaseUrl ?? listeningAt()
  const known = (): URL[] => (returnsHere ? [publicUrl(), redirectUri] : [publicUrl()])
  /** Somebody may have signed in or out while a body was read or a token was refreshed. */
  const accessToken: Credential = async (identity, now, rejected) => {
    const token = await signIn.accessToken(now, rejected)
    if (!token.ok) return token
    const there = currentOf(session)
    if (!there.ok) return there
    const { value } = there
    // A former key counts too, because the request may have been admitted before a reload.
    const same =
      value !== undefined &&
      [identify, ...former()].some((by) => sessionIdentity(by, value.id) === identity)
    return same ? token : refused('session_invalid', { reason: 'the session was replaced' })
  }
  let policy = options.policyOf({ kind: 'session' })
  const cookies = loginCookies({ secure: publicUrl().protocol === 'https:', returnsHere })
  return {
    routes: (common) => loginRoutes({ ...common, login: signIn, cookies, publicUrl, redirectUri }),
    publicUrl,
    apiBaseUrl: from.apiBaseUrl,
    accessToken,
    admitSession: sessionAdmission({
      get policy() {
        return policy
      },
      find: signIn.find,
      cookie: (headers) => cookies.session(headers.get('cookie')),
      ownPage: (headers, method) =>
        knownHost(headers.get('host'), known()).ok &&
        (method === 'GET' || saysWhoAsks(headers)) &&
        !asksFromElsewhere(headers, known()),
      identify,
      former,
    }),
    prepare({ settings: next }) {
      const { scope, clientSecret, clientAuth, ...source } = loginAt(next).login ?? parts
      const secrets = areSameSecrets(parts.secrets, source.secrets) ? parts.secrets : source.secrets
      // Throws if one of them cannot seal.
      seals(secrets)
      return () => {
        sealing.secrets = secrets
        Object.assign(parts, { secrets, scope, clientSecret, clientAuth })
        policy = options.policyOf({ kind: 'session' })
      }
    },
    close: () => signIn.idle(),
  }
}

/** Whether the redirect comes back to this gate, so that nothing is pasted. */
function isOurs(redirectUri: URL, { port, proxyBaseUrl }: Settings): boolean {
  if (redirectUri.pathname !== LOGIN_PATHS.callback) return false
  if (proxyBaseUrl?.origin === redirectUri.origin) return true
  const { protocol, hostname } = redirectUri
  return protocol === 'http:' && isLoopback(hostname) && Number(redirectUri.port || 80) === port
}

function currentOf(session: Sessions): Decision<{ readonly id: string } | undefined> {
  try {
    return granted(session.current())
  } catch (error) {
    if (!(error instanceof SessionsUnusable)) throw error
    return refused('login_unavailable', { reason: error.message })
  }
}
