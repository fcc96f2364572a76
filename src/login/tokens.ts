// The tokens of the session, for requests: the access token is kept in memory, and refreshed by one
// request for all who wait. A rotated refresh token is on disk before anybody gets its access token.
// Between the server's response and that write, SIGKILL costs the session: the server has retired the
// old refresh token, and nobody has the new one (attack 42). Two processes on one file can lose it as
// well if both refresh at once: nothing locks one out, and a server that detects reuse ends the
// sign-in.

import type { Instant } from '../turn/instant.ts'
import { describeBug, type Logger } from '../log.ts'
import { type Decision, granted, type Refusal, refused } from '../refusal.ts'
import type { Authorization } from './authorization.ts'
import type { IssuedTokens } from './token-answer.ts'
import { epochMs, freshness, type HeldTokenSet, heldFrom, later, statusOf } from './held.ts'
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
/** The pause between failed attempts, whoever makes them: doubled each time, up to the maximum. */
const FIRST_COOLDOWN_MS = 1000
export const MAX_COOLDOWN_MS = 30_000
/** An API that refuses each new token must not turn each request into a refresh. */
export const REJECTION_COOLDOWN_MS = 60_000

export function heldTokens(options: HeldTokensOptions): HeldTokens {
  const { authorization, sessions, log, patienceMs = PATIENCE_MS } = options
  let held: HeldTokenSet | undefined
  /** Issued, but not yet on disk: only the write is missing, and nobody may use it before. */
  let unsaved: HeldTokenSet | undefined
  let flight: { readonly id: string; readonly done: Promise<Decision<HeldTokenSet>> } | undefined
  let failures = 0
  /** Why the server refuses to renew the token, if it said so. An outage does not count. */
  let refusal: string | undefined
  let endedByServer = false
  let retryAtMs = Number.NEGATIVE_INFINITY
  /** The token that replaced a rejected one. */
  let replacement: { readonly accessToken: string; readonly atMs: number } | undefined

  const recovered = (): void => {
    if (failures > 0) log.info({ failures }, 'tokens are refreshed again')
    failures = 0
    refusal = undefined
    retryAtMs = Number.NEGATIVE_INFINITY
  }
  const read = (id: string): Decision<HeldTokenSet> => {
    const stored = sessions.read(id)
    if (!stored.ok) return stored
    if (held?.id !== id || held.version !== stored.value.version) {
      held = { id, ...stored.value, lifetimeMs: undefined }
    }
    return granted(held)
  }
  const load = (id: string): Decision<HeldTokenSet> => (held?.id === id ? granted(held) : read(id))

  const unavailable = (reason: string, leftMs: number): Refusal =>
    refused('login_unavailable', { reason, retryAfterSeconds: leftMs / 1000 })
  const failed = (reason: string, now: Instant, definitive = false): Refusal => {
    const cooldownMs = Math.min(FIRST_COOLDOWN_MS * 2 ** failures, MAX_COOLDOWN_MS)
    failures += 1
    refusal = definitive ? reason : undefined
    retryAtMs = now.monotonicMs + cooldownMs
    log.warn({ reason, failures, definitive }, 'tokens cannot be refreshed')
    return unavailable(reason, cooldownMs)
  }
  /**
   * For a caller without a usable token: if the server refuses to renew it, the session is over,
   * and only a person can go on. The record stays, because a later attempt may succeed.
   */
  const orEnded = <T>(outcome: Decision<T>): Decision<T> =>
    !outcome.ok && outcome.code === 'login_unavailable' && refusal !== undefined
      ? refused('session_ended', { reason: refusal })
      : outcome
  const ended = async (shown: HeldTokenSet): Promise<Decision<HeldTokenSet>> => {
    const newer = await whenFree(() => {
      // Another process may have presented it first, and have the next one.
      const now = read(shown.id)
      if (now.ok && now.value.version !== shown.version) return now
      sessions.end(shown.id)
      return undefined
    })
    if (newer) return newer
    if (held?.id === shown.id) held = undefined
    endedByServer = true
    log.warn({ reason: 'invalid_grant' }, 'the sign-in has ended')
    return refused('session_ended', { reason: 'invalid_grant' })
  }
  const save = async (fresh: HeldTokenSet, nowMs: number): Promise<Decision<HeldTokenSet>> => {
    const { id, version, tokens, lifetimeMs } = fresh
    const written = await whenFree(() => sessions.replace(id, version, tokens, nowMs))
    if (unsaved === fresh) unsaved = undefined
    const now = read(id)
    // Signed out, or signed in again, or another process was first: the stored record counts.
    if (!written || !now.ok) return now
    recovered()
    held = { ...now.value, lifetimeMs }
    return granted(held)
  }

  /** The access token that came with it is unusable; the previous one stays as it was. */
  const keepRotated = async (
    base: HeldTokenSet,
    refreshToken: string,
    nowMs: number,
  ): Promise<void> => {
    const { id, version, tokens } = base
    await whenFree(() => sessions.replace(id, version, { ...tokens, refreshToken }, nowMs))
    const now = read(id)
    if (now.ok) held = { ...now.value, lifetimeMs: base.lifetimeMs }
  }

  const refresh = async (seen: HeldTokenSet, now: Instant): Promise<Decision<HeldTokenSet>> => {
    const startedMs = performance.now()
    try {
      const there = read(seen.id)
      if (!there.ok) return there
      const base = there.value
      // Another process was first.
      if (base.version !== seen.version && freshness(base, now) === 'fresh') return there
      if (unsaved?.id !== base.id || unsaved.version !== base.version) {
        const { refreshToken } = base.tokens
        if (refreshToken === undefined) return unrenewable()
        const answer = await authorization.refresh(refreshToken)
        if (!answer.ok) {
          const at = later(now, startedMs)
          if (answer.kind === 'ended') return await ended(base)
          if (answer.refreshToken !== undefined) {
            await keepRotated(base, answer.refreshToken, epochMs(at))
          }
          return failed(answer.reason, at, answer.kind === 'refused')
        }
        const fresh = { ...base, ...heldFrom(answer.value, base.tokens, now) }
        // Somebody signed in anew meanwhile: an unsaved token of theirs must not be lost for one of a
        // session that is over.
        const current = read(base.id)
        if (!current.ok && current.code === 'session_invalid') return current
        unsaved = fresh
      }
      return await save(unsaved, epochMs(later(now, startedMs)))
    } catch (error) {
      if (!(error instanceof SessionsUnusable)) log.error(describeBug(error), 'refresh failed')
      const reason = error instanceof SessionsUnusable ? error.message : 'internal'
      return failed(reason, later(now, startedMs))
    }
  }
  /** Never rejects, because some callers do not wait for it. */
  const refreshOnce = (seen: HeldTokenSet, now: Instant): Promise<Decision<HeldTokenSet>> => {
    if (flight?.id === seen.id) return flight.done
    if (seen.tokens.refreshToken === undefined) return Promise.resolve(unrenewable())
    const leftMs = retryAtMs - now.monotonicMs
    if (leftMs > 0) return Promise.resolve(unavailable('waiting to try again', leftMs))
    const done = refresh(seen, now).finally(() => {
      if (flight?.done === done) flight = undefined
    })
    flight = { id: seen.id, done }
    return done
  }

  const replaceRejected = async (
    rejected: HeldTokenSet,
    now: Instant,
  ): Promise<Decision<string>> => {
    const { accessToken } = rejected.tokens
    const sinceMs = now.monotonicMs - (replacement?.atMs ?? Number.NEGATIVE_INFINITY)
    if (replacement?.accessToken === accessToken && sinceMs < REJECTION_COOLDOWN_MS) {
      return refused('upstream_auth', { reason: 'a new token was refused as well' })
    }
    const outcome = orEnded(await refreshOnce(rejected, now))
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
      held = undefined
      unsaved = undefined
      endedByServer = false
      recovered()
      const stored = read(id)
      if (stored.ok) held = { ...stored.value, lifetimeMs: fresh.lifetimeMs }
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
      const outcome = orEnded(await refreshOnce(found.value, now))
      return outcome.ok ? granted(statusOf(outcome.value.tokens)) : outcome
    },
    async standing(id, now) {
      const found = load(id)
      if (!found.ok) return found
      const status = granted(statusOf(found.value.tokens))
      if (freshness(found.value, now) !== 'expired') return status
      const outcome = await within(refreshOnce(found.value, now), patienceMs)
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
      const done = refreshOnce(found.value, now)
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
      // Somebody may have signed in while this waited for the lock.
      if (held?.id === id) held = undefined
      if (unsaved?.id === id) unsaved = undefined
      endedByServer = false
    },
    get endedByServer() {
      return endedByServer
    },
    async idle() {
      await flight?.done
    },
  }
}

function unrenewable(): Refusal {
  return refused('session_ended', { reason: 'no refresh token' })
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
