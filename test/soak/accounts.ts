// The three accounts of every request, held against each other while it is still known: the
// client's, the upstream's, the ledger's. What has been judged is forgotten; sums stay.

import { Database } from 'bun:sqlite'
import type { Counted } from '../faults/counting-upstream.ts'
import { type Circumstances, judge, type Outcome, type Row } from '../faults/judge.ts'

/** `refused`: asked so that it must be, and never goes upstream. */
export type Finished =
  | {
      readonly kind: 'asked'
      readonly outcome: Outcome
      readonly circumstances: Circumstances
      readonly atMs: number
    }
  | { readonly kind: 'refused'; readonly id: string; readonly atMs: number }

export interface Sums {
  requests: number
  input: number
  output: number
  cacheRead: number
  cacheCreation: number
}

export interface Accounts {
  finish(finished: Finished): void
  /** Judges what can be judged by now. */
  review(nowMs: number): void
  readonly waiting: number
  readonly problems: readonly string[]
  readonly problemCount: number
  /** `ledger end` → how many. */
  readonly ends: ReadonlyMap<string, number>
  /** Of rows with exact usage, and the upstream's own count of the same requests. */
  readonly exact: Readonly<Sums>
  readonly exactUpstream: Readonly<Sums>
  /** Of rows whose stream broke: what was seen, and what the upstream counted. */
  readonly partial: Readonly<Sums>
  readonly partialUpstream: Readonly<Sums>
  /** Asked of the upstream, with no usage seen by anybody. */
  readonly unseen: number
  /** Rows against the sums of their days, once all are closed. */
  sumsOfDays(): { readonly rows: Sums; readonly days: Sums }
  close(): void
}

interface StoredRow extends Row {
  readonly id: number
}

/** A row is written a quarter of a second after its request; a busy disk may take longer. */
const PATIENCE_MS = 20_000
const SETTLED_MS = 2000
const MAX_PROBLEMS = 50

const nothing = (): Sums => ({ requests: 0, input: 0, output: 0, cacheRead: 0, cacheCreation: 0 })

export function accounts(file: string, counted: Map<string, Counted>): Accounts {
  const database = new Database(file, { readonly: true })
  database.run('PRAGMA busy_timeout = 2000')
  const newer = database.query<StoredRow, [number]>('SELECT * FROM ledger WHERE id > ? ORDER BY id')
  const byId = database.query<StoredRow, [number]>('SELECT * FROM ledger WHERE id = ?')
  const rows = new Map<string, StoredRow>()
  const finished = new Map<string, Finished>()
  const ends = new Map<string, number>()
  const problems: string[] = []
  const [exact, exactUpstream, partial, partialUpstream] = [
    nothing(),
    nothing(),
    nothing(),
    nothing(),
  ]
  let problemCount = 0
  let unseen = 0
  let cursor = 0

  const complain = (text: string): void => {
    problemCount += 1
    if (problems.length < MAX_PROBLEMS) problems.push(text)
  }
  const readRows = (): void => {
    for (const [requestId, row] of rows) {
      if (row.end_reason !== null) continue
      const now = byId.get(row.id)
      if (now) rows.set(requestId, now)
    }
    for (const row of newer.all(cursor)) {
      if (rows.has(row.request_id)) complain(`${row.request_id}: two rows`)
      rows.set(row.request_id, row)
      cursor = row.id
    }
  }
  const addUsage = (row: Row | undefined, by: Counted | undefined): void => {
    if (!by) return
    const into = { exact, partial }[row?.usage ?? '']
    if (!row || !into) {
      unseen += 1
      return
    }
    const other = row.usage === 'exact' ? exactUpstream : partialUpstream
    add(into, {
      input: row.input_tokens ?? 0,
      output: row.output_tokens ?? 0,
      cacheRead: row.cache_read_tokens ?? 0,
      cacheCreation: row.cache_creation_tokens ?? 0,
    })
    add(other, by.used)
  }
  const reviewOne = (id: string, each: Finished, nowMs: number): boolean => {
    const row = rows.get(id)
    const by = counted.get(id)
    const age = nowMs - each.atMs
    if (each.kind === 'refused') {
      if (age < SETTLED_MS) return false
      if (row) complain(`${id}: was to be refused, and has a row: ${JSON.stringify(row)}`)
      if (by) complain(`${id}: was to be refused, and went upstream`)
      count(ends, 'refused before a row')
      return true
    }
    const isComing = by !== undefined || each.outcome.status !== 0
    if (age < SETTLED_MS || ((!row || row.end_reason === null) && isComing && age < PATIENCE_MS)) {
      // Those that no row will ever be written of are the few refused by a circumstance.
      return false
    }
    for (const problem of judge(each.outcome, by, row, each.circumstances)) {
      complain(
        `${problem} (${JSON.stringify({ status: each.outcome.status, row, circumstances: each.circumstances })})`,
      )
    }
    addUsage(row, by)
    count(ends, row ? `${row.end_reason ?? 'open'}` : 'no row')
    return true
  }

  return {
    finish(each) {
      finished.set(each.kind === 'asked' ? each.outcome.asking.id : each.id, each)
    },
    review(nowMs) {
      readRows()
      for (const [id, each] of finished) {
        if (!reviewOne(id, each, nowMs)) continue
        finished.delete(id)
        rows.delete(id)
        counted.delete(id)
      }
    },
    get waiting() {
      return finished.size
    },
    problems,
    get problemCount() {
      return problemCount
    },
    ends,
    exact,
    exactUpstream,
    partial,
    partialUpstream,
    get unseen() {
      return unseen
    },
    sumsOfDays() {
      const columns = `coalesce(sum(input_tokens), 0) AS input,
        coalesce(sum(output_tokens), 0) AS output,
        coalesce(sum(cache_read_tokens), 0) AS cacheRead,
        coalesce(sum(cache_creation_tokens), 0) AS cacheCreation`
      const one = (sql: string): Sums => database.query<Sums, []>(sql).get() ?? nothing()
      return {
        rows: one(`SELECT count(*) AS requests, ${columns} FROM ledger`),
        days: one(`SELECT coalesce(sum(requests), 0) AS requests, ${columns} FROM ledger_day`),
      }
    },
    close: () => database.close(),
  }
}

function add(to: Sums, more: Omit<Sums, 'requests'>): void {
  to.requests += 1
  to.input += more.input
  to.output += more.output
  to.cacheRead += more.cacheRead
  to.cacheCreation += more.cacheCreation
}

function count(in_: Map<string, number>, name: string): void {
  in_.set(name, (in_.get(name) ?? 0) + 1)
}
