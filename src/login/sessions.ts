// The one session, in the gate's SQLite file: whose key it is and which tokens it holds, sealed.
// Everything is on the disk before a write returns, and a write that fails leaves what was there.
// The file never holds a token or a session key that could be read without SESSION_SECRET, and a
// record that does not open is `session_invalid`, whatever was done to it (attack 41).

import type { Database } from 'bun:sqlite'
import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { Secret } from '../secret.ts'
import { type Decision, granted, type Refusal, refused } from '../refusal.ts'
import type { DatabaseConnection } from '../database/connection.ts'
import { inTransaction } from '../database/database.ts'
import { checkSessionKey, hashSessionKey, newSessionKey } from './keys.ts'
import { MAX_PLAINTEXT_BYTES, OVERHEAD_BYTES, type SealPlace, seals } from './seal.ts'
import { packed, type SessionTokens, unpacked } from './sealed-tokens.ts'
import { SessionsUnusable, reported, unusableFrom } from './unusable.ts'

export { SessionsUnusable } from './unusable.ts'

/**
 * Reads give refusals: `session_invalid`, or `login_unavailable` where the disk cannot be read.
 * `begin`, `replace` and `end` throw SessionsUnusable where the disk cannot be written, and what was
 * there before is there still; so does `current` where it cannot be read.
 */
export interface Sessions {
  /** Replaces whichever there was. */
  begin(tokens: SessionTokens, nowMs: number): { readonly key: string; readonly id: string }
  /** Whose key it is: the signature first, and only then the disk. */
  find(key: string): Decision<{ readonly id: string }>
  read(id: string): Decision<{ readonly tokens: SessionTokens; readonly version: number }>
  /** False where `version` is not the one there, or the record there does not open. */
  replace(id: string, version: number, tokens: SessionTokens, nowMs: number): boolean
  /** Undefined where nobody is signed in. */
  current(): { readonly id: string } | undefined
  /** Nothing where `id` is not the session's; its sealed tokens are gone from the file, too. */
  end(id: string): void
}

export interface SessionsOptions {
  /** Of its own, with LOGIN_SCHEMA and LOGIN_PRAGMAS. Its busy timeout is the caller's choice. */
  readonly connection: DatabaseConnection
  readonly secrets: readonly Secret[]
}

interface SessionRow {
  readonly version: unknown
  readonly id: unknown
  readonly sealed: unknown
  readonly beganMs: number
  readonly writtenMs: number
}

interface HeldSession {
  readonly id: string
  readonly version: number
  readonly tokens: SessionTokens
  readonly keyHash: Buffer
  readonly stale: boolean
}

const ID_BYTES = 16
const ID = /^[0-9a-f]{32}$/
const RETRY_SECONDS = 5
/** The reason where there is no session at all. */
export const NOBODY = 'nobody is signed in'

/** Throws where a secret is short, and SessionsUnusable where the file cannot be used. */
export function sessions({ connection, secrets }: SessionsOptions): Sessions {
  const { seal, open } = seals(secrets)
  /** What this process has seen: a row put back from before it is not taken (attack 41). */
  let newestVersion = 0
  let resealing = true
  /** The newest record that this process has read or written, as it is in the file. */
  let newest: SessionRow | undefined
  let file = connection.file

  const read = (database: Database): SessionRow | null =>
    database
      .query<SessionRow, [number]>(
        `SELECT version, id, CASE WHEN length(sealed) <= ?1 THEN sealed END AS sealed,
           began_ms AS beganMs, written_ms AS writtenMs
         FROM login_session WHERE only = 1`,
      )
      .get(OVERHEAD_BYTES + MAX_PLAINTEXT_BYTES)

  /** Into a file that was put in the place of the one before, and knows no record or an older one. */
  const carryOver = (database: Database): void => {
    if (connection.file === file) return
    const there = read(database)
    const isOlder = !isVersion(there?.version) || there.version < newestVersion
    const { version, id, sealed, beganMs, writtenMs } = newest ?? {}
    if (isOlder && isVersion(version)) {
      inTransaction(database, () =>
        database
          .query<unknown, any[]>(
            `INSERT OR REPLACE INTO login_session
               (only, version, id, sealed, began_ms, written_ms) VALUES (1, ?1, ?2, ?3, ?4, ?5)`,
          )
          .run(version, id, sealed, beganMs, writtenMs),
      )
    }
    ;({ file } = connection)
  }

  const row = (): SessionRow | null => {
    const database = connection.get()
    carryOver(database)
    return read(database)
  }

  const held = (found: SessionRow | null): Decision<HeldSession> => {
    const { version, id, sealed } = found ?? {}
    if (!isId(id)) return invalid(NOBODY)
    if (!isVersion(version)) return invalid('record has no version')
    if (version < newestVersion) return invalid('record is older than one seen before')
    if (!(sealed instanceof Uint8Array)) return invalid('record is missing or too long')
    const opened = open(sealed, placeOf(id, version))
    if (!opened.ok) return invalid(opened.reason)
    const content = unpacked(opened.plaintext)
    if (!content) return invalid('record holds something else')
    newestVersion = version
    newest = found ?? undefined
    return granted({ id, version, ...content, stale: opened.stale })
  }

  const sealed = (of: Omit<HeldSession, 'stale'>): Buffer => {
    const content = packed(of)
    if (content.length > MAX_PLAINTEXT_BYTES) throw new SessionsUnusable('too_large')
    return seal(content, placeOf(of.id, of.version))
  }

  const write = <T>(work: (database: Database, found: SessionRow | null) => T): T =>
    reported(() => {
      const { result, after } = connection.write((database) => {
        carryOver(database)
        return inTransaction(database, () => {
          const result = work(database, read(database))
          return { result, after: read(database) }
        })
      })
      newest = after ?? undefined
      return result
    })

  /** Under the first secret, as soon as one can: until then the older one cannot be dropped. */
  const resealed = (found: HeldSession): void => {
    if (!found.stale || !resealing) return
    try {
      write((database, there) => {
        const now = held(there)
        if (!now.ok || now.value.version !== found.version) return
        database.query('UPDATE login_session SET sealed = ?1 WHERE only = 1').run(sealed(now.value))
      })
    } catch (error) {
      // Reading goes on, and does not wait for the disk each time: the next refresh seals anew.
      if (!(error instanceof SessionsUnusable)) throw error
      resealing = false
    }
  }

  const reading = (): Decision<HeldSession> => {
    try {
      const found = held(row())
      if (found.ok) resealed(found.value)
      return found
    } catch (error) {
      const { reason } = unusableFrom(error)
      return reason === 'corrupt' ? invalid('the file is corrupt') : unavailable(reason)
    }
  }

  return {
    begin(tokens, nowMs) {
      const key = newSessionKey(secrets)
      const id = randomBytes(ID_BYTES).toString('hex')
      newestVersion = write((database, found) => {
        const before = found?.version
        const version = next(newestVersion, before)
        const record = sealed({ id, version, tokens, keyHash: hashSessionKey(key) })
        database
          .query(
            `INSERT OR REPLACE INTO login_session
               (only, version, id, sealed, began_ms, written_ms) VALUES (1, ?1, ?2, ?3, ?4, ?4)`,
          )
          .run(version, id, record, Math.trunc(nowMs))
        return version
      })
      return { key, id }
    },

    find(key) {
      if (!checkSessionKey(secrets, key)) return invalid('key has no signature of this gate')
      const found = reading()
      if (!found.ok) return found
      const { id, keyHash } = found.value
      return timingSafeEqual(keyHash, hashSessionKey(key))
        ? granted({ id })
        : invalid('key is of another session')
    },

    read(id) {
      const found = reading()
      if (!found.ok) return found
      const { tokens, version } = found.value
      return found.value.id === id
        ? granted({ tokens, version })
        : invalid('session is not the one there')
    },

    replace(id, version, tokens, nowMs) {
      const written = write((database, found) => {
        // The record there, and not only its number: its key's hash goes on into the new one.
        const before = held(found)
        if (!before.ok || before.value.id !== id || before.value.version !== version) {
          return undefined
        }
        const after = next(newestVersion, version)
        const record = sealed({ ...before.value, tokens, version: after })
        database
          .query(
            'UPDATE login_session SET version = ?1, sealed = ?2, written_ms = ?3 WHERE only = 1',
          )
          .run(after, record, Math.trunc(nowMs))
        return after
      })
      if (written === undefined) return false
      newestVersion = written
      return true
    },

    current() {
      try {
        const id = row()?.id
        return isId(id) ? { id } : undefined
      } catch (error) {
        const unusable = unusableFrom(error)
        if (unusable.reason === 'corrupt') return undefined
        throw unusable
      }
    },

    end(id) {
      const ended = write((database, found) => {
        if (found?.id !== id) return undefined
        const version = next(newestVersion, found.version)
        database
          .query(`UPDATE login_session SET version = ?1, id = NULL, sealed = NULL WHERE only = 1`)
          .run(version)
        return version
      })
      if (ended === undefined) return
      newestVersion = ended
      forgetLog(connection)
    },
  }
}

/** What was sealed is still in the write-ahead log; nothing depends on its going. */
function forgetLog(connection: DatabaseConnection): void {
  try {
    connection.get().run('PRAGMA wal_checkpoint(TRUNCATE)')
  } catch {
    // Another process reads at this moment: the log goes with a later checkpoint.
  }
}

function placeOf(id: string, version: number): SealPlace {
  return { table: 'login_session', id, purpose: 'tokens', version }
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && ID.test(value)
}

function isVersion(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) > 0
}

/** Above all seen and all there; from the start where somebody left no room above. */
function next(newest: number, there: unknown): number {
  const version = Math.max(newest, isVersion(there) ? there : 0) + 1
  return isVersion(version) ? version : 1
}

function invalid(reason: string): Refusal {
  return refused('session_invalid', { reason })
}

function unavailable(reason: SessionsUnusable['reason']): Refusal {
  return refused('login_unavailable', {
    reason: `the session cannot be read: ${reason}`,
    message: 'the sign-in cannot be read now',
    retryAfterSeconds: RETRY_SECONDS,
  })
}
