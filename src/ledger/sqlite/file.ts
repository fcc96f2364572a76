// The ledger's statements on one open database. Each call is one short transaction and passes SQLite's
// errors on. The caller decides when to call; nothing here waits for another process.

import type { Database } from 'bun:sqlite'
import { inTransaction } from '../../database/database.ts'
import { codeOf } from '../../database/trouble.ts'
import { whenNeeded } from '../../database/when-needed.ts'
import { addToSums, COLUMNS, LOST, type LedgerRow, rowOf, type DaySums } from '../row.ts'
import type { PendingEntry } from '../notices.ts'
import { deleteFormerNames } from './former-names.ts'
import { personDays } from './person-days.ts'
import { ledgerRuns, type LedgerRun } from './runs.ts'
import { DAY_MS } from '../../turn/calendar.ts'
import { SUM_COLUMNS } from '../columns.ts'

export interface LedgerFile {
  readonly database: Database
  /** Writes one batch, and marks the entries after the commit. */
  write(entries: readonly PendingEntry[], nowMs: number): WrittenBatch
  /** Tells other processes that the open rows of this one are alive. */
  beat(nowMs: number): void
  /** Closes up to `max` rows that a dead process left open, and returns how many it found. */
  closeLost(max: number, nowMs: number): number
  /**
   * Deletes up to `max` rows older than `day`; when there are none, as many sums older than
   * `sumsDay`.
   */
  deleteBefore(
    day: number,
    sumsDay: number,
    max: number,
  ): { readonly rows: number; readonly days: number }
  /** Removes every trace of this process except its rows. */
  leave(): void
}

export interface WrittenBatch {
  /**
   * How many entries were taken, from the first: a batch of many devices or models is written in
   * several parts.
   */
  readonly taken: number
  readonly unwritable: readonly Unwritable[]
}

/** A row that the database refuses because of its content, at every attempt. */
export interface Unwritable {
  readonly entry: PendingEntry
  readonly code: string
}

/** Each sum is on pages of its own: writing one takes as long as some 30 rows of one device. */
const MAX_SUMS_AT_ONCE = 50
/** Errors of the row, not of the disk: a retry would fail again. */
const UNWRITABLE = /^SQLITE_(?:CONSTRAINT|MISMATCH|TOOBIG|RANGE)/

type SumKey = Pick<LedgerRow, 'day' | 'device' | 'org' | 'model'>

const KEYS = ['day', 'device', 'org', 'model'] as const satisfies readonly (keyof SumKey)[]
/** Columns that are known only when a request has ended. */
const TAIL = COLUMNS.slice(COLUMNS.indexOf('model'))
const list = (...names: readonly string[]): string => names.join(', ')
const bound = (...names: readonly string[]): string => names.map((name) => `$${name}`).join(', ')

/** Registers this process in the file: `run` stays the same across its reconnections. */
export function ledgerFile(database: Database, run: LedgerRun, nowMs: number): LedgerFile {
  // The event loop must not wait for another writer; the batch is retried.
  database.run('PRAGMA busy_timeout = 0')
  const runs = ledgerRuns(database, run, nowMs)
  const { id } = runs
  const insert = whenNeeded(() =>
    database.query<unknown, LedgerRow>(
      `INSERT INTO ledger (${list(...COLUMNS)}) VALUES (${bound(...COLUMNS)})`,
    ),
  )
  const close = (state: string) =>
    whenNeeded(() =>
      database.query<unknown, LedgerRow & { readonly id: number }>(
        `UPDATE ledger SET ${TAIL.map((name) => `${name} = $${name}`).join(', ')}
         WHERE id = $id AND run = $run AND request_id = $request_id AND end_reason ${state}`,
      ),
    )
  const closeOpen = close('IS NULL')
  const closeFound = close("= 'lost'")
  const giveUp = whenNeeded(() =>
    database.query<unknown, [number]>(
      "UPDATE ledger SET end_reason = 'lost', succeeded = 0 WHERE id = ? AND end_reason IS NULL",
    ),
  )
  const add = whenNeeded(() =>
    database.query<unknown, Sum>(
      `INSERT INTO ledger_day (${list(...KEYS, ...SUM_COLUMNS)})
       VALUES (${bound(...KEYS, ...SUM_COLUMNS)}) ON CONFLICT DO UPDATE SET
       ${SUM_COLUMNS.map((name) => `${name} = ${name} + excluded.${name}`).join(', ')}`,
    ),
  )
  const openRowsOf = whenNeeded(() =>
    database.query<SumKey & { readonly id: number }, [number, number]>(
      `SELECT id, ${list(...KEYS)} FROM ledger WHERE end_reason IS NULL AND run = ? LIMIT ?`,
    ),
  )
  const deleteRows = whenNeeded(() =>
    database.query(
      `DELETE FROM ledger WHERE id IN (SELECT id FROM ledger
         WHERE opened_ms < ? AND end_reason IS NOT NULL ORDER BY opened_ms LIMIT ?)`,
    ),
  )
  const deleteDays = whenNeeded(() =>
    database.query(
      `DELETE FROM ledger_day WHERE (day, device, org, model) IN
         (SELECT day, device, org, model FROM ledger_day WHERE day < ? LIMIT ?)`,
    ),
  )

  const persons = personDays(database)

  const writeSums = (sums: readonly Sum[]): void => {
    for (const sum of sums) add().run(sum)
  }
  const addEnded = (row: LedgerRow, policy: string | undefined, sums: Sum[]): void => {
    addToSums(sumFor(row, sums), row, 1)
    persons.add(row, policy)
  }
  /** Returns the row's id, and adds to `sums` what the row counts. */
  const writeOne = ({ opening, outcome, row: written }: PendingEntry, sums: Sum[]): number => {
    const row = rowOf(id, opening, outcome)
    if (written?.file === run.file) {
      const found = { ...row, id: written.id }
      if (closeOpen().run(found).changes > 0) {
        addEnded(row, opening.policy, sums)
        return written.id
      }
      // Another process took this one for dead and marked the row as lost.
      if (closeFound().run(found).changes > 0) {
        const { day, model } = rowOf(id, opening, undefined)
        addToSums(sumFor({ ...row, day, model }, sums), LOST, -1)
        addEnded(row, opening.policy, sums)
        return written.id
      }
      // The row was deleted meanwhile and its id may be reused: write it again.
    }
    const { lastInsertRowid } = insert().run(row)
    if (outcome) addEnded(row, opening.policy, sums)
    return Number(lastInsertRowid)
  }

  return {
    database,
    beat: runs.beat,
    write(entries, now) {
      const begun: (readonly [PendingEntry, number])[] = []
      const unwritable: Unwritable[] = []
      let taken = 0
      inTransaction(database, () => {
        runs.beat(now)
        const sums: Sum[] = []
        for (const entry of entries) {
          if (sums.length >= MAX_SUMS_AT_ONCE) break
          taken += 1
          try {
            const rowId = writeOne(entry, sums)
            if (!entry.outcome) begun.push([entry, rowId])
          } catch (error) {
            const code = codeOf(error)
            if (!UNWRITABLE.test(code) || !database.inTransaction) throw error
            unwritable.push({ entry, code })
          }
        }
        writeSums(sums)
      })
      for (const [entry, rowId] of begun) entry.row = { file: run.file, id: rowId }
      return { taken, unwritable }
    },
    closeLost(max, now) {
      const dead = runs.dead(now)
      if (dead === undefined) {
        runs.forget(now - DAY_MS)
        return 0
      }
      return inTransaction(database, () => {
        const rows = openRowsOf().all(dead, max)
        const sums: Sum[] = []
        for (const row of rows) {
          giveUp().run(row.id)
          addToSums(sumFor(row, sums), LOST, 1)
        }
        writeSums(sums)
        return rows.length
      })
    },
    deleteBefore(day, sumsDay, max) {
      const rows = deleteRows().run(day * DAY_MS, max).changes
      if (rows > 0) return { rows, days: 0 }
      const days = deleteDays().run(sumsDay, max).changes
      const others = days || persons.deleteBefore(sumsDay, max)
      return { rows, days: others || deleteFormerNames(database, sumsDay, max) }
    },
    leave: runs.leave,
  }
}

type Sum = SumKey & DaySums

const ZEROS = Object.fromEntries(SUM_COLUMNS.map((name) => [name, 0])) as DaySums

/** Most rows of a batch share day, device and model, so each sum is written once. There are few. */
function sumFor({ day, device, org, model }: SumKey, sums: Sum[]): Sum {
  for (const sum of sums) {
    const same = sum.model === model && sum.device === device && sum.org === org && sum.day === day
    if (same) return sum
  }
  const sum = { day, device, org, model, ...ZEROS }
  sums.push(sum)
  return sum
}
