// Complete reports from the SQLite file. They hold the event loop for as long as they take: for
// commands, and for a gate before its first request.

import type { Database } from 'bun:sqlite'
import { DAY_MS } from '../../turn/calendar.ts'
import type { ReportsAtOnce, Spent } from '../reports.ts'
import { formerNamesIn } from './former-names.ts'
import { atOnce } from './in-pieces.ts'
import { isPerson, personsSpent } from './person-days.ts'
import { usageByUser } from './usage-by-user.ts'
import { spentByEach, spentInPieces, usageBy } from './usage-report.ts'

export function sqliteReportsAtOnce(database: Database): ReportsAtOnce {
  const knows = (kind: 'device' | 'org', name: string): boolean =>
    database.query(`SELECT 1 FROM ledger_day WHERE ${kind} = ?1 LIMIT 1`).get(name) !== null
  return {
    usage: async (by, filter) => usageBy(database, by, filter),
    usageByUser: async (filter, userOf) => usageByUser(database, filter, userOf),
    spent: async (sinceMs) =>
      isAnyDay(database, sinceMs) ? atOnce(spentInPieces(database, sinceMs)) : NOTHING,
    spentBy: async (kind, filter) => spentByEach(database, kind, filter),
    spentByPersons: async (filter, identity) => personsSpent(database, filter, identity),
    formerNames: async () => formerNamesIn(database),
    callersBeginning: async (prefix) => callersBeginning(database, prefix),
    knows: async ({ kind, name }) =>
      knows(kind, name) || (kind === 'device' && isPerson(database, name)),
  }
}

const NOTHING: Spent = { device: new Map(), org: new Map(), person: new Map() }

/** The question for what was spent is long; a gate that is new or rests need not put it. */
function isAnyDay(database: Database, sinceMs: number): boolean {
  const found = database
    .query(
      `SELECT 1 FROM ledger_day WHERE day >= ?1
       UNION ALL SELECT 1 FROM ledger_person_day WHERE day >= ?1 LIMIT 1`,
    )
    .get(Math.floor(sinceMs / DAY_MS))
  return found !== null
}

/** `prefix`: hexadecimal digits. */
function callersBeginning(database: Database, prefix: string): string[] {
  return database
    .query<{ name: string }, [string]>(
      `SELECT device AS name FROM ledger_day WHERE device >= ?1 AND device < ?1 || 'g'
       UNION SELECT identity FROM ledger_person_day WHERE identity >= ?1 AND identity < ?1 || 'g'
       LIMIT 2`,
    )
    .all(prefix)
    .map(({ name }) => name)
}
