// Former names in the SQLite file: each leads to the name of now, over any number of rotations.

import type { Database } from 'bun:sqlite'
import type { DatabaseConnection } from '../../database/connection.ts'
import { inTransaction } from '../../database/database.ts'
import { codeOf } from '../../database/trouble.ts'
import type { Logger } from '../../log.ts'
import { DAY_MS } from '../../turn/calendar.ts'
import type { FormerNames } from '../former-names.ts'

export const FORMER_NAMES = `
CREATE TABLE ledger_former_name (
  former TEXT NOT NULL PRIMARY KEY,
  identity TEXT NOT NULL,
  -- The last day on which the person was seen while the former key was set.
  day INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_former_name_by_identity ON ledger_former_name (identity);
`

const WRITE_EVERY_MS = 1000
/** Each takes some 10 µs. */
const MAX_AT_ONCE = 200
/** About 500 bytes each. What finds no room comes again with the person's next token. */
const MAX_WAITING = 10_000
const MAX_REMEMBERED = 20_000

export interface FormerNamesOptions {
  readonly log: Pick<Logger, 'error'>
  readonly everyMs?: number
}

export function sqliteFormerNames(
  connection: DatabaseConnection,
  { log, everyMs = WRITE_EVERY_MS }: FormerNamesOptions,
): FormerNames {
  const waiting = new Map<string, readonly string[]>()
  /** Who was noted today: people come with a new token every few minutes. */
  let noted = new Set<string>()
  let notedDay = 0
  let timer: ReturnType<typeof setTimeout> | undefined
  let isFailing = false

  /** False if the database cannot be written now. */
  const write = (): boolean => {
    const part = [...waiting].slice(0, MAX_AT_ONCE)
    try {
      connection.write((database) => writeFormerNames(database, part, today()))
      for (const [identity] of part) waiting.delete(identity)
      isFailing = false
      return true
    } catch (error) {
      if (!isFailing) log.error({ code: codeOf(error) }, 'former names cannot be written')
      isFailing = true
      return false
    }
  }
  const schedule = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined
      write()
      if (waiting.size > 0) schedule()
    }, everyMs).unref()
  }

  return {
    note(identity, former) {
      const day = today()
      if (day !== notedDay || noted.size >= MAX_REMEMBERED) noted = new Set()
      notedDay = day
      // The beginnings tell former keys apart.
      const note = [identity, ...former.map((name) => name.slice(0, 8))].join(' ')
      if (noted.has(note) || waiting.size >= MAX_WAITING) return
      noted.add(note)
      waiting.set(identity, former)
      schedule()
    },
    async stop() {
      clearTimeout(timer)
      while (waiting.size > 0 && write());
    },
  }
}

const today = (): number => Math.floor(Date.now() / DAY_MS)

/** For commands and tests too: in one transaction. */
export function writeFormerNames(
  database: Database,
  pairs: Iterable<readonly [identity: string, former: readonly string[]]>,
  day: number,
): void {
  const put = database.query<undefined, [string, string, number]>(
    `INSERT INTO ledger_former_name (former, identity, day) VALUES (?1, ?2, ?3)
     ON CONFLICT DO UPDATE SET identity = excluded.identity, day = excluded.day`,
  )
  const lead = database.query<undefined, [string, string, number]>(
    'UPDATE ledger_former_name SET identity = ?2, day = ?3 WHERE identity = ?1',
  )
  // A key that is put back makes a former name the name of now.
  const forget = database.query<undefined, [string]>(
    'DELETE FROM ledger_former_name WHERE former = ?1',
  )
  inTransaction(database, () => {
    for (const [identity, former] of pairs) {
      for (const name of former) {
        put.run(name, identity, day)
        lead.run(name, identity, day)
      }
      forget.run(identity)
    }
  })
}

export function formerNamesIn(database: Database): ReadonlyMap<string, string> {
  const rows = database
    .query<{ former: string; identity: string }, []>(
      'SELECT former, identity FROM ledger_former_name',
    )
    .all()
  return new Map(rows.map(({ former, identity }) => [former, identity]))
}

/** Deletes up to `max` of people who were last seen so before `day`: nothing is left under them. */
export const deleteFormerNames = (database: Database, day: number, max: number): number =>
  database
    .query(
      `DELETE FROM ledger_former_name WHERE former IN
         (SELECT former FROM ledger_former_name WHERE day < ?1 LIMIT ?2)`,
    )
    .run(day, max).changes
