// The gate's own connections to the one file, which follow its path. Somebody may move, replace or
// delete the file under the gate, or its log alone; without any error SQLite would go on writing into
// what nobody will ever read. So the inodes at the path are looked at forty times a second and before
// each write; when they change, all connections are closed together and opened anew.
//
// Together, because SQLite shares one index of the log among the connections that a process has to one
// inode: a new connection beside an old one would read a new log by the old log's index.
//
// What the last connection to close does to the file is decided by whether it may write. One that may
// saves the log into the file and deletes the log, by its name, as long as no other process has the file
// open. One that cannot write changes nothing. `keeper` is of the second kind, so that the order in
// which `base` and `keeper` close says whether the old log is saved.

import { constants, Database } from 'bun:sqlite'
import { realpathSync, rmSync } from 'node:fs'
import type { Logger } from '../log.ts'
import type { DatabaseConnection } from './connection.ts'
import {
  codeOf,
  DatabaseUnusable,
  type OpenedDatabase,
  openDatabase,
  troubleOf,
  type Unusable,
} from './database.ts'
import { isDamaged } from './inspect.ts'
import { INDEX, LOG, type Marks, marksOf, sameMarks, sizeOf } from './marks.ts'

/** Why a file was left. */
export interface Left {
  /** `moved`: the file was moved, replaced or deleted. `log_gone`: its log, or the log's index. */
  readonly what: 'moved' | 'log_gone'
  readonly atMs: number
  /** False where the log held what can no longer be brought into the file. */
  readonly saved: boolean
}

export interface DatabaseConnectOptions {
  readonly busyTimeoutMs?: number
  /** SQL that sets the connection up. */
  readonly pragmas?: string
}

export interface Followed {
  connect(options?: DatabaseConnectOptions): DatabaseConnection
  /** Goes over where something else stands at the path. Never throws. */
  look(): void
  /** Why there is no database to use, if there is none. */
  readonly away: Unusable | undefined
  /** The last time a file was left. */
  readonly left: Left | undefined
  /** After each file that is gone over to. */
  onFile(listener: () => void): void
  stop(): void
}

/** Sooner than a command that is typed after `rm` can have opened the file. */
const LOOK_EVERY_MS = 25
const RETRY_EVERY_MS = 500
/** For other programs that read while the log is saved; all of the gate waits for as long. */
const SAVE_BUSY_MS = 100
/** A file system that gives a file another inode every time must not fill the gate's log. */
const SAY_EVERY_MS = 1000

interface StandingFile {
  readonly base: Database
  readonly keeper: Database
  readonly marks: Marks
  /** Where SQLite keeps the log: beside the file that a link leads to. */
  readonly real: string
}

interface ConnectionHolder {
  release(): void
}

/** What the file holds; the owners of the tables say it. */
export interface Tables {
  /** In order: entry n brings version n to n + 1. */
  readonly migrations: readonly string[]
  /** Tables that are checked for damage however large the file is. */
  readonly checked: readonly string[]
}

/** Throws DatabaseUnusable where the file cannot be used from the start. */
export function follow(
  path: string,
  { migrations, checked }: Tables,
  log: Pick<Logger, 'error' | 'info'>,
): Followed {
  const holders = new Set<ConnectionHolder>()
  const listeners: (() => void)[] = []
  let standing: StandingFile | undefined
  let trouble: (OpenedDatabase & { ok: false }) | undefined
  let tried: { readonly marks: Marks; readonly atMs: number } | undefined
  let told = false
  let left: Left | undefined
  let saidAtMs = Number.NEGATIVE_INFINITY
  let file = 0
  let timer: NodeJS.Timeout | undefined

  /** Undefined where all is well. */
  const begin = (patient: boolean): (OpenedDatabase & { ok: false }) | undefined => {
    const opened = openDatabase(path, migrations, patient ? {} : IMPATIENT)
    if (!opened.ok) return opened
    const base = opened.database
    let keeper: Database | undefined
    try {
      if (isDamaged(base, checked)) throw new DatabaseUnusable('corrupt', 'SQLITE_CORRUPT')
      keeper = new Database(path, { readonly: true, strict: true })
      // It has its lock from its first read on.
      keeper.query('SELECT count(*) FROM sqlite_schema').get()
      const real = realpathSync(path)
      const marks = marksOf(path, real)
      if (hasMoved(base)) throw new DatabaseUnusable('cannot_open', 'moved')
      standing = { base, keeper, marks, real }
      file += 1
      return undefined
    } catch (error) {
      base.close()
      keeper?.close()
      return refusalOf(error)
    }
  }

  const leave = (from: StandingFile): void => {
    const { marks, real } = from
    standing = undefined
    for (const holder of holders) holder.release()
    const found = marksOf(path, real)
    const what = found.main === marks.main ? 'log_gone' : 'moved'
    const saved =
      what === 'moved' ? leaveMoved(from, found) : leaveLog(from, isUntouched(from, found))
    left = { what, atMs: Date.now(), saved }
    if (performance.now() - saidAtMs < SAY_EVERY_MS) return
    saidAtMs = performance.now()
    if (what === 'moved') {
      log.error(
        'the database was moved or deleted while in use; going over to the file at its path',
      )
    } else if (saved) {
      log.error(
        "the database's log (-wal) was deleted while in use; its content was saved into the database",
      )
    } else {
      log.error(
        "the database's log (-wal) was deleted while in use, and another program has the database " +
          'open; what the log held is lost, going on with the file as it is',
      )
    }
  }

  const look = (): void => {
    if (standing) {
      if (sameMarks(standing.marks, marksOf(path, standing.real))) return
      leave(standing)
    }
    if (timer === undefined) return
    // What could not be used a moment ago is tried again now and then, and at once when it changes.
    const found = marksOf(path, path)
    if (tried && sameMarks(tried.marks, found)) {
      if (performance.now() - tried.atMs < RETRY_EVERY_MS) return
    }
    trouble = begin(false)
    if (trouble) {
      tried = { marks: found, atMs: performance.now() }
      if (!told) {
        const { reason, code } = trouble
        log.error({ reason, code }, 'the database cannot be used; trying again')
      }
      told = true
      return
    }
    if (told) log.info('the database is in use again')
    told = false
    tried = undefined
    for (const listener of listeners) listener()
  }

  const connect = ({ busyTimeoutMs, pragmas }: DatabaseConnectOptions = {}): DatabaseConnection => {
    let database: Database | undefined
    const release = (): void => {
      database?.close()
      database = undefined
    }
    holders.add({ release })

    const connected = (): Database => {
      if (database) return database
      look()
      const { marks, real = path } = standing ?? {}
      if (!marks)
        throw new DatabaseUnusable(trouble?.reason ?? 'missing', trouble?.code ?? 'missing')
      const opened = openDatabase(path, migrations, {
        mode: 'existing',
        ...(busyTimeoutMs === undefined ? {} : { busyTimeoutMs }),
      })
      if (!opened.ok) throw new DatabaseUnusable(opened.reason, opened.code)
      try {
        if (pragmas !== undefined) opened.database.run(pragmas)
        // It was opened by its name, and may be of what came there since the look.
        if (!sameMarks(marks, marksOf(path, real)))
          throw new DatabaseUnusable('cannot_open', 'moved')
      } catch (error) {
        opened.database.close()
        throw error
      }
      database = opened.database
      return database
    }

    return {
      get: connected,
      open() {
        try {
          look()
          return { ok: true, database: connected() }
        } catch (error) {
          return refusalOf(error)
        }
      },
      write(work) {
        look()
        const before = file
        const result = work(connected())
        look()
        if (file !== before || !standing) throw new DatabaseUnusable('cannot_open', 'moved')
        return result
      },
      get file() {
        return file
      },
      close: release,
    }
  }

  const refused = begin(true)
  if (refused) throw new DatabaseUnusable(refused.reason, refused.code)
  timer = setInterval(look, LOOK_EVERY_MS).unref()
  return {
    connect,
    look,
    get away() {
      return standing ? undefined : (trouble?.reason ?? 'missing')
    },
    get left() {
      return left
    },
    onFile(listener) {
      listeners.push(listener)
    },
    stop() {
      clearInterval(timer)
      timer = undefined
      look()
      for (const holder of holders) holder.release()
      standing?.keeper.close()
      standing?.base.close()
      standing = undefined
    },
  }
}

/** The event loop waits for nobody once requests are served. */
const IMPATIENT = { busyTimeoutMs: 0, migrationBusyTimeoutMs: 100 }

function refusalOf(error: unknown): OpenedDatabase & { ok: false } {
  if (error instanceof DatabaseUnusable)
    return { ok: false, reason: error.reason, code: error.code }
  return { ok: false, reason: troubleOf(error), code: codeOf(error) }
}

/**
 * Whether nobody can have written to the database since the log was deleted: who opens it makes the
 * files that are missing, and who writes makes the log longer than nothing.
 */
function isUntouched({ marks, real }: StandingFile, found: Marks): boolean {
  if (found.log === undefined) return found.index === marks.index || found.index === undefined
  if (found.log === marks.log) return found.index === undefined
  return sizeOf(real + LOG) === 0
}

/** The log goes into the file that it belongs to, wherever that is now. True where it did. */
function leaveMoved({ base, keeper, marks, real }: StandingFile, found: Marks): boolean {
  const saved = checkpointed(base)
  base.close()
  keeper.close()
  // SQLite would take what still stands there for the log of the file that stands there now.
  try {
    if (found.log !== undefined && found.log === marks.log) rmSync(real + LOG, { force: true })
    if (found.index !== undefined && found.index === marks.index) {
      rmSync(real + INDEX, { force: true })
    }
  } catch {
    // A folder that may not be written any more: nothing can be opened for writing there, either.
  }
  return saved
}

/** True where what the deleted log held is in the file now. */
function leaveLog({ base, keeper, real }: StandingFile, isUntouched: boolean): boolean {
  if (!isUntouched) {
    base.close()
    keeper.close()
    return false
  }
  // Who has the file open now, with no log there, opened it before: with the old log and its locks.
  if (sizeOf(real + LOG) === undefined && checkpointed(base)) {
    base.close()
    keeper.close()
    return true
  }
  keeper.close()
  try {
    // Alone with the file, or not at all: what is saved now would tear the pages of another writer.
    base.run(`PRAGMA busy_timeout = ${SAVE_BUSY_MS}; PRAGMA locking_mode = EXCLUSIVE`)
    base.run('BEGIN IMMEDIATE')
    base.run('COMMIT')
    return checkpointed(base)
  } catch {
    return false
  } finally {
    base.close()
  }
}

function checkpointed(database: Database): boolean {
  try {
    const done = database.query<{ busy: number }, []>('PRAGMA wal_checkpoint(TRUNCATE)').get()
    return done?.busy === 0
  } catch {
    return false
  }
}

/** Whether the file of an open connection stands at its path no longer. */
function hasMoved(database: Database): boolean {
  const answer = new Int32Array(2)
  const known = database.fileControl(constants.SQLITE_FCNTL_HAS_MOVED, answer) === 0
  return known && answer[0] !== 0
}
