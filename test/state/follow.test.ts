// Going over to another file in one process: what of a deleted log is saved, and that nothing of
// another writer is ever torn.

import { Database } from 'bun:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import type { DatabaseConnection } from '../../src/database/connection.ts'
import { openDatabase } from '../../src/database/database.ts'
import { follow, type DatabaseFollower } from '../../src/database/follow.ts'
import { folder, recordingLog } from '../settle/ledger-parts.ts'

const KIND = { migrations: ['CREATE TABLE t (x INTEGER PRIMARY KEY) STRICT'], checked: ['t'] }

let path: string
let file: string
let remove: () => void
let followed: DatabaseFollower
let lines: ReturnType<typeof recordingLog>['lines']
let connection: DatabaseConnection
let isStanding = false

function begin(): void {
  const made = folder()
  ;({ path, remove } = made)
  file = `${path}/postern.db`
  start()
}

function end(): void {
  followed.stop()
  remove()
}

function start(at = file, standing = isStanding): void {
  const recording = recordingLog()
  ;({ lines } = recording)
  followed = follow(at, KIND, recording.log)
  connection = followed.connect({ busyTimeoutMs: 0, standing })
  // Statements that nobody finalizes must keep no file open.
  connection.get().transaction(() => {})()
  connection.get().prepare('SELECT x FROM t').all()
  // What is there from now on is in the log alone.
  connection.get().run('PRAGMA wal_checkpoint(TRUNCATE)')
}

const write = (x: number): void =>
  connection.write((database) => void database.query('INSERT INTO t VALUES (?)').run(x))

const rows = (): number[] =>
  connection
    .get()
    .query<{ x: number }, []>('SELECT x FROM t ORDER BY x')
    .all()
    .map(({ x }) => x)

/**
 * Another program, whose locks are its own: started and waited for in one turn of the loop, so that
 * nothing is looked at before it is ready. It keeps the file open unless it closes it.
 */
function elsewhere(script: string): { end(): Promise<void> } {
  const ready = `${path}/ready-${crypto.randomUUID()}`
  const child = Bun.spawn(
    [
      process.execPath,
      '-e',
      `import { Database } from 'bun:sqlite'
       import { writeFileSync } from 'node:fs'
       const db = new Database(${JSON.stringify(file)}, { readwrite: true })
       // Nothing may collect it, and so close it.
       globalThis.kept = db
       ${script}
       writeFileSync(${JSON.stringify(ready)}, '')
       // By itself, where a test has failed and nobody ends it.
       setTimeout(() => process.exit(), 5000)`,
    ],
    { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' },
  )
  const deadline = performance.now() + 10_000
  while (!existsSync(ready)) {
    if (performance.now() > deadline) throw new Error('not ready')
    Bun.sleepSync(1)
  }
  rmSync(ready)
  return {
    async end() {
      child.kill('SIGKILL')
      await child.exited
    },
  }
}

function isWhole(): void {
  const [found] = connection.get().query('PRAGMA integrity_check').all()
  expect(found).toEqual({ integrity_check: 'ok' })
}

const forgetLog = (): void => {
  for (const suffix of ['-wal', '-shm']) rmSync(file + suffix)
}

describe.each([
  ['a connection of its own', false],
  ['the standing connection', true],
])('%s', (_, standing) => {
  beforeEach(() => {
    isStanding = standing
    begin()
  })
  afterEach(end)

  test('a log that was deleted is saved into the file while nobody else has it open', () => {
    write(1)
    forgetLog()
    followed.look()
    expect(followed.left).toMatchObject({ what: 'log_gone', saved: true })
    write(2)
    expect(rows()).toEqual([1, 2])
    isWhole()
    expect(lines.map(({ level }) => level)).toEqual(['error'])
  })

  test('older readers of the file do not matter', async () => {
    const other = elsewhere("db.query('SELECT * FROM t').all()")
    write(1)
    forgetLog()
    followed.look()
    expect(followed.left).toMatchObject({ saved: true })
    expect(rows()).toEqual([1])
    isWhole()
    await other.end()
  })

  test('a reader that has come meanwhile and gone again changes nothing of that', async () => {
    write(1)
    forgetLog()
    const other = elsewhere("db.query('SELECT * FROM t').all(); db.close()")
    followed.look()
    expect(followed.left).toMatchObject({ saved: true })
    expect(rows()).toEqual([1])
    await other.end()
  })

  test('the deleted log is given up even while another reader stays', async () => {
    write(1)
    forgetLog()
    const other = elsewhere("db.query('SELECT * FROM t').all()")
    followed.look()
    expect(followed.left).toMatchObject({ what: 'log_gone', saved: false })
    write(2)
    expect(rows()).toEqual([2])
    isWhole()
    await other.end()
  })

  test("another program's later writes stay, and the deleted log is given up", async () => {
    write(1)
    forgetLog()
    const other = elsewhere("db.run('INSERT INTO t VALUES (7)')")
    followed.look()
    expect(followed.left).toMatchObject({ what: 'log_gone', saved: false })
    write(2)
    expect(rows()).toEqual([2, 7])
    await other.end()
    write(3)
    expect(rows()).toEqual([2, 3, 7])
    isWhole()
  })

  test('the same if that program has ended', async () => {
    write(1)
    forgetLog()
    const other = elsewhere("db.run('INSERT INTO t VALUES (7)'); db.close()")
    await other.end()
    followed.look()
    expect(rows()).toEqual([7])
    isWhole()
  })

  test("no page of a deleted log is mixed into another program's writes", async () => {
    connection.write((database) =>
      database.run(
        `WITH RECURSIVE n(x) AS (SELECT 1000 UNION ALL SELECT x + 1 FROM n LIMIT 20000)
       INSERT INTO t SELECT x FROM n`,
      ),
    )
    const size = rows().length
    connection.get().run('DELETE FROM t WHERE x < 15000')
    forgetLog()
    const other = elsewhere("db.run('INSERT INTO t VALUES (7)'); db.close()")
    followed.look()
    // The rows may have been carried into the file before, as full logs are; the deletion was not.
    expect([1, size + 1]).toContain(rows().length)
    expect(rows()).toContain(7)
    isWhole()
    await other.end()
  })

  test('the log of a file that was replaced is never read as the log of the new one', () => {
    write(1)
    const backup = openDatabase(`${path}/backup.db`, KIND.migrations)
    if (!backup.ok) throw new Error(backup.reason)
    backup.database.run('INSERT INTO t VALUES (42)')
    backup.database.close()
    write(2)
    renameSync(file, `${path}/old.db`)
    renameSync(`${path}/backup.db`, file)
    write(3)
    expect(followed.left?.what).toBe('moved')
    expect(rows()).toEqual([3, 42])
    isWhole()
    // The old file has all of its own, wherever it went.
    const old = new Database(`${path}/old.db`)
    expect(old.query('SELECT x FROM t ORDER BY x').values()).toEqual([[1], [2]])
    old.close()
  })

  test('several connections go over together, and none keeps the old index of the log', () => {
    const others = [followed.connect(), followed.connect()]
    for (const other of others) other.get().query('SELECT count(*) FROM t').get()
    write(1)
    forgetLog()
    followed.look()
    for (const [at, other] of others.entries()) {
      other.write((database) => void database.query('INSERT INTO t VALUES (?)').run(10 + at))
    }
    expect(rows()).toEqual([1, 10, 11])
    expect(others.map((other) => other.file)).toEqual([2, 2])
  })

  test('a write into a file that is replaced meanwhile fails', () => {
    expect(() =>
      connection.write((database) => {
        database.run('INSERT INTO t VALUES (1)')
        renameSync(file, `${path}/old.db`)
      }),
    ).toThrow('cannot be used')
    write(2)
    expect(rows()).toEqual([2])
  })

  test("the log of a file behind a link is beside the link's target", () => {
    followed.stop()
    mkdirSync(`${path}/real`)
    symlinkSync(`${path}/real/data.db`, `${path}/link.db`)
    start(`${path}/link.db`)
    write(1)
    expect(existsSync(`${path}/real/data.db-wal`)).toBe(true)
    rmSync(`${path}/real/data.db-wal`)
    followed.look()
    expect(followed.left).toMatchObject({ what: 'log_gone', saved: true })
    expect(rows()).toEqual([1])
  })

  test('a stop leaves one file, with everything in it', () => {
    write(1)
    followed.stop()
    expect(readdirSync(path)).toEqual(['postern.db'])
  })
})

test('each file that is gone over to is set up for the user of its standing connection', () => {
  isStanding = false
  begin()
  try {
    const pragmas = 'PRAGMA synchronous = FULL'
    const used = followed.connect({ busyTimeoutMs: 50, pragmas, standing: true })
    const setUp = () => {
      const db = used.get()
      return [db.query('PRAGMA synchronous').get(), db.query('PRAGMA busy_timeout').get()]
    }
    expect(setUp()).toEqual([{ synchronous: 2 }, { timeout: 50 }])
    renameSync(file, `${path}/old.db`)
    followed.look()
    expect(setUp()).toEqual([{ synchronous: 2 }, { timeout: 50 }])
    // The pragmas of a second user would apply to the first.
    expect(() => followed.connect({ standing: true })).toThrow('has a user')
  } finally {
    end()
  }
})
