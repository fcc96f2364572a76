// Sums of the ledger: by day, model, device or organisation, and what each has spent. Filters are
// bound parameters and compare whole values; no caller's text becomes SQL or a pattern. Only the daily
// sums are read, so every answer covers whole UTC days.

import type { Database, SQLQueryBindings } from 'bun:sqlite'
import { atOnce, type Pieces } from './in-pieces.ts'
import { DAY_MS, dayOf } from '../../turn/calendar.ts'
import { SUM_COLUMNS } from '../columns.ts'
import { addSums, noSums, type SumsRow, sumsOf } from '../sums.ts'
import type {
  Spent,
  SpentSums,
  UsageFilter,
  UsageGroup,
  UsageSums,
  UsageTable,
} from '../reports.ts'
import { spentByPersons } from './person-days.ts'

/** Callers choose the names of models, and may choose many. */
export const MAX_GROUPS = 10_000

export function usageBy(
  database: Database,
  by: UsageGroup,
  filter: UsageFilter,
  limit = MAX_GROUPS,
): UsageTable {
  const { where, values } = dayFilter(filter)
  const order = by === 'day' ? 'day' : `sum(cost_micro_usd) DESC, sum(requests) DESC, ${by}`
  const groups = database
    .query<SumsRow, SQLQueryBindings[]>(
      `SELECT ${by}, ${SUMMED} FROM ledger_day ${where} GROUP BY ${by} ORDER BY ${order} LIMIT ?`,
    )
    .all(...values, Math.trunc(Math.min(Math.max(0, limit || MAX_GROUPS), MAX_GROUPS)))
  const counted = database
    .query<{ count: number }, SQLQueryBindings[]>(
      `SELECT count(DISTINCT ${by}) AS count FROM ledger_day ${where}`,
    )
    .get(...values)
  const keyOf = (row: SumsRow): string =>
    by === 'day' ? dayOf(Number(row['day']) * DAY_MS) : String(row[by])
  const rows = groups.map((row) => Object.assign({ key: keyOf(row) }, sumsOf(row)))
  const leftOff = (counted?.count ?? 0) - rows.length
  return { by, rows, leftOff, total: usageSums(database, filter) }
}

/** Over all rows at once, for a process that has nothing else to do. */
export function usageSums(database: Database, filter: UsageFilter): UsageSums {
  return atOnce(usageSumsInPieces(database, filter))
}

export function* usageSumsInPieces(database: Database, filter: UsageFilter): Pieces<UsageSums> {
  const { model, org, device } = filter
  const rest = conditions([
    ['+model = ?', model],
    ['+org = ?', device === undefined ? undefined : org],
  ])
  const sums = yield* eachRange(database, filter, (from, values) =>
    database
      .query<SumsRow, SQLQueryBindings[]>(
        `SELECT ${SUMMED} FROM ledger_day ${from} ${rest.where.replace(/^WHERE/, 'AND')}`,
      )
      .get(...values, ...rest.values),
  )
  const total = noSums()
  for (const row of sums) if (row) addSums(total, row, 1)
  return sumsOf(total)
}

type DayKey = readonly (string | number)[]

/**
 * Walks the sums that a filter of day, device and organisation finds, in the order of the index
 * that finds them, and calls `of` for a number of rows at a time. Whole keys are compared, so that
 * each piece begins where the previous one ended (sqlite.org/rowvalue.html §2.2).
 */
function* eachRange<T>(
  database: Database,
  { sinceMs, untilMs, device, org }: UsageFilter,
  of: (where: string, values: SQLQueryBindings[]) => T,
): Pieces<T[]> {
  const [fixed, key] =
    device !== undefined
      ? [{ sql: 'device = ? AND', values: [device] }, ['day', 'org', 'model']]
      : org !== undefined
        ? [{ sql: 'org = ? AND', values: [org] }, ['day', 'device', 'model']]
        : [{ sql: '', values: [] }, ['day', 'device', 'org', 'model']]
  const columns = `(${key.join(', ')})`
  const marks = `(${key.map(() => '?').join(', ')})`
  /** Sorts before every key of that day. */
  const before = (day: number): DayKey => [day - 0.5, ...key.slice(1).map(() => '')]
  const end = before(untilMs === undefined ? LAST_DAY : Math.ceil(untilMs / DAY_MS))
  const edge = database.query<Readonly<Record<string, string | number>>, SQLQueryBindings[]>(
    `SELECT ${key.join(', ')} FROM ledger_day WHERE ${fixed.sql} ${columns} > ${marks}
       AND ${columns} < ${marks} ORDER BY ${key.join(', ')} LIMIT 1 OFFSET ?`,
  )
  const found: T[] = []
  let from = before(sinceMs === undefined ? 0 : Math.floor(sinceMs / DAY_MS))
  for (;;) {
    const rows = yield
    const last = edge.get(...fixed.values, ...from, ...end, Math.max(1, rows) - 1)
    const to = last ? key.map((name) => last[name] ?? '') : end
    found.push(
      of(`WHERE ${fixed.sql} ${columns} > ${marks} AND ${columns} <= ${marks}`, [
        ...fixed.values,
        ...from,
        ...to,
      ]),
    )
    if (!last) return found
    from = to
  }
}

/** Later than any date. */
const LAST_DAY = 1e9

/** What each was charged, all at once, for a process that has nothing else to do. */
export function spentByEach(
  database: Database,
  each: 'device' | 'org',
  filter: UsageFilter,
): ReadonlyMap<string, SpentSums> {
  const { where, values } = dayFilter(filter)
  const rows = database
    .query<SpentSums & { readonly key: string }, SQLQueryBindings[]>(
      `SELECT ${each} AS key, sum(cost_micro_usd + estimated_cost_micro_usd) AS chargedMicroUsd,
         sum(estimated_cost_micro_usd) AS estimatedMicroUsd
       FROM ledger_day ${where}
       GROUP BY ${each} HAVING chargedMicroUsd > 0`,
    )
    .all(...values)
  return new Map(rows.filter(({ key }) => key !== '').map(({ key, ...sums }) => [key, sums]))
}

/** The same for everybody, for a gate. */
export function* spentInPieces(database: Database, sinceMs: number): Pieces<Spent> {
  const spent = { device: new Map<string, SpentSums>(), org: new Map<string, SpentSums>() }
  yield* eachRange(database, { sinceMs }, (where, values) => {
    const rows = database
      .query<SpentSums & { device: string; org: string }, SQLQueryBindings[]>(
        `SELECT device, org, sum(cost_micro_usd + estimated_cost_micro_usd) AS chargedMicroUsd,
           sum(estimated_cost_micro_usd) AS estimatedMicroUsd
         FROM ledger_day ${where} GROUP BY day, device, org HAVING chargedMicroUsd <> 0`,
      )
      .all(...values)
    for (const row of rows) {
      for (const each of ['device', 'org'] as const) {
        if (row[each] === '') continue
        const before = spent[each].get(row[each])
        spent[each].set(row[each], {
          chargedMicroUsd: row.chargedMicroUsd + (before?.chargedMicroUsd ?? 0),
          estimatedMicroUsd: row.estimatedMicroUsd + (before?.estimatedMicroUsd ?? 0),
        })
      }
    }
  })
  return { ...spent, person: yield* spentByPersons(database, sinceMs) }
}

type Condition = readonly [sql: string, ...values: readonly (string | number | undefined)[]]

/** Joins the conditions whose values are all given. */
export function conditions(all: readonly Condition[]): {
  where: string
  values: SQLQueryBindings[]
} {
  const given = all.filter(([, ...values]) => !values.includes(undefined))
  return {
    where: given.length === 0 ? '' : `WHERE ${given.map(([sql]) => sql).join(' AND ')}`,
    values: given.flatMap(([, ...values]) => values) as SQLQueryBindings[],
  }
}

export function dayFilter({ sinceMs, untilMs, device, org, model }: UsageFilter) {
  return conditions([
    ['day >= ?', sinceMs === undefined ? undefined : Math.floor(sinceMs / DAY_MS)],
    ['day < ?', untilMs === undefined ? undefined : Math.ceil(untilMs / DAY_MS)],
    ['device = ?', device],
    ['org = ?', org],
    ['model = ?', model],
  ])
}

export const SUMMED = SUM_COLUMNS.map((name) => `sum(${name}) AS ${name}`).join(', ')
