// A new file gets at once what an old one has by all its migrations: the same tables, to the letter.

import { Database } from 'bun:sqlite'
import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TABLES } from '../../src/gate/migrations.ts'
import { openDatabase } from '../../src/database/database.ts'

const { migrations, latest } = TABLES

/** Every table, index and trigger as SQLite keeps it, but for comments and blanks. */
const schemaOf = (database: Database): readonly string[] =>
  database
    .query<{ name: string; sql: string | null }, []>('SELECT name, sql FROM sqlite_schema')
    .all()
    .map(({ name, sql }) => {
      const bare = (sql ?? '').replaceAll(/--.*$/gm, '').replaceAll(/\s+/g, '')
      return `${name}: ${bare}`
    })
    .toSorted()

function migrated(): Database {
  const opened = openDatabase(':memory:', migrations)
  if (!opened.ok) throw new Error(opened.reason)
  return opened.database
}

test('a new file has the tables, columns, checks and indexes of one that was migrated', () => {
  const opened = openDatabase(':memory:', migrations, { latest })
  if (!opened.ok) throw new Error(opened.reason)
  const { database } = opened
  expect(schemaOf(database)).toEqual(schemaOf(migrated()))
  expect(database.query('PRAGMA user_version').get()).toEqual({ user_version: migrations.length })
  expect(opened.isNew).toBe(true)
})

test('a new file takes the migrations that came after', () => {
  const later = 'CREATE TABLE later (x INTEGER) STRICT'
  const opened = openDatabase(':memory:', [...migrations, later], { latest })
  if (!opened.ok) throw new Error(opened.reason)
  expect(schemaOf(opened.database)).toContain('later: CREATETABLElater(xINTEGER)STRICT')
})

test('a file of an earlier version keeps its content and is migrated', () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-latest-'))
  const file = join(folder, 'postern.db')
  try {
    const before = openDatabase(file, migrations.slice(0, 1), { latest: undefined })
    if (!before.ok) throw new Error(before.reason)
    before.database.run(
      "INSERT INTO ledger_run (token, host, pid, seen_ms) VALUES ('kept', 'host', 1, 1)",
    )
    before.database.close()
    const opened = openDatabase(file, migrations, { latest })
    if (!opened.ok) throw new Error(opened.reason)
    const { database } = opened
    expect(opened.isNew).toBeUndefined()
    expect(schemaOf(database)).toEqual(schemaOf(migrated()))
    expect(database.query('SELECT token FROM ledger_run').get()).toEqual({ token: 'kept' })
    database.close()
  } finally {
    rmSync(folder, { recursive: true })
  }
})
