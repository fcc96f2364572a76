// The contract of signing in, which everything around it is written against: the pages and routes
// (accept/login/routes.ts), the upstream (upstream/anthropic/oauth.ts) and the command line. And how
// its parts make it: attempts that are pending, the authorization server, the tokens of the session.

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
  /** The authorization server's page, with the challenge and the state in it. */
  readonly authUrl: URL
  /** 64 random bytes, base64url. */
  readonly state: string
  /** For the cookie of the browser or terminal that began; nobody else can finish. */
  readonly attempt: string
  /**
   * Opens the same attempt in a browser, once: for a terminal whose person signs in elsewhere.
   * Present only if the redirect comes back to the gate itself.
   */
  readonly ticket: string | undefined
  readonly expiresInSeconds: number
}

export interface Login {
  /** Whether the redirect comes back to this gate, so that nothing is pasted. */
  readonly returnsHere: boolean
  begin(now: Instant): Decision<SignInBegun>
  /** The attempt behind a ticket, once. */
  open(ticket: string, now: Instant): Decision<Pick<SignInBegun, 'authUrl' | 'attempt'>>
  /**
   * `answer` as the authorization server gave it to the redirect (`code`, `state`, `iss`, or
   * `error`), or `code` and `state` from what was pasted. Single use, whatever comes of it.
   */
  finish(
    attempt: string | undefined,
    answer: URLSearchParams,
    now: Instant,
  ): Promise<Decision<SignedIn>>
  /** For the terminal that began: what its attempt came to, once; undefined while it is pending. */
  collect(attempt: string, now: Instant): Decision<SignedIn | undefined>
  /** Whose key this is: `session_invalid` where it is nobody's. */
  find(key: string): Decision<Session>
  /** Whether a key that `find` refuses was good until the authorization server ended its session. */
  wasEnded(refusal: Refusal): boolean
  /** How it stands by now, after a try to renew what has expired: `session_ended` where that is over. */
  standing(session: Session, now: Instant): Promise<Decision<SessionStatus>>
  /** Refreshes now, and once for all who ask at the same time. */
  renew(session: Session, now: Instant): Promise<Decision<SessionStatus>>
  /**
   * A token good for at least a moment: refreshed first where under 5 minutes are left.
   * `rejected`: the one that the API has just refused; a newer one comes back, or a refusal.
   */
  accessToken(now: Instant, rejected?: string): Promise<Decision<string>>
  /** Rejects where the disk cannot be written: then the session goes on. */
  end(session: Session): Promise<void>
  /** When no refresh is under way: a stop in between would lose the session. */
  idle(): Promise<void>
}

export interface Session {
  /** Not the key: 32 hexadecimal digits that say nothing of it. */
  readonly id: string
  readonly status: SessionStatus
}

export interface LoginOptions extends AuthorizationOptions {
  readonly returnsHere: boolean
  /** The first signs, all verify. */
  readonly secrets: readonly Secret[]
  readonly sessions: Sessions
  readonly log: Logger
  /** How long a request that has a good token waits for a newer one. */
  readonly patienceMs?: number
}

export function login(options: LoginOptions): Login {
  const { returnsHere, secrets, sessions } = options
  const server = authorization(options)
  const pending = attempts({ secrets, tickets: returnsHere })
  const tokens = heldTokens({ ...options, authorization: server })

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
      if (!(error instanceof SessionsUnusable)) throw error
      return refused('login_unavailable', { reason: error.message })
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
      // What a bug throws goes on to the caller, and nobody else waits for what will not come.
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
    end: ({ id }) => tokens.end(id),
    idle: tokens.idle,
  }
}
