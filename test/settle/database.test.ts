import { afterEach, beforeEach, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { chmodSync, existsSync, statSync, writeFileSync } from 'node:fs'
import { LEDGER_SCHEMA } from '../../src/ledger/sqlite/schema.ts'
import { inTransaction, openDatabase } from '../../src/database/database.ts'
import { folder, opened } from './ledger-parts.ts'

const FIRST = 'CREATE TABLE one (x INTEGER) STRICT; INSERT INTO one VALUES (1)'
const SECOND = 'CREATE TABLE two (y TEXT) STRICT'

let file: string
let remove: () => void
beforeEach(() => {
  const made = folder()
  file = `${made.path}/postern.db`
  remove = made.remove
})
afterEach(() => remove())

const tables = (database: Database): string[] =>
  database
    .query<{ name: string }, []>('SELECT name FROM sqlite_schema ORDER BY name')
    .all()
    .map(({ name }) => name)

test('each schema is applied once, in order, however often the file is opened', () => {
  opened(openDatabase(file, [FIRST])).close()
  opened(openDatabase(file, [FIRST, SECOND])).close()
  const database = opened(openDatabase(file, [FIRST, SECOND]))
  expect(tables(database)).toEqual(['one', 'two'])
  expect(database.query('SELECT count(*) AS count FROM one').get()).toEqual({ count: 1 })
  expect(database.query('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' })
  expect(database.query('PRAGMA synchronous').get()).toEqual({ synchronous: 1 })
  expect(database.query('PRAGMA busy_timeout').get()).toEqual({ timeout: 1000 })
  database.close()
})

test('a schema that fails leaves nothing of itself behind', () => {
  const broken = 'CREATE TABLE half (x INTEGER) STRICT; CREATE TABEL oops (y)'
  expect(openDatabase(file, [FIRST, broken])).toMatchObject({ ok: false, reason: 'failed' })
  const database = opened(openDatabase(file, [FIRST]))
  expect(tables(database)).toEqual(['one'])
  database.close()
})

test('work that throws is undone, and the next transaction begins afresh', () => {
  const database = opened(openDatabase(file, [FIRST]))
  const count = () => database.query('SELECT count(*) AS count FROM one').get()
  const failing = (): void => {
    database.run('INSERT INTO one VALUES (2)')
    throw new Error('half-way')
  }
  expect(() => inTransaction(database, failing)).toThrow('half-way')
  expect(count()).toEqual({ count: 1 })
  expect(inTransaction(database, () => database.run('INSERT INTO one VALUES (3)').changes)).toBe(1)
  expect(count()).toEqual({ count: 2 })
  database.close()
})

test('a file of a later version is left alone', () => {
  opened(openDatabase(file, [FIRST, SECOND])).close()
  expect(openDatabase(file, [FIRST])).toMatchObject({ ok: false, reason: 'newer_schema' })
  expect(openDatabase(file, [FIRST], { mode: 'read' })).toMatchObject({ reason: 'newer_schema' })
})

test("another program's file is left alone", () => {
  const theirs = new Database(file)
  theirs.run('CREATE TABLE theirs (x)')
  theirs.close()
  const before = Bun.file(file).size
  expect(openDatabase(file, [FIRST])).toMatchObject({ ok: false, reason: 'foreign_file' })
  expect(Bun.file(file).size).toBe(before)
  writeFileSync(file, 'no database at all, but long enough to be one'.repeat(100))
  expect(openDatabase(file, [FIRST])).toMatchObject({ ok: false, reason: 'corrupt' })
})

test('a reader makes no file, brings nothing up to date and writes nothing', () => {
  expect(openDatabase(file, [FIRST], { mode: 'read' })).toMatchObject({ reason: 'missing' })
  expect(existsSync(file)).toBe(false)
  opened(openDatabase(file, [FIRST])).close()
  expect(openDatabase(file, [FIRST, SECOND], { mode: 'read' })).toMatchObject({
    reason: 'older_schema',
  })
  const database = opened(openDatabase(file, [FIRST], { mode: 'read' }))
  expect(() => database.run('INSERT INTO one VALUES (2)')).toThrow()
  database.close()
})

test('a file that others could read is closed to them', () => {
  opened(openDatabase(file, [FIRST])).close()
  chmodSync(file, 0o644)
  opened(openDatabase(file, [FIRST])).close()
  expect(statSync(file).mode & 0o777).toBe(0o600)
})

test('a failure quotes no path', () => {
  opened(openDatabase(file, [FIRST])).close()
  const beneath = openDatabase(`${file}/beneath`, [FIRST])
  expect(beneath).toMatchObject({ ok: false })
  expect(JSON.stringify(beneath)).not.toContain('postern')
})

test('several processes that open a new file at once all find it made', async () => {
  const script = `
    import { inTransaction, openDatabase } from ${JSON.stringify(`${import.meta.dir}/../../src/database/database.ts`)}
    import { LEDGER_SCHEMA } from ${JSON.stringify(`${import.meta.dir}/../../src/ledger/sqlite/schema.ts`)}
    const result = openDatabase(${JSON.stringify(file)}, [LEDGER_SCHEMA])
    process.stdout.write(result.ok ? 'ok' : result.reason + result.code)`
  const processes = Array.from({ length: 4 }, () =>
    Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe', stderr: 'inherit' }),
  )
  const said = await Promise.all(processes.map((each) => new Response(each.stdout).text()))
  expect(said).toEqual(['ok', 'ok', 'ok', 'ok'])
  opened(openDatabase(file, [LEDGER_SCHEMA])).close()
})
