// Usage by user, for commands. The daily sums know devices, and enrolment knows their users. A user
// with their own JWT has no device and appears only in the requests, which are kept for a shorter
// time. Older usage, and usage of devices without a user, counts as nobody's.

import type { Database, SQLQueryBindings } from 'bun:sqlite'
import { addToSums, type LedgerRow, type DaySums } from '../row.ts'
import { DAY_MS } from '../../turn/calendar.ts'
import { addSums, noSums, sumsOf } from '../sums.ts'
import type { UsageFilter, UsageTable } from '../reports.ts'
import { conditions, dayFilter, MAX_GROUPS, SUMMED, usageSums } from './usage-report.ts'

const NOBODY = ''

export function usageByUser(
  database: Database,
  filter: UsageFilter,
  userOf: ReadonlyMap<string, string>,
): UsageTable {
  const users = new Map<string, DaySums>()
  const sharesOf = (user: string): DaySums => {
    const found = users.get(user) ?? noSums()
    users.set(user, found)
    return found
  }
  const { where, values } = dayFilter(filter)
  const devices = database
    .query<DaySums & { readonly device: string }, SQLQueryBindings[]>(
      `SELECT device, ${SUMMED} FROM ledger_day ${where} GROUP BY device`,
    )
    .all(...values)
  for (const { device, ...shares } of devices)
    addSums(sharesOf(userOf.get(device) ?? NOBODY), shares, 1)
  for (const [user, shares] of usersWithoutDevice(database, filter)) {
    addSums(sharesOf(userOf.get(user) ?? user), shares, 1)
    addSums(sharesOf(NOBODY), shares, -1)
  }
  const rows = [...users]
    .filter(([, { requests }]) => requests > 0)
    .map(([key, shares]) => Object.assign({ key }, sumsOf(shares)))
    .toSorted((a, b) => b.costMicroUsd - a.costMicroUsd || b.requests - a.requests)
  const shown = rows.slice(0, MAX_GROUPS)
  const leftOff = rows.length - shown.length
  return { by: 'user', rows: shown, leftOff, total: usageSums(database, filter) }
}

function usersWithoutDevice(
  database: Database,
  { sinceMs, untilMs, device, org, model }: UsageFilter,
): ReadonlyMap<string, DaySums> {
  const found = new Map<string, DaySums>()
  if (device !== undefined) return found
  const { where, values } = conditions([
    ["device = '' AND end_reason IS NOT NULL AND identity <> ?", ''],
    ['opened_ms >= ?', sinceMs === undefined ? undefined : startOfDay(sinceMs)],
    ['opened_ms < ?', untilMs === undefined ? undefined : startOfDay(untilMs + DAY_MS - 1)],
    ['org = ?', org],
    ['model = ?', model],
  ])
  const rows = database
    .query<LedgerRow, SQLQueryBindings[]>(`SELECT * FROM ledger ${where}`)
    .iterate(...values)
  for (const row of rows) {
    const shares = found.get(row.identity) ?? noSums()
    found.set(row.identity, shares)
    addToSums(shares, row, 1)
  }
  return found
}

const startOfDay = (epochMs: number): number => Math.floor(epochMs / DAY_MS) * DAY_MS
