// The ledger's file, when things go wrong: processes that die, disks that fill, files that vanish.

import { until } from '../support/binary.ts'
import { afterEach, beforeEach, expect, test } from 'bun:test'
import type { Database } from 'bun:sqlite'
import { existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type { Ledger } from '../../src/ledger/port.ts'
import { ledgerFile } from '../../src/ledger/sqlite/file.ts'
import { pendingEntry } from '../../src/ledger/notices.ts'
import { sqliteLedger, type SqliteLedgerOptions } from '../../src/ledger/sqlite/writer.ts'
import type { OpenedDatabase } from '../../src/database/database.ts'
import { follow, type DatabaseFollower } from '../../src/database/follow.ts'
import { connectionBy } from '../support/connection.ts'
import {
  bothSums,
  folder,
  LEDGER_SCHEMAS,
  type Line,
  NOON,
  openLedgerFile,
  opened,
  opening,
  outcome,
  recordingLog,
  rowsOf,
} from './ledger-parts.ts'

let path: string
let file: string
let remove: () => void
let lines: Line[]
let ledgers: Ledger[]
let followed: DatabaseFollower[]

beforeEach(() => {
  const made = folder()
  path = made.path
  remove = made.remove
  file = `${path}/data/postern.db`
  ledgers = []
  followed = []
})
afterEach(async () => {
  for (const ledger of ledgers) await ledger.stop(NOON)
  for (const each of followed) each.stop()
  remove()
})

/** On a connection that follows the path, as the gate's does, unless the test opens one of its own. */
function start(open?: () => OpenedDatabase, options: Partial<SqliteLedgerOptions> = {}): Ledger {
  const recording = recordingLog()
  lines = recording.lines
  const ledger = sqliteLedger(open ? connectionBy(open) : following(recording.log).connect(), {
    log: recording.log,
    nowMs: NOON,
    flushEveryMs: 60_000,
    retryEveryMs: 60_000,
    ...options,
  })
  ledgers.push(ledger)
  return ledger
}

function following(log: SqliteLedgerOptions['log']): DatabaseFollower {
  const found = follow(file, { migrations: LEDGER_SCHEMAS, checked: [] }, log)
  followed.push(found)
  return found
}

const write = (ledger: Ledger, count: number, prefix = 'r'): void => {
  for (let row = 0; row < count; row++) {
    ledger.close(ledger.open(opening({ requestId: `${prefix}${row}` })), outcome())
  }
}

function look<T>(at: (database: Database) => T): T {
  const database = opened(openLedgerFile(file, { mode: 'read' }))
  try {
    return at(database)
  } finally {
    database.close()
  }
}
const rows = () => look(rowsOf)
const ends = () => rows().map((row) => row['end_reason'])

const child = (...args: string[]) =>
  Bun.spawn([process.execPath, `${import.meta.dir}/ledger-process.ts`, ...args], {
    stdout: 'pipe',
    stderr: 'inherit',
  })

test("nobody else can read the file, nor SQLite's files with it", async () => {
  const before = process.umask(0)
  write(start(), 1)
  await ledgers[0]?.flush(NOON)
  process.umask(before)
  for (const name of ['', '-wal', '-shm']) {
    expect(statSync(file + name).mode & 0o777, name).toBe(0o600)
  }
})

test('kill -9 loses at most a second, and running requests are found as lost', async () => {
  const process = child(file, 'die')
  const told: (readonly [at: number, row: number])[] = []
  let killedAt = 0
  const decoder = new TextDecoder()
  for await (const chunk of process.stdout) {
    for (const line of decoder.decode(chunk).split('\n')) {
      const [at, row] = line.split(' ')
      if (row) told.push([Number(at), Number(row)])
    }
    // Until there are many that are safe by then, however slow this machine is.
    const safe = told.filter(([at]) => at < Date.now() - 1300).length
    if (killedAt === 0 && safe > 100) {
      killedAt = Date.now()
      process.kill('SIGKILL')
    }
  }
  await process.exited
  const written = new Set(rows().map((row) => row['request_id']))
  const older = told.filter(([at]) => at < killedAt - 1000)
  expect(older.length).toBeGreaterThan(50)
  expect(older.filter(([, row]) => !written.has(`row-${row}`))).toEqual([])
  expect(look(bothSums).kept).toMatchObject([{ lost: 0 }])

  await start(undefined, { nowMs: Date.now() }).flush(Date.now())
  const found = rows().filter((row) => row['end_reason'] === 'lost')
  expect(found.map((row) => row['request_id'])).toEqual(
    expect.arrayContaining(['open-0', 'open-1', 'open-2']),
  )
  expect(found[0]).toMatchObject({ usage: 'unknown', succeeded: 0, status: null })
  expect(ends()).not.toContain(null)
  const { kept, counted } = look(bothSums)
  expect(kept).toEqual(counted)
})

test('two processes write one file, and no row is missing', async () => {
  const writers = [child(file, 'write', '1500'), child(file, 'write', '1500')]
  const said = await Promise.all(writers.map((each) => new Response(each.stdout).text()))
  for (const text of said) expect(JSON.parse(text)).toEqual({ ok: true, waiting: 0, lost: 0 })
  expect(new Set(rows().map((row) => row['request_id'])).size).toBe(3000)
  const { kept, counted } = look(bothSums)
  expect(kept).toEqual(counted)
})

test('a start does not touch the open rows of another running process', async () => {
  const living = start()
  living.open(opening())
  await living.flush(NOON)
  const second = start()
  await second.flush(NOON)
  expect(ends()).toEqual([null])
  await living.stop(NOON)
  // Its goodbye was said: what it left open is nobody's.
  const third = start()
  await third.flush(NOON)
  expect(ends()).toEqual(['lost'])
})

test('a process that was taken for dead still closes its rows, and the sums follow', async () => {
  const living = start()
  const entry = living.open(opening())
  await living.flush(NOON)
  const other = opened(openLedgerFile(file))
  // As another machine's, and silent for long: the guess is wrong, and heals.
  other.run(
    "UPDATE ledger SET end_reason = 'lost', succeeded = 0; " +
      'INSERT INTO ledger_day SELECT day, device, org, model, 1,0,1,0,0,1,0, 0,0,0,0,0, 0,0,0,0,0, 0,0,0,0, 0,0,0,0, 0, 0 FROM ledger',
  )
  other.close()
  living.close(entry, outcome())
  await living.flush(NOON)
  expect(ends()).toEqual(['complete'])
  const { kept, counted } = look(bothSums)
  expect(kept).toEqual(counted)
})

test('a row that was deleted meanwhile closes none that has its number now', async () => {
  const ledger = start()
  const first = ledger.open(opening({ requestId: 'first' }))
  await ledger.flush(NOON)
  const other = opened(openLedgerFile(file))
  other.run('DELETE FROM ledger')
  other.close()
  const second = ledger.open(opening({ requestId: 'second' }))
  await ledger.flush(NOON)
  ledger.close(first, outcome())
  await ledger.flush(NOON)
  expect(rows().map((row) => [row['id'], row['request_id'], row['end_reason']])).toEqual([
    [1, 'second', null],
    [2, 'first', 'complete'],
  ])
  ledger.close(second, outcome())
  await ledger.flush(NOON)
  expect(ends()).toEqual(['complete', 'complete'])
  const { kept, counted } = look(bothSums)
  expect(kept).toEqual(counted)
})

test('a silent process of another host is dead after twenty seconds, not before', async () => {
  const living = start()
  living.open(opening())
  await living.flush(NOON)
  const other = opened(openLedgerFile(file))
  other.run("UPDATE ledger_run SET host = 'elsewhere', token = 'theirs', pid = 1")
  other.close()
  await start().flush(NOON + 19_000)
  expect(ends()).toEqual([null])
  await start(undefined, { nowMs: NOON + 21_000 }).flush(NOON + 21_000)
  expect(ends()).toEqual(['lost'])
})

test('a full database stops nothing: it is logged once, rows stay in memory, and are written when there is room', async () => {
  let database: Database | undefined
  const ledger = start(() => {
    const result = openLedgerFile(file)
    if (result.ok) database = result.database
    return result
  })
  write(ledger, 10, 'before')
  expect(await ledger.flush(NOON)).toBe(true)
  const pages = database?.query<{ page_count: number }, []>('PRAGMA page_count').get()?.page_count
  database?.run(`PRAGMA max_page_count = ${pages}`)
  write(ledger, 500, 'full')
  for (let tries = 0; tries < 4; tries++)
    expect(await ledger.flush(NOON + 1000 * tries)).toBe(false)
  const health = ledger.health()
  expect(health).toMatchObject({ ok: false, sinceMs: NOON, reason: 'disk_full', lost: 0 })
  expect(lines.map(({ level }) => level)).toEqual(['error'])
  database?.run('PRAGMA max_page_count = 1000000')
  expect(await ledger.flush(NOON + 9000)).toBe(true)
  expect(ledger.health()).toEqual({ ok: true, waiting: 0, lost: 0 })
  expect(lines.map(({ level }) => level)).toEqual(['error', 'info'])
  expect(rows()).toHaveLength(510)
  const { kept, counted } = look(bothSums)
  expect(kept).toEqual(counted)
})

const mount = (at: string): boolean => {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  mkdirSync(at, { recursive: true })
  return Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', at]).exitCode === 0
}

test('a disk that is really full is survived, by the ledger and by the file', async () => {
  const disk = `${path}/disk`
  if (!mount(disk)) {
    process.stderr.write('  skipped: no right to mount a small disk\n')
    return
  }
  try {
    file = `${disk}/postern.db`
    const ledger = start(undefined, { maxWaiting: 2000 })
    write(ledger, 50, 'before')
    expect(await ledger.flush(NOON)).toBe(true)
    writeFileSync(`${disk}/ballast`, '')
    let size = 2 * 1024 * 1024
    while (size >= 512) {
      const step = Bun.spawnSync(['dd', 'if=/dev/zero', `bs=${size}`, 'count=1'], {
        stdout: 'pipe',
        stderr: 'ignore',
      }).stdout
      try {
        writeFileSync(`${disk}/ballast`, step, { flag: 'a' })
      } catch {
        size /= 2
      }
    }
    write(ledger, 1500, 'full')
    expect(await ledger.flush(NOON)).toBe(false)
    expect(ledger.health()).toMatchObject({ ok: false, lost: 0 })
    rmSync(`${disk}/ballast`)
    expect(await ledger.flush(NOON + 5000)).toBe(true)
    expect(ledger.health()).toEqual({ ok: true, waiting: 0, lost: 0 })
    expect(rows()).toHaveLength(1550)
    expect(look((db) => db.query('PRAGMA integrity_check').get())).toEqual({
      integrity_check: 'ok',
    })
    await ledger.stop(NOON)
  } finally {
    Bun.spawnSync(['umount', '-l', disk])
  }
})

test('a folder that vanishes under an open ledger is noticed, and a new file begun', async () => {
  const ledger = start()
  const entry = ledger.open(opening({ requestId: 'under way' }))
  write(ledger, 3, 'old')
  await ledger.flush(NOON)
  renameSync(`${path}/data`, `${path}/moved`)
  write(ledger, 3, 'new')
  ledger.close(entry, outcome())
  expect(await ledger.flush(NOON)).toBe(true)
  expect(rows().map((row) => row['request_id'])).toEqual(['new0', 'new1', 'new2', 'under way'])
  expect(lines.map(({ level }) => level)).toEqual(['error'])
})

test('a row of the file that vanished closes no row of the new one', async () => {
  const ledger = start()
  const old = ledger.open(opening({ requestId: 'old' }))
  await ledger.flush(NOON)
  renameSync(`${path}/data`, `${path}/moved`)
  ledger.open(opening({ requestId: 'new' }))
  await ledger.flush(NOON)
  ledger.close(old, outcome())
  await ledger.flush(NOON)
  expect(rows().map((row) => [row['id'], row['request_id'], row['end_reason']])).toEqual([
    [1, 'new', null],
    [2, 'old', 'complete'],
  ])
})

test('a file that comes back is recognised, and its open rows are closed in it', async () => {
  const ledger = start()
  const entry = ledger.open(opening())
  await ledger.flush(NOON)
  renameSync(`${path}/data`, `${path}/moved`)
  writeFileSync(`${path}/data`, 'no folder')
  ledger.close(entry, outcome())
  expect(await ledger.flush(NOON)).toBe(false)
  rmSync(`${path}/data`)
  renameSync(`${path}/moved`, `${path}/data`)
  expect(await ledger.flush(NOON)).toBe(true)
  expect(ends()).toEqual(['complete'])
})

test('garbage in the place of the file turns health red until it is gone', async () => {
  const ledger = start()
  write(ledger, 1, 'old')
  await ledger.flush(NOON)
  renameSync(`${path}/data`, `${path}/moved`)
  mkdirSync(`${path}/data`)
  writeFileSync(file, 'garbage '.repeat(2000))
  write(ledger, 3, 'new')
  expect(await ledger.flush(NOON)).toBe(false)
  expect(await ledger.flush(NOON + 1)).toBe(false)
  expect(ledger.health()).toMatchObject({ ok: false, reason: 'corrupt', waiting: 3 })
  rmSync(file)
  expect(await ledger.flush(NOON + 2)).toBe(true)
  expect(rows()).toHaveLength(3)
})

test('a database that cannot be opened is reported at once, and nothing throws', async () => {
  writeFileSync(`${path}/data`, 'a file where the folder should be')
  const ledger = start(() => openLedgerFile(file), { retryEveryMs: 20 })
  expect(ledger.health()).toMatchObject({ ok: false, sinceMs: NOON, waiting: 0 })
  write(ledger, 5)
  expect(existsSync(file)).toBe(false)
  rmSync(`${path}/data`)
  await until(() => ledger.health().ok)
  await ledger.flush(NOON)
  expect(rows()).toHaveLength(5)
  for (const { text } of lines) expect(text).not.toContain(path)
})

test('the lock of another writer never holds the road up, and is red only when it lasts', async () => {
  const ledger = start()
  const other = opened(openLedgerFile(file))
  other.run('BEGIN IMMEDIATE')
  write(ledger, 500)
  // Here is the proof: it returns while the other still holds the lock.
  expect(await ledger.flush(NOON)).toBe(false)
  expect(ledger.health()).toEqual({ ok: true, waiting: 500, lost: 0 })
  await ledger.flush(NOON + 2900)
  expect(lines).toEqual([])
  await ledger.flush(NOON + 3100)
  expect(ledger.health()).toMatchObject({ ok: false, reason: 'locked' })
  other.run('ROLLBACK')
  other.close()
  expect(await ledger.flush(NOON + 4000)).toBe(true)
  expect(rows()).toHaveLength(500)
})

test('a row that the database refuses holds up no other', async () => {
  const ledger = start(() => {
    const result = openLedgerFile(file)
    if (result.ok) {
      result.database.run(`CREATE TEMP TRIGGER poison BEFORE INSERT ON ledger
        WHEN NEW.request_id = 'r1' BEGIN SELECT RAISE(ABORT, 'no'); END`)
    }
    return result
  })
  write(ledger, 3)
  expect(await ledger.flush(NOON)).toBe(true)
  expect(rows().map((row) => row['request_id'])).toEqual(['r0', 'r2'])
  expect(ledger.health()).toEqual({ ok: true, waiting: 0, lost: 1 })
  const { kept, counted } = look(bothSums)
  expect(kept).toEqual(counted)
})

test('rows of very many devices take more batches than others, and none is missing', async () => {
  const into = ledgerFile(
    opened(openLedgerFile(file)),
    { token: 'this', file: 0, id: undefined },
    NOON,
  )
  const slips = Array.from({ length: 200 }, (_, at) => {
    const slip = pendingEntry(opening({ requestId: `r${at}`, device: `device-${at % 120}` }))
    slip.outcome = outcome()
    return slip
  })
  const taken: number[] = []
  for (let left = slips; left.length > 0; left = left.slice(taken.at(-1))) {
    taken.push(into.write(left, NOON).taken)
  }
  into.leave()
  into.database.close()
  expect(taken).toEqual([50, 50, 50, 50])
  expect(rows().map((row) => row['request_id'])).toEqual(slips.map((_, at) => `r${at}`))
  const { kept, counted } = look(bothSums)
  expect(kept).toEqual(counted)
})

test('rows that are lost while nothing can be written are logged once, and all counted', async () => {
  mkdirSync(file, { recursive: true })
  const ledger = start(() => openLedgerFile(file), { maxWaiting: 100 })
  write(ledger, 150)
  await ledger.flush(NOON)
  write(ledger, 150)
  await ledger.flush(NOON)
  expect(ledger.health()).toMatchObject({ ok: false, waiting: 100, lost: 200 })
  expect(lines.filter(({ text }) => text.includes('lost rows'))).toHaveLength(1)
  rmSync(file, { recursive: true })
  expect(await ledger.flush(NOON)).toBe(true)
  expect(rows()).toHaveLength(100)
  expect(lines.at(-1)?.text).toContain('200')
})
