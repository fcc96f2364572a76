// An operator's corrections of a month's spending: `postern spend` writes them, and each gate on the
// same file learns of them within a poll.

import type { Database } from 'bun:sqlite'
import { monthOf } from '../../turn/calendar.ts'
import { describeBug, type Logger } from '../../log.ts'
import type { DatabaseConnection } from '../../database/connection.ts'
import type { Correction, NewCorrection } from '../corrections.ts'

/** Call it in a transaction, together with the entry in the audit table. */
export function addCorrection(database: Database, added: NewCorrection): void {
  const { atMs, month, kind, name, creditMicroUsd, reason, actor } = added
  database
    .query(
      `INSERT INTO spend_correction (at_ms, month, kind, name, credit_micro_usd, reason, actor)
       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)`,
    )
    .run(Math.round(atMs), month, kind, name, creditMicroUsd, reason, actor)
}

/** The corrections of one month or one day, the oldest first. */
export function correctionsIn(database: Database, period: string): readonly Correction[] {
  return database.query<Correction, [string]>(`${SELECT} WHERE month = ?1 ORDER BY seq`).all(period)
}

const SELECT = `SELECT seq, at_ms AS atMs, month, kind, name, credit_micro_usd AS creditMicroUsd,
  reason, actor FROM spend_correction`

export interface CorrectionsOptions {
  readonly connection: DatabaseConnection
  /** Called once for each correction, however often it is read. */
  readonly onCorrection: (correction: Correction) => void
  readonly log: Pick<Logger, 'error'>
  readonly pollMs?: number
}

const POLL_MS = 250
const READ_ROWS = 1000

/** Throws if the first read fails. */
export function followCorrections(options: CorrectionsOptions): { stop(): void } {
  const { connection, onCorrection, log, pollMs = POLL_MS } = options
  /**
   * Corrections that count already, identified by everything except their number, which another
   * file may reuse.
   */
  const applied = new Map<string, Correction>()
  let seen: Correction | undefined
  let seenFile: number | undefined
  let seenVersion: number | undefined
  let isFailing = false

  const readFrom = (database: Database, nowMs: number): void => {
    let rows: Correction[]
    do {
      rows = database
        .query<Correction, [number, string, number]>(
          `${SELECT} WHERE seq > ?1 AND month >= ?2 ORDER BY seq LIMIT ?3`,
        )
        .all(seen?.seq ?? 0, monthOf(nowMs), READ_ROWS)
      for (const row of rows) {
        if (applied.has(identityOf(row))) continue
        onCorrection(row)
        applied.set(identityOf(row), row)
      }
      seen = rows.at(-1) ?? seen
    } while (rows.length === READ_ROWS)
  }

  const read = (nowMs: number): void => {
    const database = connection.get()
    const version = database.query<{ data_version: number }, []>('PRAGMA data_version').get()
    const isSame = connection.file === seenFile
    if (isSame && version?.data_version === seenVersion) return
    seenVersion = undefined
    const isAnother = seenFile !== undefined && !(isSame && isThere(database, seen))
    if (isAnother) seen = undefined
    readFrom(database, nowMs)
    // A restored backup knows nothing of corrections made since.
    if (isAnother) writeBack(database, applied.values(), monthOf(nowMs))
    seenFile = connection.file
    seenVersion = version?.data_version
  }

  read(Date.now())
  const timer = setInterval(() => {
    try {
      read(Date.now())
      isFailing = false
    } catch (error) {
      if (!isFailing) log.error(describeBug(error), 'corrections of spending cannot be read')
      isFailing = true
    }
  }, pollMs)
  timer.unref()
  return { stop: () => clearInterval(timer) }
}

const identityOf = (correction: Correction): string => JSON.stringify({ ...correction, seq: 0 })

/** Whether the last correction read is still where it was. */
function isThere(database: Database, seen: Correction | undefined): boolean {
  if (!seen) return true
  const found = database.query<Correction, [number]>(`${SELECT} WHERE seq = ?1`).get(seen.seq)
  return found !== null && identityOf(found) === identityOf(seen)
}

function writeBack(database: Database, known: Iterable<Correction>, month: string): void {
  const there = new Set(correctionsFrom(database, month).map(identityOf))
  const missing = [...known].filter((each) => each.month >= month && !there.has(identityOf(each)))
  if (missing.length === 0) return
  database
    .transaction(() => {
      for (const each of missing) addCorrection(database, each)
    })
    .immediate()
}

function correctionsFrom(database: Database, month: string): readonly Correction[] {
  return database.query<Correction, [string]>(`${SELECT} WHERE month >= ?1`).all(month)
}
