// What was withdrawn early: families and tokens that somebody revoked, and tokens that a refresh
// retired. The disk holds all of it; a request asks only memory, which is read at start and follows
// what other processes write (`postern revoke`) within a poll.

import type { Database } from 'bun:sqlite'
import { type Instant, instant } from '../turn/instant.ts'
import { describeBug, type Logger } from '../log.ts'
import type { DatabaseConnection } from '../database/connection.ts'
import { polling, versionOf } from '../database/polling.ts'
import { CLOCK_SKEW_SECONDS } from '../token/compact.ts'
import { type DeviceClaims, MAX_LIFETIME_SECONDS } from './device-token.ts'
import { clockWatch } from './clock-watch.ts'
import { partSize, revokePart } from './finish.ts'
import { pruneEnrolment } from './prune.ts'
import { insertUnlessKnown, isKnown, isThere, type RevocationRow } from './revocation-rows.ts'
import { findLeftAlone } from './unfinished.ts'
import { withdrawFamily } from './withdraw.ts'

/** `retired`: the token was refreshed, and the grace period for another refresh is over. */
export type TokenStanding = 'live' | 'revoked' | 'retired'

export interface Revocations {
  standing(of: Pick<DeviceClaims, 'jti' | 'family'>, now: Instant): TokenStanding
  /**
   * A retired token came back: revokes its family at once in this process, and on disk with the
   * next poll.
   */
  reused(family: string, now: Instant): void
  /** This process has just written; its own writes do not change `data_version`. */
  written(now: Instant): void
  /** The same for a revocation: it is in effect at once, even if the disk cannot be read now. */
  revoked(names: RevokedNames, now: Instant): void
  /**
   * One turn of the timer, of some milliseconds; the rest waits for the next. Neither this nor
   * `written` throws: failures are retried.
   */
  poll(now: Instant): void
  start(): void
  stop(): void
  readonly retired: number
  /** For the body of `/readyz`: whether the last poll could read and write. */
  readonly storage: 'ok' | 'failing'
}

export interface RevokedNames {
  readonly families: readonly string[]
  readonly tokens?: readonly string[]
}

export interface RevocationOptions {
  readonly connection: DatabaseConnection
  readonly graceSeconds: number
  /** Read whenever it is needed. */
  readonly allowanceSeconds: number
  readonly log: Logger
  /** What else is written in the background, at most four times a second. */
  readonly flush?: (db: Database) => void
  readonly pollMs?: number
}

/** Rows for one read: the event loop must not be held for longer than some milliseconds. */
const READ_ROWS = 2000
const SWEEP_MS = 60_000
const FLUSH_MS = 250
/** Rows written in one turn of the timer, after a switch to another file. */
const OWED_ROWS = 50
const BEFORE_ALL = { seq: 0, name: '' }

/** Throws if the disk cannot be read: a gate that does not know what was revoked must not start. */
export function revocations(options: RevocationOptions): Revocations {
  const { connection, graceSeconds, log, flush, pollMs } = options
  const families = new Map<string, number>()
  const tokens = new Map<string, number>()
  /**
   * When it expires, and the monotonic end of its grace period: a clock that is set back must not
   * prolong it.
   */
  const retired = new Map<string, { readonly until: number; readonly graceEndsMs: number }>()
  /** Revoked here and not yet on disk, and when. */
  const pending = new Map<string, number>()
  /** The last row that was read, its file, and that file's version then. */
  let seen: Pick<RevocationRow, 'seq' | 'name'> = BEFORE_ALL
  let seenFile: number | undefined
  let seenVersion: number | undefined
  /** What this process knows and the file that it switched to may not. */
  let owed: Iterator<(db: Database) => void> | undefined
  let owedNext: ((db: Database) => void)[] = []
  const began = instant()
  const clock = clockWatch(began, CLOCK_SKEW_SECONDS)
  let sweptAtMs = Number.NEGATIVE_INFINITY
  let flushedAtMs = Number.NEGATIVE_INFINITY
  let storage: 'ok' | 'failing' = 'ok'
  /** Whether the next turn comes soon, because this one left something. */
  let isBehind = false
  let isPruning = false
  /** Whether somebody may have begun a revocation and abandoned it. */
  let mayBeUnfinished = true
  let finishing: number | undefined
  const size = partSize()

  const apply = ({ kind, name, at, until }: RevocationRow, now: Instant): void => {
    if (kind === 'family') families.set(name, until)
    else if (kind === 'token') tokens.set(name, until)
    else if (!retired.has(name)) {
      const leftSeconds = Math.min(graceSeconds, at + graceSeconds - now.epochSeconds)
      retired.set(name, { until, graceEndsMs: now.monotonicMs + leftSeconds * 1000 })
    }
  }
  /** `all`: however long that takes, at start and after writes of our own. */
  const readNew = (db: Database, now: Instant, all: boolean): void => {
    seenVersion = undefined
    mayBeUnfinished = true
    const before = versionOf(db)
    if (connection.file !== seenFile || !isThere(db, seen)) {
      if (seenFile !== undefined) owed = known(now)
      seen = BEFORE_ALL
      seenFile = connection.file
    }
    const oldest = now.epochSeconds - CLOCK_SKEW_SECONDS
    for (;;) {
      const rows = db
        .query<RevocationRow, [number, number, number]>(
          `SELECT seq, kind, name, at, until FROM withdrawals
           WHERE seq > ?1 AND until > ?2 ORDER BY seq LIMIT ?3`,
        )
        .all(seen.seq, oldest, READ_ROWS)
      for (const row of rows) apply(row, now)
      seen = rows.at(-1) ?? seen
      if (rows.length < READ_ROWS) break
      if (all) continue
      isBehind = true
      return
    }
    seenVersion = before
  }
  /** A restored backup knows nothing of later withdrawals; after a restart it must. */
  const known = function* (now: Instant): Generator<(db: Database) => void> {
    const at = now.epochSeconds
    for (const family of families.keys()) {
      yield (db) => {
        if (!isKnown(db, 'family', family)) {
          withdrawFamily(db, family, { at, actor: 'gate', action: 'revoke' })
        }
      }
    }
    for (const [name, until] of tokens) {
      yield (db) => insertUnlessKnown(db, { kind: 'token', name, at, until })
    }
    for (const [name, { until, graceEndsMs }] of retired) {
      const retiredAt = at + (graceEndsMs - now.monotonicMs) / 1000 - graceSeconds
      yield (db) => insertUnlessKnown(db, { kind: 'retired', name, at: retiredAt, until })
    }
  }
  const writeOwed = (db: Database): void => {
    if (!owed) return
    if (owedNext.length === 0) owedNext = [...take(owed, OWED_ROWS)]
    if (owedNext.length === 0) {
      owed = undefined
      return
    }
    db.transaction(() => {
      for (const step of owedNext) step(db)
    }).immediate()
    owedNext = []
    seenVersion = undefined
    isBehind = true
  }
  const finishOthers = (db: Database, now: Instant): void => {
    if (!mayBeUnfinished) return
    if (finishing === undefined) {
      const found = findLeftAlone(db, now.epochSeconds)
      if (found === 'waits') return
      mayBeUnfinished = found !== undefined
      if (!found) return
      finishing = found.id
      log.warn('a revocation was begun and not finished; finishing it')
    }
    const part = revokePart(db, finishing, size, now.epochSeconds)
    if (part.isFinished) finishing = undefined
    seenVersion = undefined
    isBehind = true
  }
  const writePending = (db: Database): void => {
    for (const [family, at] of pending) {
      db.transaction(() =>
        withdrawFamily(db, family, { at, actor: 'gate', action: 'reuse' }),
      ).immediate()
      pending.delete(family)
      seenVersion = undefined
    }
  }
  /** A clock that jumps ahead must not delete what a correct one still needs: it may be set back. */
  const prune = (db: Database, now: Instant): boolean =>
    pruneEnrolment(db, clock.steadySeconds(now) - options.allowanceSeconds)
  /** The skew keeps expired entries expired if the clock is set back by as much; see clock-watch.ts. */
  const sweep = (db: Database, now: Instant): void => {
    if (isPruning) {
      isPruning = prune(db, now)
      isBehind ||= isPruning
      return
    }
    if (now.monotonicMs - sweptAtMs < SWEEP_MS) return
    sweptAtMs = now.monotonicMs
    const oldest = now.epochSeconds - CLOCK_SKEW_SECONDS
    for (const [name, until] of families) if (until < oldest) families.delete(name)
    for (const [name, until] of tokens) if (until < oldest) tokens.delete(name)
    for (const [name, { until }] of retired) if (until < oldest) retired.delete(name)
    isPruning = prune(db, now)
    isBehind ||= isPruning
  }
  const poll = (now: Instant, all = false): void => {
    isBehind = false
    try {
      // What it had expired was forgotten, or never read: the disk knows it.
      if (clock.wasSetBack(now)) {
        seen = BEFORE_ALL
        seenVersion = undefined
      }
      // Reads first: a full disk can still report what others have revoked.
      const db = connection.get()
      if (connection.file !== seenFile || versionOf(db) !== seenVersion) readNew(db, now, all)
      writePending(db)
      writeOwed(db)
      finishOthers(db, now)
      sweep(db, now)
      if (now.monotonicMs - flushedAtMs >= FLUSH_MS) {
        flushedAtMs = now.monotonicMs
        flush?.(db)
      }
      if (storage === 'failing') log.info('enrolment storage is back')
      storage = 'ok'
    } catch (error) {
      if (storage === 'ok') {
        log.error(describeBug(error), 'enrolment storage fails; what is known of tokens holds')
      }
      storage = 'failing'
      // A failing disk is not retried in a hurry.
      isBehind = false
    }
  }
  const written = (now: Instant): void => {
    seenVersion = undefined
    poll(now, true)
  }
  const timer = polling((now) => {
    poll(now)
    return isBehind
  }, pollMs)

  readNew(connection.get(), began, true)
  return {
    standing({ jti, family }, now) {
      if (families.has(family) || tokens.has(jti)) return 'revoked'
      const graceEndsMs = retired.get(jti)?.graceEndsMs
      if (graceEndsMs === undefined) return 'live'
      return now.monotonicMs <= graceEndsMs ? 'live' : 'retired'
    },
    reused(family, now) {
      if (families.has(family)) return
      families.set(family, now.epochSeconds + MAX_LIFETIME_SECONDS)
      pending.set(family, now.epochSeconds)
      log.warn({ family }, 'a retired device token came back; its family is revoked')
    },
    written,
    revoked({ families: ended, tokens: spent = [] }, now) {
      const until = now.epochSeconds + MAX_LIFETIME_SECONDS
      for (const family of ended) families.set(family, until)
      for (const token of spent) tokens.set(token, until)
      written(now)
    },
    poll: (now) => poll(now),
    start: timer.start,
    stop() {
      timer.stop()
      flushedAtMs = Number.NEGATIVE_INFINITY
      poll(instant())
    },
    get retired() {
      return retired.size
    },
    get storage() {
      return storage
    },
  }
}

function* take<T>(from: Iterator<T>, count: number): Generator<T> {
  for (let taken = 0; taken < count; taken++) {
    const next = from.next()
    if (next.done) return
    yield next.value
  }
}
