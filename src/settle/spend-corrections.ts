// What an operator has corrected of a month's spending: written by `postern spend`, and followed by
// each gate on the same file, which knows of it within a poll.

import type { Database } from 'bun:sqlite'
import { deviceKey, orgKey } from '../budget/charge.ts'
import { monthOf, type SpendCaps } from '../budget/spend.ts'
import { describeBug, type Logger } from '../log.ts'

export interface Spender {
  readonly kind: 'device' | 'org'
  /** A device's hash, or an organisation's id. */
  readonly name: string
}

export interface Correction extends Spender {
  readonly seq: number
  readonly atMs: number
  readonly month: string
  /** A debit is below 0. */
  readonly creditMicroUsd: number
  readonly reason: string
  readonly actor: string
}

/** To be called in a transaction, beside its entry in the audit table. */
export function addCorrection(database: Database, added: Omit<Correction, 'seq'>): void {
  const { atMs, month, kind, name, creditMicroUsd, reason, actor } = added
  database
    .query(
      `INSERT INTO spend_correction (at_ms, month, kind, name, credit_micro_usd, reason, actor)
       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)`,
    )
    .run(Math.round(atMs), month, kind, name, creditMicroUsd, reason, actor)
}

/** Of one month, the oldest first. */
export function correctionsIn(database: Database, month: string): readonly Correction[] {
  return database.query<Correction, [string]>(`${SELECT} WHERE month = ?1 ORDER BY seq`).all(month)
}

const SELECT = `SELECT seq, at_ms AS atMs, month, kind, name, credit_micro_usd AS creditMicroUsd,
  reason, actor FROM spend_correction`

export interface CorrectionsOptions {
  readonly database: Database
  readonly caps: SpendCaps
  readonly log: Logger
  readonly pollMs?: number
}

const POLL_MS = 250
const READ_ROWS = 1000

/** Throws where the first look fails. Stop it before its database is closed. */
export function followCorrections(options: CorrectionsOptions): { stop(): void } {
  const { database, caps, log, pollMs = POLL_MS } = options
  const version = database.query<{ data_version: number }, []>('PRAGMA data_version')
  const newer = database.query<Correction, [number, string, number]>(
    `${SELECT} WHERE seq > ?1 AND month >= ?2 ORDER BY seq LIMIT ?3`,
  )
  let seen = 0
  let seenVersion: number | undefined
  let isFailing = false

  const read = (nowMs: number): void => {
    const now = version.get()?.data_version
    if (now === seenVersion) return
    seenVersion = undefined
    let rows: Correction[]
    do {
      rows = newer.all(seen, monthOf(nowMs), READ_ROWS)
      for (const { kind, name, creditMicroUsd, month } of rows) {
        caps.credit(kind === 'org' ? orgKey(name) : deviceKey(name), creditMicroUsd, month)
      }
      seen = rows.at(-1)?.seq ?? seen
    } while (rows.length === READ_ROWS)
    seenVersion = now
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
