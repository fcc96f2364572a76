// Refreshes the tokens of the session: one request for all who wait, and a rotated refresh token is on
// disk before anybody gets its access token. Between the server's response and that write, SIGKILL costs
// the session: the server has retired the old refresh token, and nobody has the new one (attack 42). Two
// processes on one file can lose it as well if both refresh at once: nothing locks one out, and a server
// that detects reuse ends the sign-in.

import { describeBug, type Logger } from '../log.ts'
import { type Decision, granted, type Refusal, refused } from '../refusal.ts'
import type { Instant } from '../turn/instant.ts'
import type { Authorization } from './authorization.ts'
import type { Cooldown } from './cooldown.ts'
import { epochMs, freshness, heldFrom, type HeldTokenSet, later } from './held.ts'
import { type Sessions, SessionsUnusable } from './sessions.ts'
import { whenFree } from './unusable.ts'

export interface Refreshing {
  /** The tokens of a session, from memory or the file. */
  load(id: string): Decision<HeldTokenSet>
  /** One refresh for all concurrent callers. Never rejects, because some do not wait for it. */
  refresh(seen: HeldTokenSet, now: Instant): Promise<Decision<HeldTokenSet>>
  /** Somebody signed in anew: this session counts from now on. */
  begun(id: string, lifetimeMs: number | undefined): void
  /** A person ended the session. */
  forget(id: string): void
  /** Whether the authorization server ended the last session. */
  readonly endedByServer: boolean
  /** Resolves when no refresh is running. */
  idle(): Promise<void>
}

export interface RefreshingOptions {
  readonly authorization: Pick<Authorization, 'refresh'>
  readonly sessions: Sessions
  readonly cooldown: Cooldown
  readonly log: Logger
}

export function refreshing(options: RefreshingOptions): Refreshing {
  const { authorization, sessions, cooldown, log } = options
  let held: HeldTokenSet | undefined
  /** Issued, but not yet on disk: only the write is missing, and nobody may use it before. */
  let unsaved: HeldTokenSet | undefined
  let flight: { readonly id: string; readonly done: Promise<Decision<HeldTokenSet>> } | undefined
  let endedByServer = false

  const read = (id: string): Decision<HeldTokenSet> => {
    const stored = sessions.read(id)
    if (!stored.ok) return stored
    if (held?.id !== id || held.version !== stored.value.version) {
      held = { id, ...stored.value, lifetimeMs: undefined }
    }
    return granted(held)
  }
  const load = (id: string): Decision<HeldTokenSet> => (held?.id === id ? granted(held) : read(id))

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
    cooldown.recovered()
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
          return cooldown.failed(answer.reason, at, answer.kind === 'refused')
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
      return cooldown.failed(reason, later(now, startedMs))
    }
  }
  const refreshOnce = (seen: HeldTokenSet, now: Instant): Promise<Decision<HeldTokenSet>> => {
    if (flight?.id === seen.id) return flight.done
    if (seen.tokens.refreshToken === undefined) return Promise.resolve(unrenewable())
    const waiting = cooldown.waiting(now)
    if (waiting) return Promise.resolve(waiting)
    const done = refresh(seen, now).finally(() => {
      if (flight?.done === done) flight = undefined
    })
    flight = { id: seen.id, done }
    return done
  }

  return {
    load,
    refresh: refreshOnce,
    begun(id, lifetimeMs) {
      held = undefined
      unsaved = undefined
      endedByServer = false
      cooldown.recovered()
      const stored = read(id)
      if (stored.ok) held = { ...stored.value, lifetimeMs }
    },
    forget(id) {
      // Somebody may have signed in anew meanwhile.
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
