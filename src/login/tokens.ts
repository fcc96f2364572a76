// The tokens of the session, for requests: the access token is kept in memory, and refreshed when it is due
// (refreshing.ts).

import type { Instant } from '../turn/instant.ts'
import type { Logger } from '../log.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { Authorization } from './authorization.ts'
import { cooldown } from './cooldown.ts'
import type { IssuedTokens } from './token-answer.ts'
import { epochMs, freshness, type HeldTokenSet, heldFrom, later, statusOf } from './held.ts'
import { refreshing } from './refreshing.ts'
import type { SessionStatus } from './session-status.ts'
import { type Sessions, SessionsUnusable } from './sessions.ts'
import { whenFree } from './unusable.ts'

export interface HeldTokens {
  /** Rejects with SessionsUnusable where it cannot be written. */
  begin(
    issued: IssuedTokens,
    now: Instant,
  ): Promise<{ readonly key: string; readonly status: SessionStatus }>
  status(id: string): Decision<SessionStatus>
  /**
   * The same, after an attempt to renew an expired token: only then is it known whether the session
   * lives.
   */
  standing(id: string, now: Instant): Promise<Decision<SessionStatus>>
  renew(id: string, now: Instant): Promise<Decision<SessionStatus>>
  accessToken(now: Instant, rejected?: string): Promise<Decision<string>>
  /** Rejects with SessionsUnusable where it cannot be written. */
  end(id: string): Promise<void>
  /** Whether the authorization server ended the last session. */
  readonly endedByServer: boolean
  /** Resolves when no refresh is running. */
  idle(): Promise<void>
}

export interface HeldTokensOptions {
  readonly authorization: Pick<Authorization, 'refresh'>
  readonly sessions: Sessions
  /** The requested scope, read when needed; granted if the server names none (RFC 6749 §5.1). */
  readonly scope: string
  readonly log: Logger
  readonly patienceMs?: number
}

/** A server that hangs must not hold up requests that have a valid token. */
const PATIENCE_MS = 2000
/** An API that refuses each new token must not turn each request into a refresh. */
export const REJECTION_COOLDOWN_MS = 60_000

export function heldTokens(options: HeldTokensOptions): HeldTokens {
  const { authorization, sessions, log, patienceMs = PATIENCE_MS } = options
  const pause = cooldown(log)
  const { orEnded } = pause
  const renewing = refreshing({ authorization, sessions, cooldown: pause, log })
  const { load, refresh } = renewing
  /** The token that replaced a rejected one. */
  let replacement: { readonly accessToken: string; readonly atMs: number } | undefined

  const replaceRejected = async (
    rejected: HeldTokenSet,
    now: Instant,
  ): Promise<Decision<string>> => {
    const { accessToken } = rejected.tokens
    const sinceMs = now.monotonicMs - (replacement?.atMs ?? Number.NEGATIVE_INFINITY)
    if (replacement?.accessToken === accessToken && sinceMs < REJECTION_COOLDOWN_MS) {
      return refused('upstream_auth', { reason: 'a new token was refused as well' })
    }
    const outcome = orEnded(await refresh(rejected, now))
    if (!outcome.ok) return outcome
    const next = outcome.value.tokens.accessToken
    replacement = { accessToken: next, atMs: now.monotonicMs }
    return next === accessToken
      ? refused('upstream_auth', { reason: 'the refresh gave the same token' })
      : granted(next)
  }

  return {
    async begin(issued, now) {
      const fresh = heldFrom(
        issued,
        { refreshToken: undefined, scope: options.scope || undefined },
        now,
      )
      const { key, id } = await whenFree(() => sessions.begin(fresh.tokens, epochMs(now)))
      renewing.begun(id, fresh.lifetimeMs)
      return { key, status: statusOf(fresh.tokens) }
    },
    status(id) {
      const found = load(id)
      return found.ok ? granted(statusOf(found.value.tokens)) : found
    },
    async renew(id, now) {
      const found = load(id)
      if (!found.ok) return found
      const { tokens } = found.value
      // There is nothing to renew it with, and it is still valid.
      if (tokens.refreshToken === undefined && freshness(found.value, now) !== 'expired') {
        return granted(statusOf(tokens))
      }
      const outcome = orEnded(await refresh(found.value, now))
      return outcome.ok ? granted(statusOf(outcome.value.tokens)) : outcome
    },
    async standing(id, now) {
      const found = load(id)
      if (!found.ok) return found
      const status = granted(statusOf(found.value.tokens))
      if (freshness(found.value, now) !== 'expired') return status
      const outcome = await within(refresh(found.value, now), patienceMs)
      if (!outcome) return status
      const known = orEnded(outcome)
      if (known.ok) return granted(statusOf(known.value.tokens))
      return known.code === 'login_unavailable' ? status : known
    },
    async accessToken(now, rejected) {
      const startedMs = performance.now()
      const found = present(sessions, load)
      if (!found.ok) return found
      const { accessToken, refreshToken } = found.value.tokens
      if (accessToken === rejected) return replaceRejected(found.value, now)
      const state = freshness(found.value, now)
      if (state === 'fresh') return granted(accessToken)
      if (state === 'due' && refreshToken === undefined) return granted(accessToken)
      const done = refresh(found.value, now)
      if (state === 'due') {
        const outcome = await within(done, patienceMs)
        const waited =
          outcome === undefined || (!outcome.ok && outcome.code === 'login_unavailable')
        const good = freshness(found.value, later(now, startedMs)) !== 'expired'
        if (waited && good) return granted(accessToken)
      }
      const outcome = orEnded(await done)
      return outcome.ok ? granted(outcome.value.tokens.accessToken) : outcome
    },
    async end(id) {
      await whenFree(() => sessions.end(id))
      renewing.forget(id)
    },
    get endedByServer() {
      return renewing.endedByServer
    },
    idle: renewing.idle,
  }
}

function present(
  sessions: Sessions,
  load: (id: string) => Decision<HeldTokenSet>,
): Decision<HeldTokenSet> {
  try {
    const current = sessions.current()
    return current ? load(current.id) : refused('session_ended', { reason: 'nobody is signed in' })
  } catch (error) {
    if (!(error instanceof SessionsUnusable)) throw error
    return refused('login_unavailable', { reason: error.message })
  }
}

async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  const { promise: over, resolve } = Promise.withResolvers<undefined>()
  const timer = setTimeout(resolve, ms)
  const first = await Promise.race([promise, over])
  clearTimeout(timer)
  return first
}
