// What callers other than devices were charged, by day, so that their caps survive a restart. Devices
// and organisations are in `ledger_day`. A row is written only for a charge.

import type { Database } from 'bun:sqlite'
import { whenNeeded } from '../../database/when-needed.ts'
import type { PersonSpent, SpentSums, UsageFilter } from '../reports.ts'
import type { LedgerRow } from '../row.ts'
import type { Pieces } from './in-pieces.ts'
import { DAY_MS } from '../../turn/calendar.ts'

const personDaysWith = (...more: readonly string[]): string => `
CREATE TABLE ledger_person_day (
  day INTEGER NOT NULL,
  identity TEXT NOT NULL,
  cost_micro_usd INTEGER NOT NULL,
  estimated_cost_micro_usd INTEGER NOT NULL,
  ${more.map((column) => `${column},\n  `).join('')}PRIMARY KEY (day, identity)
) STRICT, WITHOUT ROWID;
`

export const PERSON_DAYS = personDaysWith()

/**
 * The policy and organisation of a person's last request of the day, which are recorded nowhere
 * else.
 */
const POLICIES = ["policy TEXT NOT NULL DEFAULT ''", "org TEXT NOT NULL DEFAULT ''"]

export const PERSON_POLICIES = `
${POLICIES.map((column) => `ALTER TABLE ledger_person_day ADD COLUMN ${column};`).join('\n')}
`

/** What the two above leave, for a new file. */
export const PERSON_DAYS_LATEST = personDaysWith(...POLICIES)

export interface PersonDays {
  /** For an ended row, in the transaction that writes it. */
  add(row: LedgerRow, policy: string | undefined): void
  /** Deletes up to `max` rows older than `day`, and returns how many. */
  deleteBefore(day: number, max: number): number
}

export function personDays(database: Database): PersonDays {
  const upsert = whenNeeded(() =>
    database.query<unknown, [number, string, number, number, string, string]>(
      `INSERT INTO ledger_person_day
       (day, identity, cost_micro_usd, estimated_cost_micro_usd, policy, org)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET
     cost_micro_usd = cost_micro_usd + excluded.cost_micro_usd,
     estimated_cost_micro_usd = estimated_cost_micro_usd + excluded.estimated_cost_micro_usd,
     policy = excluded.policy, org = excluded.org`,
    ),
  )
  const remove = whenNeeded(() =>
    database.query<unknown, [number, number]>(
      `DELETE FROM ledger_person_day WHERE (day, identity) IN
       (SELECT day, identity FROM ledger_person_day WHERE day < ?1 LIMIT ?2)`,
    ),
  )
  return {
    add(row, policy = '') {
      const { device, identity, cost_micro_usd: cost, estimated_cost_micro_usd: estimated } = row
      if (device !== '' || identity === '' || (!cost && !estimated)) return
      upsert().run(row.day, identity, cost ?? 0, estimated ?? 0, policy, row.org)
    },
    deleteBefore: (day, max) => remove().run(day, max).changes,
  }
}

/**
 * For each person, or for one: what they were charged in these days, and their latest policy and
 * organisation.
 */
export function personsSpent(
  database: Database,
  { sinceMs = 0, untilMs }: Pick<UsageFilter, 'sinceMs' | 'untilMs'>,
  identity?: string,
): ReadonlyMap<string, PersonSpent> {
  const until = untilMs === undefined ? Number.MAX_SAFE_INTEGER : Math.floor(untilMs / DAY_MS)
  const rows = database
    .query<PersonSpent & { identity: string }, [number, number, string | null]>(
      // The other columns are those of the row with the latest day
      // (sqlite.org/lang_select.html#bareagg).
      `SELECT max(day), identity, policy, org,
         sum(cost_micro_usd + estimated_cost_micro_usd) AS chargedMicroUsd,
         sum(estimated_cost_micro_usd) AS estimatedMicroUsd
       FROM ledger_person_day
       WHERE day >= ?1 AND day < ?2 AND (?3 IS NULL OR identity = ?3) GROUP BY identity`,
    )
    .all(Math.floor(sinceMs / DAY_MS), until, identity ?? null)
  return new Map(
    rows.map(({ identity: of, policy, org, chargedMicroUsd, estimatedMicroUsd }) => [
      of,
      { policy, org, chargedMicroUsd, estimatedMicroUsd },
    ]),
  )
}

export function isPerson(database: Database, identity: string): boolean {
  return (
    database.query('SELECT 1 FROM ledger_person_day WHERE identity = ?1 LIMIT 1').get(identity) !==
    null
  )
}

interface PersonDay extends SpentSums {
  readonly day: number
  readonly identity: string
}

export function* spentByPersons(
  database: Database,
  sinceMs: number,
): Pieces<ReadonlyMap<string, SpentSums>> {
  const spent = new Map<string, SpentSums>()
  const after = database.query<PersonDay, [number, string, number]>(
    `SELECT day, identity, cost_micro_usd + estimated_cost_micro_usd AS chargedMicroUsd,
       estimated_cost_micro_usd AS estimatedMicroUsd
     FROM ledger_person_day WHERE (day, identity) > (?1, ?2) ORDER BY day, identity LIMIT ?3`,
  )
  let from: Pick<PersonDay, 'day' | 'identity'> = {
    day: Math.floor(sinceMs / DAY_MS) - 0.5,
    identity: '',
  }
  for (;;) {
    const rows = after.all(from.day, from.identity, Math.max(1, yield))
    for (const { identity, chargedMicroUsd, estimatedMicroUsd } of rows) {
      const before = spent.get(identity)
      spent.set(identity, {
        chargedMicroUsd: chargedMicroUsd + (before?.chargedMicroUsd ?? 0),
        estimatedMicroUsd: estimatedMicroUsd + (before?.estimatedMicroUsd ?? 0),
      })
    }
    const last = rows.at(-1)
    if (!last) return spent
    from = last
  }
}
