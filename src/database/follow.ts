// The gate's connections to its file follow the file's path. Somebody may move, replace or delete the
// file, or its log alone, while the gate runs; SQLite would go on writing without an error, where nobody
// will ever read. So the inodes at the path are checked soon after each change, four times a second in
// any case, and before each write. When they change, all connections are closed together and reopened.
//
// Together, because the connections of one process to one inode share SQLite's index of the log: a new
// connection beside an old one would read the new log by the old log's index.

import type { Database } from 'bun:sqlite'
import type { Logger } from '../log.ts'
import type { DatabaseConnection } from './connection.ts'
import { openDatabase } from './database.ts'
import { DatabaseUnusable, type Unusable } from './trouble.ts'
import { closeWhole, isUntouched, leaveLog, leaveMoved, type StandingFile } from './leave.ts'
import { type Lookout, lookout } from './lookout.ts'
import { type Marks, marksOf, sameMarks } from './marks.ts'
import { type FileRefused, refusalOf, stand, type Tables } from './stand.ts'

/** Why the gate left a file. */
export interface FileLeft {
  /** `moved`: the file was moved, replaced or deleted. `log_gone`: its log, or the log's index. */
  readonly what: 'moved' | 'log_gone'
  readonly atMs: number
  /** False if part of the log could not be saved into the file. */
  readonly saved: boolean
}

export interface DatabaseConnectOptions {
  readonly busyTimeoutMs?: number
  /** SQL that sets the connection up. */
  readonly pragmas?: string
  /**
   * Uses the connection that stays open for as long as the gate uses the file, instead of another
   * one. One user at most, since pragmas apply to all of a connection; `close` does nothing there.
   */
  readonly standing?: boolean
}

export interface DatabaseFollower {
  connect(options?: DatabaseConnectOptions): DatabaseConnection
  /** Switches if the path now holds another file. Never throws. */
  look(): void
  /** Why no database can be used now; undefined if one can. */
  readonly away: Unusable | undefined
  /** The last time a file was left. */
  readonly left: FileLeft | undefined
  /** Called after each switch to another file. */
  onFile(listener: () => void): void
  stop(): void
}

const RETRY_EVERY_MS = 500
/** A file system whose inodes change at every check must not flood the gate's log. */
const SAY_EVERY_MS = 1000

interface ConnectionHolder {
  release(): void
}

/** Throws DatabaseUnusable if the file cannot be used from the start. */
export function follow(
  path: string,
  tables: Tables,
  log: Pick<Logger, 'error' | 'info'>,
): DatabaseFollower {
  const { migrations, latest } = tables
  const holders = new Set<ConnectionHolder>()
  const listeners: (() => void)[] = []
  let standing: StandingFile | undefined
  let trouble: FileRefused | undefined
  let tried: { readonly marks: Marks; readonly atMs: number } | undefined
  let told = false
  let left: FileLeft | undefined
  let saidAtMs = Number.NEGATIVE_INFINITY
  let file = 0
  let looking: Lookout | undefined
  let isBaseUsed = false

  /** Undefined on success. */
  const begin = (patient: boolean): FileRefused | undefined => {
    const stood = stand(path, tables, patient)
    if (!stood.ok) return stood
    standing = stood.file
    file += 1
    return undefined
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
      log.error('the database was moved or deleted while in use; switching to the file at its path')
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
    if (looking === undefined) return
    // A file that could not be used is retried every 500 ms, and at once when it changes.
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

  /** The connection of the file itself, set up for its user. */
  const connectBase = ({ busyTimeoutMs, pragmas }: DatabaseConnectOptions): DatabaseConnection => {
    if (isBaseUsed) throw new Error('the standing connection has a user already')
    isBaseUsed = true
    let database: Database | undefined
    return connection(
      () => {
        if (!standing) look()
        if (!standing) throw unusableNow()
        const { base } = standing
        if (database === base) return base
        if (busyTimeoutMs !== undefined) base.run(`PRAGMA busy_timeout = ${busyTimeoutMs}`)
        if (pragmas !== undefined) base.run(pragmas)
        database = base
        return base
      },
      () => {},
    )
  }

  const connectAnew = ({ busyTimeoutMs, pragmas }: DatabaseConnectOptions): DatabaseConnection => {
    let database: Database | undefined
    const release = (): void => {
      if (database) closeWhole(database)
      database = undefined
    }
    holders.add({ release })

    const connected = (): Database => {
      if (database) return database
      look()
      const { marks, real = path } = standing ?? {}
      if (!marks) throw unusableNow()
      const opened = openDatabase(path, migrations, {
        mode: 'existing',
        latest,
        ...(busyTimeoutMs === undefined ? {} : { busyTimeoutMs }),
      })
      if (!opened.ok) throw new DatabaseUnusable(opened.reason, opened.code)
      try {
        if (pragmas !== undefined) opened.database.run(pragmas)
        // The file was opened by name: another one may have taken its place since the check.
        if (!sameMarks(marks, marksOf(path, real)))
          throw new DatabaseUnusable('cannot_open', 'moved')
      } catch (error) {
        opened.database.close()
        throw error
      }
      database = opened.database
      return database
    }
    return connection(connected, release)
  }

  const connection = (connected: () => Database, close: () => void): DatabaseConnection => ({
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
    close,
  })

  const unusableNow = (): DatabaseUnusable =>
    new DatabaseUnusable(trouble?.reason ?? 'missing', trouble?.code ?? 'missing')

  const refused = begin(true)
  if (refused) throw new DatabaseUnusable(refused.reason, refused.code)
  looking = lookout(look, () => standing?.files)
  return {
    connect: (options = {}) => (options.standing ? connectBase : connectAnew)(options),
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
      looking?.stop()
      looking = undefined
      look()
      for (const holder of holders) holder.release()
      standing?.keeper.close()
      if (standing) closeWhole(standing.base)
      standing = undefined
    },
  }
}
