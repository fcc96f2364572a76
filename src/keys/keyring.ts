// The keys that a running gate accepts, in memory: read at start, and updated when other processes
// (`postern key`) change them. A request never touches the disk. Whatever the disk does, a key known
// to be revoked stays revoked; a key that is not in the file belongs to nobody.

import type { Database } from 'bun:sqlite'
import type { DatabaseConnection } from '../database/connection.ts'
import { polling, versionOf } from '../database/polling.ts'
import { describeBug, type Logger } from '../log.ts'
import { type Instant, instant } from '../turn/instant.ts'
import { digestOf } from './format.ts'
import { pruneKeys } from './prune.ts'
import { MAX_KEYS } from './records.ts'
import { KEY_COLUMNS, type KeyRow, type KnownKey, standingOf } from './row.ts'
import { seenKeys } from './seen.ts'
import { endAgain } from './store.ts'

export interface Keyring {
  /** Undefined if the key belongs to nobody. `standingOf` says whether it is valid. */
  find(key: string): KnownKey | undefined
  /** Notes that a request used the key. */
  seen(key: KnownKey, now: Instant): void
  /** One turn of the timer. Never throws: failures are retried. True if something is left. */
  poll(now: Instant): boolean
  start(): void
  stop(): void
  /** The names of the policies that valid keys name. */
  policies(now: Instant): readonly string[]
  readonly size: number
  readonly storage: 'ok' | 'failing'
}

export interface KeyringOptions {
  readonly connection: DatabaseConnection
  readonly log: Logger
  readonly pollMs?: number
  readonly maxKeys?: number
}

/**
 * Rows for one turn of the timer: the event loop must not be held for longer than some
 * milliseconds.
 */
const READ_ROWS = 500
/** Rows written in one turn of the timer, after a switch to another file. */
const OWED_ROWS = 50
const PRUNE_MS = 3_600_000
/** Includes as many ended keys, so that their callers are told why. */
const MAX_REMEMBERED = 2 * MAX_KEYS
const BEFORE_ALL = { changed: 0, digest: '' }

/** Throws if the disk cannot be read: a gate that does not know what was revoked must not start. */
export function keyring(options: KeyringOptions): Keyring {
  const { connection, log, pollMs, maxKeys = MAX_REMEMBERED } = options
  let known = new Map<string, KnownKey>()
  /** What was read from another file; until it is complete, the previous keys count. */
  let next: Map<string, KnownKey> | undefined
  /** Keys that are known to have ended here, and not in that file. */
  let owed: KeyRow[] = []
  /** The last row that was read, its file, and that file's version then. */
  let last: Pick<KeyRow, 'changed' | 'digest'> = BEFORE_ALL
  let lastFile: number | undefined
  let lastVersion: number | undefined
  let prunedAtMs = Number.NEGATIVE_INFINITY
  let isFull = false
  let storage: 'ok' | 'failing' = 'ok'
  const seen = seenKeys()

  const apply = (row: KeyRow, now: Instant): void => {
    const to = next ?? known
    const had = known.get(row.digest)
    const ends = had ? endsOf(row, had.row) : row
    if (ends.revokedAt !== row.revokedAt || ends.overlapEndsAt !== row.overlapEndsAt) {
      owed.push({ ...row, ...ends })
    }
    if (!to.has(row.digest) && to.size >= maxKeys) forgetEnded(to, now.epochSeconds)
    if (!to.has(row.digest) && to.size >= maxKeys) {
      if (!isFull) log.error({ keys: maxKeys }, 'too many keys; those beyond are refused')
      isFull = true
      return
    }
    to.set(row.digest, { row: { ...row, ...ends }, seenMinute: had?.seenMinute ?? 0 })
  }
  /** `all`: however long that takes, at start. True if something is left. */
  const readNew = (db: Database, now: Instant, all: boolean): boolean => {
    const before = versionOf(db)
    lastVersion = undefined
    if (connection.file !== lastFile || !isThere(db, last)) {
      next = new Map()
      owed = []
      isFull = false
      last = BEFORE_ALL
      lastFile = connection.file
    }
    for (;;) {
      const rows = db
        .query<KeyRow, [number, number]>(
          `SELECT ${KEY_COLUMNS} FROM api_keys WHERE changed > ?1 ORDER BY changed LIMIT ?2`,
        )
        .all(last.changed, READ_ROWS)
      for (const row of rows) apply(row, now)
      last = rows.at(-1) ?? last
      if (rows.length < READ_ROWS) break
      if (!all) return true
    }
    known = next ?? known
    next = undefined
    lastVersion = before
    return false
  }
  /** A restored backup knows nothing of later revocations; after a restart it must. */
  const writeOwed = (db: Database, now: Instant): void => {
    if (owed.length === 0) return
    endAgain(db, owed.slice(0, OWED_ROWS), now.epochSeconds)
    owed = owed.slice(OWED_ROWS)
    lastVersion = undefined
  }
  /** True where something is left. */
  const turn = (now: Instant): boolean => {
    let isBehind = false
    try {
      const db = connection.get()
      if (connection.file !== lastFile || versionOf(db) !== lastVersion) {
        isBehind = readNew(db, now, false)
      }
      if (!isBehind) writeOwed(db, now)
      isBehind ||= owed.length > 0
      seen.flush(db, now)
      if (now.monotonicMs - prunedAtMs >= PRUNE_MS) {
        if (pruneKeys(db, now.epochSeconds)) isBehind = true
        else prunedAtMs = now.monotonicMs
      }
      if (storage === 'failing') log.info('the storage of keys is back')
      storage = 'ok'
      return isBehind
    } catch (error) {
      if (storage === 'ok') {
        log.error(describeBug(error), 'the storage of keys fails; what is known of them holds')
      }
      storage = 'failing'
      return false
    }
  }
  const timer = polling(turn, pollMs)

  readNew(connection.get(), instant(), true)
  return {
    find: (key) => known.get(digestOf(key)),
    seen: (key, now) => seen.note(key, now.epochSeconds),
    poll: turn,
    start: timer.start,
    stop() {
      timer.stop()
      seen.hurry()
      turn(instant())
    },
    policies({ epochSeconds }) {
      const names = [...known.values()].flatMap(({ row }) =>
        row.policy !== null && standingOf(row, epochSeconds) === 'good' ? [row.policy] : [],
      )
      return [...new Set(names)]
    },
    get size() {
      return known.size
    },
    get storage() {
      return storage
    },
  }
}

/** An ended key stays ended, whatever another file says. */
function endsOf(row: KeyRow, had: KeyRow): Pick<KeyRow, 'revokedAt' | 'overlapEndsAt'> {
  return {
    revokedAt: row.revokedAt ?? had.revokedAt,
    overlapEndsAt: earlier(row.overlapEndsAt, had.overlapEndsAt),
  }
}

const earlier = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? (a ?? b) : Math.min(a, b)

function forgetEnded(known: Map<string, KnownKey>, nowSeconds: number): void {
  for (const [digest, { row }] of known) {
    if (standingOf(row, nowSeconds) !== 'good') known.delete(digest)
  }
}

/**
 * Whether the last row that was read is still where it was. It is not if a backup was restored into
 * the file itself (`.restore`): numbers are then reused.
 */
function isThere(db: Database, { changed, digest }: Pick<KeyRow, 'changed' | 'digest'>): boolean {
  if (changed === 0) return true
  const found = db
    .query<{ changed: number }, [string]>(
      'SELECT changed FROM api_keys WHERE key_sha256 = ?1 LIMIT 1',
    )
    .get(digest)
  // A higher number is a later change of the same row.
  return found !== null && found.changed >= changed
}
