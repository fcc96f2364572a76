// The ledger's statements on one open database: each call is one short transaction, and throws
// what SQLite throws. It decides nothing about when, and never waits for another process.

import type { Database } from 'bun:sqlite'
import { hostname } from 'node:os'
import { codeOf, inTransaction } from '../state/database.ts'
import { addShares, COLUMNS, LOST, type Row, rowOf, type Shares } from './ledger-row.ts'
import type { Slip } from './ledger-notices.ts'
import { DAY_MS, SUM_COLUMNS } from './ledger-schema.ts'

export interface LedgerFile {
  readonly database: Database
  /** One batch. What it wrote is marked on the slips, after the commit. */
  write(slips: readonly Slip[], nowMs: number): Written
  /** Tells other processes that the open rows of this one are alive. */
  beat(nowMs: number): void
  /** Closes up to `max` rows that a dead process left open; how many it found. */
  closeLost(max: number, nowMs: number): number
  /** Up to `max` rows of before `day`; when there are none, as many sums of before `sumsDay`. */
  deleteBefore(
    day: number,
    sumsDay: number,
    max: number,
  ): { readonly rows: number; readonly days: number }
  /** Leaves no trace of this process but its rows. */
  leave(): void
}

export interface Written {
  /** Of the slips, from the first: those of many devices or models take more than one batch. */
  readonly taken: number
  readonly unwritable: readonly Unwritable[]
}

/** A row that the database refuses for what it holds, whatever is tried. */
export interface Unwritable {
  readonly slip: Slip
  readonly code: string
}

export interface Run {
  /** Unique to this process. */
  readonly token: string
  /** Counts up where the file turns out to be another one than before. */
  file: number
  id: number | undefined
}

/** Silent for that long, a process is taken for dead; its rows heal if it was not. */
export const DEAD_AFTER_MS = 20_000
/** A batch need not say again what another has just said. */
const BEAT_EVERY_MS = 1000
/** Each lies on pages of its own: it holds the event loop for as long as some 30 rows of one do. */
const MAX_SUMS_AT_ONCE = 50
const HOST = hostname()
/** Of a row, never of the disk: what is tried again with these fails again. */
const UNWRITABLE = /^SQLITE_(?:CONSTRAINT|MISMATCH|TOOBIG|RANGE)/

type Key = Pick<Row, 'day' | 'device' | 'org' | 'model'>

const KEYS = ['day', 'device', 'org', 'model'] as const satisfies readonly (keyof Key)[]
/** What is known only when a request has ended. */
const TAIL = COLUMNS.slice(COLUMNS.indexOf('model'))
const list = (...names: readonly string[]): string => names.join(', ')
const bound = (...names: readonly string[]): string => names.map((name) => `$${name}`).join(', ')

/** Takes its place in the file: `run` is the same across reconnections of one process. */
export function ledgerFile(database: Database, run: Run, nowMs: number): LedgerFile {
  // The event loop never waits for another writer; the batch just comes again.
  database.run('PRAGMA busy_timeout = 0')
  const id = enter(database, run, nowMs)
  const beat = database.query(
    `INSERT INTO ledger_run (id, token, host, pid, seen_ms) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET seen_ms = excluded.seen_ms`,
  )
  const insert = database.query<unknown, Row>(
    `INSERT INTO ledger (${list(...COLUMNS)}) VALUES (${bound(...COLUMNS)})`,
  )
  const close = (state: string) =>
    database.query<unknown, Row & { readonly id: number }>(
      `UPDATE ledger SET ${TAIL.map((name) => `${name} = $${name}`).join(', ')}
       WHERE id = $id AND run = $run AND request_id = $request_id AND end_reason ${state}`,
    )
  const closeOpen = close('IS NULL')
  const closeFound = close("= 'lost'")
  const giveUp = database.query<unknown, [number]>(
    "UPDATE ledger SET end_reason = 'lost', succeeded = 0 WHERE id = ? AND end_reason IS NULL",
  )
  const add = database.query<unknown, Sum>(
    `INSERT INTO ledger_day (${list(...KEYS, ...SUM_COLUMNS)})
     VALUES (${bound(...KEYS, ...SUM_COLUMNS)}) ON CONFLICT DO UPDATE SET
     ${SUM_COLUMNS.map((name) => `${name} = ${name} + excluded.${name}`).join(', ')}`,
  )
  const runsWithOpenRows = database.query<OpenRun, [number]>(
    `SELECT open.run, token, host, pid, seen_ms FROM
       (SELECT DISTINCT run FROM ledger WHERE end_reason IS NULL AND run <> ?) AS open
     LEFT JOIN ledger_run ON ledger_run.id = open.run`,
  )
  const openRowsOf = database.query<Key & { readonly id: number }, [number, number]>(
    `SELECT id, ${list(...KEYS)} FROM ledger WHERE end_reason IS NULL AND run = ? LIMIT ?`,
  )
  const forgetRuns = database.query(
    `DELETE FROM ledger_run WHERE seen_ms < ? AND id <> ?
     AND NOT EXISTS (SELECT 1 FROM ledger WHERE end_reason IS NULL AND run = ledger_run.id)`,
  )
  const deleteRows = database.query(
    `DELETE FROM ledger WHERE id IN (SELECT id FROM ledger
       WHERE opened_ms < ? AND end_reason IS NOT NULL ORDER BY opened_ms LIMIT ?)`,
  )
  const deleteDays = database.query(
    `DELETE FROM ledger_day WHERE (day, device, org, model) IN
       (SELECT day, device, org, model FROM ledger_day WHERE day < ? LIMIT ?)`,
  )

  let beatMs = -Infinity
  const alive = (now: number): void => {
    if (Math.abs(now - beatMs) < BEAT_EVERY_MS) return
    beat.run(id, run.token, HOST, process.pid, now)
    beatMs = now
  }
  const writeSums = (sums: readonly Sum[]): void => {
    for (const sum of sums) add.run(sum)
  }
  /** The row's id, and in `sums` what it adds to them. */
  const writeOne = ({ opening, outcome, row: written }: Slip, sums: Sum[]): number => {
    const row = rowOf(id, opening, outcome)
    if (written?.file === run.file) {
      const found = { ...row, id: written.id }
      if (closeOpen.run(found).changes > 0) {
        addShares(sumFor(row, sums), row, 1)
        return written.id
      }
      // Given up for lost by another process, which took this one for dead.
      if (closeFound.run(found).changes > 0) {
        addShares(sumFor({ ...row, model: rowOf(id, opening, undefined).model }, sums), LOST, -1)
        addShares(sumFor(row, sums), row, 1)
        return written.id
      }
      // Deleted meanwhile, and another may have its number: it is written anew.
    }
    const { lastInsertRowid } = insert.run(row)
    if (outcome) addShares(sumFor(row, sums), row, 1)
    return Number(lastInsertRowid)
  }

  return {
    database,
    beat: alive,
    write(slips, now) {
      const begun: (readonly [Slip, number])[] = []
      const unwritable: Unwritable[] = []
      let taken = 0
      inTransaction(database, () => {
        alive(now)
        const sums: Sum[] = []
        for (const slip of slips) {
          if (sums.length >= MAX_SUMS_AT_ONCE) break
          taken += 1
          try {
            const rowId = writeOne(slip, sums)
            if (!slip.outcome) begun.push([slip, rowId])
          } catch (error) {
            const code = codeOf(error)
            if (!UNWRITABLE.test(code) || !database.inTransaction) throw error
            unwritable.push({ slip, code })
          }
        }
        writeSums(sums)
      })
      for (const [slip, rowId] of begun) slip.row = { file: run.file, id: rowId }
      return { taken, unwritable }
    },
    closeLost(max, now) {
      const dead = runsWithOpenRows.all(id).find((other) => isDead(other, now))
      if (!dead) {
        forgetRuns.run(now - DAY_MS, id)
        return 0
      }
      return inTransaction(database, () => {
        const rows = openRowsOf.all(dead.run, max)
        const sums: Sum[] = []
        for (const row of rows) {
          giveUp.run(row.id)
          addShares(sumFor(row, sums), LOST, 1)
        }
        writeSums(sums)
        return rows.length
      })
    },
    deleteBefore(day, sumsDay, max) {
      const rows = deleteRows.run(day * DAY_MS, max).changes
      return { rows, days: rows > 0 ? 0 : deleteDays.run(sumsDay, max).changes }
    },
    leave() {
      living.delete(run.token)
      database.query('DELETE FROM ledger_run WHERE id = ?').run(id)
    },
  }
}

type Sum = Key & Shares

const ZEROS = Object.fromEntries(SUM_COLUMNS.map((name) => [name, 0])) as Shares

/**
 * Rows of a batch mostly share their day, device and model: their sums are written once. Found by
 * going through them, since they are few.
 */
function sumFor({ day, device, org, model }: Key, sums: Sum[]): Sum {
  for (const sum of sums) {
    const same = sum.model === model && sum.device === device && sum.org === org && sum.day === day
    if (same) return sum
  }
  const sum = { day, device, org, model, ...ZEROS }
  sums.push(sum)
  return sum
}

interface OpenRun {
  readonly run: number
  /** Null where the process said goodbye. */
  readonly token: string | null
  readonly host: string | null
  readonly pid: number | null
  readonly seen_ms: number | null
}

/** Ledgers of this very process, which its number alone would not tell from one before it. */
const living = new Set<string>()

/**
 * May be quick, since a wrong guess heals: a living process that is taken for dead closes its rows
 * nevertheless. In a container, the number of the process before is often ours.
 */
function isDead({ token, host, pid, seen_ms: seenMs }: OpenRun, nowMs: number): boolean {
  if (token === null || pid === null || seenMs === null) return true
  if (living.has(token)) return false
  if (nowMs - seenMs > DEAD_AFTER_MS) return true
  return host === HOST && (pid === process.pid || !isRunning(pid))
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return codeOf(error) !== 'ESRCH'
  }
}

/** The number under which this process is known in the file, the same as before if it was here. */
function enter(database: Database, run: Run, nowMs: number): number {
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
