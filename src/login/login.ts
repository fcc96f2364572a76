// The contract of signing in, for the pages and routes (accept/login/routes.ts), the upstream
// (upstream/anthropic/oauth.ts) and the command line; and its implementation from pending attempts,
// the authorization server, and the session's tokens.

import type { Secret } from '../secret.ts'
import type { Instant } from '../turn/instant.ts'
import type { Logger } from '../log.ts'
import { type Decision, granted, type Refusal, refused } from '../refusal.ts'
import { ATTEMPT_SECONDS, attempts } from './attempts.ts'
import { authorization, type AuthorizationOptions, type SignInProof } from './authorization.ts'
import type { SessionStatus, SignedIn } from './session-status.ts'
import { NOBODY, type Sessions, SessionsUnusable } from './sessions.ts'
import { heldTokens } from './tokens.ts'

export interface SignInBegun {
  /** The URL of the authorization server's page, including challenge and state. */
  readonly authUrl: URL
  /** 64 random bytes, base64url. */
  readonly state: string
  /** The cookie of the browser or terminal that began; nobody else can finish. */
  readonly attempt: string
  /**
   * Opens the same attempt in a browser, once: for a terminal whose user signs in elsewhere.
   * Present only if the redirect returns to the gate itself.
   */
  readonly ticket: string | undefined
  readonly expiresInSeconds: number
}

export interface Login {
  /** Whether the redirect returns to this gate, so that nothing is pasted. */
  readonly returnsHere: boolean
  begin(now: Instant): Decision<SignInBegun>
  /** The attempt of a ticket, once. */
  open(ticket: string, now: Instant): Decision<Pick<SignInBegun, 'authUrl' | 'attempt'>>
  /**
   * `answer`: what the authorization server gave to the redirect (`code`, `state`, `iss`, or
   * `error`), or the pasted `code` and `state`. Single use, whatever the outcome.
   */
  finish(
    attempt: string | undefined,
    answer: URLSearchParams,
    now: Instant,
  ): Promise<Decision<SignedIn>>
  /**
   * For the terminal that began: the outcome of its attempt, once; undefined while it is pending.
   */
  collect(attempt: string, now: Instant): Decision<SignedIn | undefined>
  /** The session of a key; `session_invalid` if there is none. */
  find(key: string): Decision<Session>
  /**
   * Whether a key that `find` refuses was valid until the authorization server ended its session.
   */
  wasEnded(refusal: Refusal): boolean
  /**
   * The session's current status, after an attempt to renew an expired token; `session_ended` if it
   * is over.
   */
  standing(session: Session, now: Instant): Promise<Decision<SessionStatus>>
  /** Refreshes now, once for all concurrent callers. */
  renew(session: Session, now: Instant): Promise<Decision<SessionStatus>>
  /**
   * A token that is valid for at least a moment: refreshed first if under 5 minutes are left.
   * `rejected`: the token that the API has just refused; returns a newer one, or a refusal.
   */
  accessToken(now: Instant, rejected?: string): Promise<Decision<string>>
  /** `login_unavailable` if the disk cannot be written; the session then goes on. */
  end(session: Session): Promise<Decision<undefined>>
  /** Resolves when no refresh is running: stopping during one would lose the session. */
  idle(): Promise<void>
}

export interface Session {
  /** Not the key: 32 hexadecimal digits that reveal nothing about it. */
  readonly id: string
  readonly status: SessionStatus
}

export interface LoginOptions extends AuthorizationOptions {
  readonly returnsHere: boolean
  /** Read whenever they are needed; the first signs, all verify. */
  readonly secrets: readonly Secret[]
  readonly sessions: Sessions
  readonly log: Logger
  /** How long a request with a valid token waits for a newer one. */
  readonly patienceMs?: number
}

export function login(options: LoginOptions): Login {
  const { returnsHere, sessions, log, patienceMs } = options
  const server = authorization(options)
  const pending = attempts({
    get secrets() {
      return options.secrets
    },
    tickets: returnsHere,
  })
  const tokens = heldTokens({
    authorization: server,
    sessions,
    get scope() {
      return options.scope
    },
    log,
    ...(patienceMs === undefined ? {} : { patienceMs }),
  })

  const signIn = async (
    answer: URLSearchParams,
    proof: SignInProof,
    now: Instant,
  ): Promise<Decision<SignedIn>> => {
    const issued = await server.exchange(answer, proof)
    if (!issued.ok) {
      const code = issued.kind === 'unavailable' ? 'login_unavailable' : 'login_failed'
      return refused(code, { reason: issued.reason })
    }
    try {
      return granted(await tokens.begin(issued.value, now))
    } catch (error) {
      return unavailable(error, 'the sign-in cannot be kept now')
    }
  }

  return {
    returnsHere,
    begin(now) {
      const begun = pending.begin(now)
      if (!begun.ok) return begun
      const { proof, attempt, ticket } = begun.value
      const { state } = proof
      const authUrl = server.authUrl(proof)
      return granted({ authUrl, state, attempt, ticket, expiresInSeconds: ATTEMPT_SECONDS })
    },
    open(ticket, now) {
      const opened = pending.open(ticket, now)
      if (!opened.ok) return opened
      const { proof, attempt } = opened.value
      return granted({ authUrl: server.authUrl(proof), attempt })
    },
    async finish(attempt, answer, now) {
      const taken = pending.take(attempt, now)
      if (!taken.ok) return taken
      // If a bug throws, the error reaches the caller, and nobody waits for an outcome that will
      // not come.
      let outcome: Decision<SignedIn> = refused('internal_error')
      try {
        outcome = await signIn(answer, taken.value.proof, now)
        return outcome
      } finally {
        taken.value.settle(outcome)
      }
    },
    collect: pending.collect,
    find(key) {
      const found = sessions.find(key)
      if (!found.ok) return found
      const { id } = found.value
      const status = tokens.status(id)
      return status.ok ? granted({ id, status: status.value }) : status
    },
    wasEnded: ({ reason }) => reason === NOBODY && tokens.endedByServer,
    standing: ({ id }, now) => tokens.standing(id, now),
    renew: ({ id }, now) => tokens.renew(id, now),
    accessToken: tokens.accessToken,
    async end({ id }) {
      try {
        await tokens.end(id)
        return granted(undefined)
      } catch (error) {
        return unavailable(error, 'the sign-in cannot be ended now')
      }
    },
    idle: tokens.idle,
  }
}

/** Rethrows errors that are not about the file: bugs stay bugs. */
function unavailable(error: unknown, message: string): Refusal {
  if (!(error instanceof SessionsUnusable)) throw error
  return refused('login_unavailable', { reason: error.message, message })
}
