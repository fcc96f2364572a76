// Opens the one SQLite file: its mode, its pragmas, its schema. It knows no table; callers hand in the
// migrations. It waits for another process no longer than it is told to, and none of its errors contains
// the path or any content.
//
// Nothing in this program opens the file except through SQLite: closing any descriptor of a file drops
// all POSIX locks that the process has on it (sqlite.org/howtocorrupt.html §2.2), and the next program to
// close the database would then delete the log under the gate.

import { Database } from 'bun:sqlite'
import { accessSync, chmodSync, constants as fs, existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { codeOf, troubleOf, type Unusable } from './trouble.ts'

export type OpenedDatabase =
  | {
      readonly ok: true
      readonly database: Database
      /** The file was empty until now. */
      readonly isNew?: true
    }
  /** `code` is SQLite's or the system's own, for the log; it quotes neither path nor content. */
  | { readonly ok: false; readonly reason: Unusable; readonly code: string }

export type OpenMode = 'write' | 'existing' | 'inspect' | 'read'

export interface OpenOptions {
  /**
   * `write` creates a missing file. `existing` writes, but creates none. `inspect` may write, and
   * leaves the schema as it is. `read` cannot write.
   */
  readonly mode?: OpenMode
  /**
   * How long a statement may wait for another process's lock. The event loop waits with it; every writer
   * here holds the lock for milliseconds.
   */
  readonly busyTimeoutMs?: number
  /** The same during migrations, before the gate serves anything. */
  readonly migrationBusyTimeoutMs?: number
  /** For a new file, in place of the migrations that it stands for. */
  readonly latest?: LatestSchema | undefined
}

/** What the first `version` migrations leave. */
export interface LatestSchema {
  readonly version: number
  readonly schema: string
}

export const BUSY_TIMEOUT_MS = 1000
const LOCKED_PAUSE_MS = 10
const MIGRATION_BUSY_TIMEOUT_MS = 5000
/** `pstn`: marks the file as ours, also for file(1). */
const APPLICATION_ID = 0x70_73_74_6e
/** A long read lets the write-ahead log grow; afterwards it shrinks to this size. */
const MAX_IDLE_WAL_BYTES = 16 * 1024 * 1024
/** Pages of 4 KiB. Fewer pages make the checkpointing commit shorter: 1000 took up to 100 ms. */
const CHECKPOINT_PAGES = 200

/**
 * `migrations`: entry n brings version n to n + 1, as `PRAGMA user_version` counts. Append, never
 * change or reorder. Two processes may open the file at once.
 */
export function openDatabase(
  path: string,
  migrations: readonly string[],
  options: OpenOptions = {},
): OpenedDatabase {
  const {
    mode = 'write',
    busyTimeoutMs = BUSY_TIMEOUT_MS,
    migrationBusyTimeoutMs = MIGRATION_BUSY_TIMEOUT_MS,
    latest,
  } = options
  const schemas = { migrations, latest }
  const deadline = performance.now() + busyTimeoutMs
  for (;;) {
    const opened = openOnce(path, schemas, { mode, busyTimeoutMs, migrationBusyTimeoutMs })
    // When two processes switch a new file to WAL at once, SQLite fails one of them without waiting
    // (sqlite.org/c3ref/busy_handler.html).
    if (opened.ok || opened.reason !== 'locked' || performance.now() >= deadline) return opened
    Bun.sleepSync(LOCKED_PAUSE_MS)
  }
}

interface Schemas {
  readonly migrations: readonly string[]
  readonly latest: LatestSchema | undefined
}

function openOnce(
  path: string,
  schemas: Schemas,
  { mode, busyTimeoutMs, migrationBusyTimeoutMs }: Required<Omit<OpenOptions, 'latest'>>,
): OpenedDatabase {
  let database: Database | undefined
  try {
    if (mode !== 'write' && path !== ':memory:' && !existsSync(path)) return unusable('missing')
    database = mode === 'write' ? openOrMake(path) : new Database(path, AS[mode])
    if (isMaking(mode)) keepPrivate(path)
    database.run(`PRAGMA busy_timeout = ${Math.trunc(busyTimeoutMs)}`)
    const found = isMaking(mode)
      ? prepare(database, schemas, migrationBusyTimeoutMs)
      : compare(identityOf(database), schemas.migrations.length)
    if (found !== undefined && found !== 'made') {
      database.close()
      return unusable(found)
    }
    database.run(`PRAGMA busy_timeout = ${Math.trunc(busyTimeoutMs)}`)
    return found === 'made' ? { ok: true, database, isNew: true } : { ok: true, database }
  } catch (error) {
    database?.close()
    const cause = codeOf(error).startsWith('SQLITE_CANTOPEN') ? unreachable(path) : undefined
    return { ok: false, reason: troubleOf(cause ?? error), code: codeOf(cause ?? error) }
  }
}

/** SQLite has one error for a folder that is missing, unreadable or read-only; the system has three. */
function unreachable(path: string): unknown {
  try {
    accessSync(dirname(path), fs.W_OK)
    if (existsSync(path)) accessSync(path, fs.W_OK)
    return undefined
  } catch (error) {
    return error
  }
}

const AS = {
  write: { create: true, readwrite: true, strict: true },
  existing: { readwrite: true, strict: true },
  inspect: { readwrite: true, strict: true },
  read: { readonly: true, strict: true },
} as const

/** Whether opening brings the file up to date. */
const isMaking = (mode: OpenMode): boolean => mode === 'write' || mode === 'existing'

/**
 * A new file has mode 0600 from its first moment; SQLite gives the same mode to the files beside
 * it.
 */
function openOrMake(path: string): Database {
  if (path === ':memory:') return new Database(path, AS.write)
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const before = process.umask(0o077)
  try {
    return new Database(path, AS.write)
  } finally {
    process.umask(before)
  }
}

function keepPrivate(path: string): void {
  if (path === ':memory:') return
  try {
    chmodSync(path, 0o600)
  } catch {
    // Another user's file that we may write: they choose its mode.
  }
}

function prepare(
  database: Database,
  { migrations, latest }: Schemas,
  migrationBusyTimeoutMs: number,
): Unusable | 'made' | undefined {
  const found = compare(identityOf(database), migrations.length)
  if (found !== undefined && found !== 'older_schema') return found
  if (found) database.run(`PRAGMA busy_timeout = ${migrationBusyTimeoutMs}`)
  // In WAL mode a killed process loses nothing that was committed; a power cut may lose the last
  // moments, but never the file (sqlite.org/pragma.html#pragma_synchronous). Set first, so that a new
  // file, which holds nothing yet, waits for the disk once less.
  database.run('PRAGMA synchronous = NORMAL')
  database.run('PRAGMA journal_mode = WAL')
  database.run(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`)
  database.run(`PRAGMA journal_size_limit = ${MAX_IDLE_WAL_BYTES}`)
  database.run('PRAGMA trusted_schema = OFF')
  if (found === undefined) return undefined
  return inTransaction(database, () => {
    // Checked again under the lock: another process may have migrated first.
    const identity = identityOf(database)
    const again = compare(identity, migrations.length)
    if (again !== 'older_schema') return again
    const { version, tables } = identity
    const isNew = tables === 0
    if (isNew && latest) database.run(latest.schema)
    const from = isNew && latest ? latest.version : version
    for (const schema of migrations.slice(from)) database.run(schema)
    database.run(`PRAGMA application_id = ${APPLICATION_ID}`)
    database.run(`PRAGMA user_version = ${migrations.length}`)
    return isNew ? 'made' : undefined
  })
}

function compare({ owner, version, tables }: Identity, wanted: number): Unusable | undefined {
  const empty = owner === 0 && version === 0 && tables === 0
  if (!empty && owner !== APPLICATION_ID) return 'foreign_file'
  if (version > wanted) return 'newer_schema'
  return version < wanted ? 'older_schema' : undefined
}

interface Identity {
  readonly owner: number
  readonly version: number
  readonly tables: number
}

/** One statement, so that another process cannot migrate between two reads. */
function identityOf(database: Database): Identity {
  const found = database
    .query<Identity, []>(
      `SELECT application_id AS owner, user_version AS version,
         (SELECT count(*) FROM sqlite_schema) AS tables
       FROM pragma_application_id, pragma_user_version`,
    )
    .get()
  return found ?? { owner: 0, version: 0, tables: 0 }
}

/**
 * Runs `work` in a transaction that takes the write lock first, so that it cannot fail halfway for
 * want of it.
 */
export function inTransaction<T>(database: Database, work: () => T): T {
  database.run('BEGIN IMMEDIATE')
  try {
    const result = work()
    database.run('COMMIT')
    return result
  } catch (error) {
    // A full disk ends some transactions by itself (sqlite.org/lang_transaction.html §3).
    if (database.inTransaction) database.run('ROLLBACK')
    throw error
  }
}

const unusable = (reason: Unusable): OpenedDatabase => ({ ok: false, reason, code: reason })
