// Which processes write to a ledger, and which of them are dead, by the table `ledger_run`. It closes
// no row of a dead process, and waits for nobody.

import type { Database } from 'bun:sqlite'
import { hostname } from 'node:os'
import { isRunning } from '../../database/running.ts'

export interface LedgerRun {
  /** Unique to this process. */
  readonly token: string
  /** Incremented when the file turns out to be another one. */
  file: number
  id: number | undefined
}

export interface LedgerRuns {
  /** The id of this process in this file. */
  readonly id: number
  /** Tells other processes that the open rows of this one are alive. */
  beat(nowMs: number): void
  /** A dead process that left open rows, by its id. */
  dead(nowMs: number): number | undefined
  /** Deletes processes last seen before then that left nothing open. */
  forget(beforeMs: number): void
  leave(): void
}

/** A process that is silent for this long is taken for dead; its rows recover if it was not. */
const DEAD_AFTER_MS = 20_000
/** A batch need not repeat what another has just said. */
const BEAT_EVERY_MS = 1000
const HOST = hostname()

/** Registers this process in the file. */
export function ledgerRuns(database: Database, run: LedgerRun, nowMs: number): LedgerRuns {
  const id = enter(database, run, nowMs)
  const seen = database.query(
    `INSERT INTO ledger_run (id, token, host, pid, seen_ms) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET seen_ms = excluded.seen_ms`,
  )
  const withOpenRows = database.query<OpenRun, [number]>(
    `SELECT open.run, token, host, pid, seen_ms FROM
       (SELECT DISTINCT run FROM ledger WHERE end_reason IS NULL AND run <> ?) AS open
     LEFT JOIN ledger_run ON ledger_run.id = open.run`,
  )
  const forgotten = database.query(
    `DELETE FROM ledger_run WHERE seen_ms < ? AND id <> ?
     AND NOT EXISTS (SELECT 1 FROM ledger WHERE end_reason IS NULL AND run = ledger_run.id)`,
  )
  let beatMs = -Infinity

  return {
    id,
    beat(now) {
      if (Math.abs(now - beatMs) < BEAT_EVERY_MS) return
      seen.run(id, run.token, HOST, process.pid, now)
      beatMs = now
    },
    dead: (now) => withOpenRows.all(id).find((other) => isDead(other, now))?.run,
    forget(beforeMs) {
      forgotten.run(beforeMs, id)
    },
    leave() {
      living.delete(run.token)
      database.query('DELETE FROM ledger_run WHERE id = ?').run(id)
    },
  }
}

interface OpenRun {
  readonly run: number
  /** Null if the process left in order. */
  readonly token: string | null
  readonly host: string | null
  readonly pid: number | null
  readonly seen_ms: number | null
}

/** Ledgers of this process. Its pid alone could also be that of an earlier process. */
const living = new Set<string>()

/**
 * A quick guess is enough, because a wrong one recovers: a living process that was taken for dead
 * still closes its rows. In a container, the previous process often had our pid.
 */
function isDead({ token, host, pid, seen_ms: seenMs }: OpenRun, nowMs: number): boolean {
  if (token === null || pid === null || seenMs === null) return true
  if (living.has(token)) return false
  if (nowMs - seenMs > DEAD_AFTER_MS) return true
  return host === HOST && (pid === process.pid || !isRunning(pid))
}

/** The id of this process in the file; the same as before if it was registered. */
function enter(database: Database, run: LedgerRun, nowMs: number): number {
  const mine = database.query<{ id: number }, [string]>('SELECT id FROM ledger_run WHERE token = ?')
  living.add(run.token)
  const before = mine.get(run.token)?.id
  if (before !== undefined && before === run.id) return before
  const entered = database
    .query('INSERT INTO ledger_run (token, host, pid, seen_ms) VALUES (?, ?, ?, ?)')
    .run(run.token, HOST, process.pid, nowMs)
  run.file += 1
  run.id = Number(entered.lastInsertRowid)
  return run.id
}
