// The only session, in the gate's SQLite file: the hash of its key, and its tokens, sealed. A write is
// on disk before it returns, and a failed write leaves what was there. The file never holds a token or
// session key that could be read without SESSION_SECRET, and a record that does not open is
// `session_invalid`, whatever was done to it (attack 41).

import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { Secret } from '../secret.ts'
import { type Decision, granted, type Refusal, refused } from '../refusal.ts'
import type { DatabaseConnection } from '../database/connection.ts'
import { checkSessionKey, hashSessionKey, newSessionKey } from './keys.ts'
import { MAX_PLAINTEXT_BYTES, type SealPlace, type Seals, seals } from './seal.ts'
import { packed, type SessionTokens, unpacked } from './sealed-tokens.ts'
import { isVersion, type SessionRow, sessionRows } from './session-row.ts'
import { SessionsUnusable, unusableFrom } from './unusable.ts'

export { SessionsUnusable } from './unusable.ts'

/**
 * Reads return refusals: `session_invalid`, or `login_unavailable` if the disk cannot be read.
 * `begin`, `replace` and `end` throw SessionsUnusable if the disk cannot be written, and leave what
 * was there; so does `current` if it cannot be read.
 */
export interface Sessions {
  /** Replaces any previous session. */
  begin(tokens: SessionTokens, nowMs: number): { readonly key: string; readonly id: string }
  /** The session of a key. Checks the signature first, and only then the disk. */
  find(key: string): Decision<{ readonly id: string }>
  read(id: string): Decision<{ readonly tokens: SessionTokens; readonly version: number }>
  /** False if `version` is not the stored one, or the stored record does not open. */
  replace(id: string, version: number, tokens: SessionTokens, nowMs: number): boolean
  /** Undefined if nobody is signed in. */
  current(): { readonly id: string } | undefined
  /** Does nothing if `id` is not the session's. Its sealed tokens are removed from the file too. */
  end(id: string): void
}

export interface SessionsOptions {
  /**
   * A connection of its own, with LOGIN_SCHEMA and LOGIN_PRAGMAS. The caller chooses its busy
   * timeout.
   */
  readonly connection: DatabaseConnection
  /** Read whenever they are needed; the first signs and seals, all verify and open. */
  readonly secrets: readonly Secret[]
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
/** The reason if there is no session at all. */
export const NOBODY = 'nobody is signed in'

/** Throws if a secret is short, and SessionsUnusable if the file cannot be used. */
export function sessions(options: SessionsOptions): Sessions {
  const rows = sessionRows(options.connection)
  let { secrets } = options
  let sealing = seals(secrets)
  let resealing = true
  /** With the current secrets; a record that the first one did not seal is sealed again. */
  const sealingNow = (): Seals => {
    if (secrets === options.secrets) return sealing
    ;({ secrets } = options)
    sealing = seals(secrets)
    resealing = true
    return sealing
  }

  const held = (found: SessionRow | null): Decision<HeldSession> => {
    const { version, id, sealed } = found ?? {}
    if (!isId(id)) return invalid(NOBODY)
    if (!isVersion(version)) return invalid('record has no version')
    if (version < rows.newestVersion) return invalid('record is older than one seen before')
    if (!(sealed instanceof Uint8Array)) return invalid('record is missing or too long')
    const opened = sealingNow().open(sealed, placeOf(id, version))
    if (!opened.ok) return invalid(opened.reason)
    const content = unpacked(opened.plaintext)
    if (!content) return invalid('record holds something else')
    if (found) rows.opened(found, version)
    return granted({ id, version, ...content, stale: opened.stale })
  }

  const sealed = (of: Omit<HeldSession, 'stale'>): Buffer => {
    const content = packed(of)
    if (content.length > MAX_PLAINTEXT_BYTES) throw new SessionsUnusable('too_large')
    return sealingNow().seal(content, placeOf(of.id, of.version))
  }

  /**
   * Seals the record again under the first secret as soon as possible: until then the older secret
   * cannot be dropped.
   */
  const resealed = (found: HeldSession): void => {
    if (!found.stale || !resealing) return
    try {
      rows.write((there, to) => {
        const now = held(there)
        if (now.ok && now.value.version === found.version) to.reseal(sealed(now.value))
      })
    } catch (error) {
      // Reading goes on without retrying the disk each time: the next refresh seals the record
      // again.
      if (!(error instanceof SessionsUnusable)) throw error
      resealing = false
    }
  }

  const reading = (): Decision<HeldSession> => {
    try {
      const found = held(rows.read())
      if (found.ok) resealed(found.value)
      return found
    } catch (error) {
      const { reason } = unusableFrom(error)
      return reason === 'corrupt' ? invalid('the file is corrupt') : unavailable(reason)
    }
  }

  return {
    begin(tokens, nowMs) {
      const key = newSessionKey(options.secrets)
      const id = randomBytes(ID_BYTES).toString('hex')
      rows.write((found, to) => {
        const version = next(rows.newestVersion, found?.version)
        const record = sealed({ id, version, tokens, keyHash: hashSessionKey(key) })
        to.begin(version, id, record, nowMs)
      })
      return { key, id }
    },

    find(key) {
      if (!checkSessionKey(options.secrets, key))
        return invalid('key has no signature of this gate')
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

    replace: (id, version, tokens, nowMs) =>
      rows.write((found, to) => {
        // Checks the stored record and not only its version: the hash of its key goes into the new
        // one.
        const before = held(found)
        if (!before.ok || before.value.id !== id || before.value.version !== version) return false
        const after = next(rows.newestVersion, version)
        to.replace(after, sealed({ ...before.value, tokens, version: after }), nowMs)
        return true
      }),

    current() {
      try {
        const id = rows.read()?.id
        return isId(id) ? { id } : undefined
      } catch (error) {
        const unusable = unusableFrom(error)
        if (unusable.reason === 'corrupt') return undefined
        throw unusable
      }
    },

    end(id) {
      const isEnded = rows.write((found, to) => {
        if (found?.id !== id) return false
        to.end(next(rows.newestVersion, found.version))
        return true
      })
      if (isEnded) rows.forgetLog()
    },
  }
}

function placeOf(id: string, version: number): SealPlace {
  return { table: 'login_session', id, purpose: 'tokens', version }
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && ID.test(value)
}

/** Higher than everything seen and stored; starts again if somebody left no higher number. */
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
