// Checks the database as a start would, without changing it: can it be opened and written, is it ours,
// is it intact? For `postern check`, which may run beside a gate.

import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname, resolve } from 'node:path'
import type { Database } from 'bun:sqlite'
import { openDatabase } from './database.ts'
import { codeOf, troubleOf, type Unusable } from './trouble.ts'
import { isRunning } from './running.ts'

export type Inspection =
  | { readonly kind: 'absent' }
  | { readonly kind: 'sound'; readonly bytes: number }
  | {
      readonly kind: 'unusable'
      readonly reason: Unusable
      /** SQLite's own name for it, or the first thing that its check found. */
      readonly detail: string
    }
  /** A running gate writes to a log that has been deleted. */
  | { readonly kind: 'parted'; readonly pid: number }

/** A running gate reports every five seconds that it is alive. */
const ALIVE_MS = 20_000
const BUSY_TIMEOUT_MS = 2000

export function inspect(path: string, migrations: readonly string[], nowMs: number): Inspection {
  if (!existsSync(path)) return absent(path)
  // Checked before opening, which recreates both files.
  const hasLog = existsSync(`${path}-wal`)
  const opened = openDatabase(path, migrations, { mode: 'inspect', busyTimeoutMs: BUSY_TIMEOUT_MS })
  if (!opened.ok && opened.reason !== 'older_schema') {
    return { kind: 'unusable', reason: opened.reason, detail: opened.code }
  }
  // The next start updates what an earlier version has written.
  if (!opened.ok) return { kind: 'sound', bytes: statSync(path).size }
  const { database } = opened
  try {
    database.run('BEGIN IMMEDIATE')
    database.run('ROLLBACK')
    const damage = damageOf(database)
    if (damage !== undefined) return { kind: 'unusable', reason: 'corrupt', detail: damage }
    const pid = hasLog ? undefined : livingGate(database, nowMs)
    if (pid !== undefined) return { kind: 'parted', pid }
    return { kind: 'sound', bytes: statSync(path).size }
  } catch (error) {
    return { kind: 'unusable', reason: troubleOf(error), detail: codeOf(error) }
  } finally {
    database.close()
  }
}

function absent(path: string): Inspection {
  let folder = dirname(resolve(path))
  while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder)
  try {
    accessSync(folder, constants.W_OK)
    return statSync(folder).isDirectory()
      ? { kind: 'absent' }
      : { kind: 'unusable', reason: 'cannot_open', detail: 'ENOTDIR' }
  } catch (error) {
    return { kind: 'unusable', reason: troubleOf(error), detail: codeOf(error) }
  }
}

/** SQLite checks some 200 MB a second. */
const MAX_BYTES_CHECKED = 4 * 1024 * 1024

/** For a start: of a large file only `tables` are checked, and the rest as it is read. */
export function isDamaged(database: Database, tables: readonly string[]): boolean {
  const size = database
    .query<{ bytes: number }, []>(
      'SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size',
    )
    .get()
  const isSmall = (size?.bytes ?? 0) <= MAX_BYTES_CHECKED
  return (isSmall ? [undefined] : tables).some((table) => damageOf(database, table) !== undefined)
}

/** The first finding of SQLite's own check; it names tables and pages, never content. */
export function damageOf(database: Database, table?: string): string | undefined {
  const what = table === undefined ? '1' : `'${table}'`
  const [first] = database.query<{ quick_check: string }, []>(`PRAGMA quick_check(${what})`).all()
  return first?.quick_check === 'ok' ? undefined : first?.quick_check
}

function livingGate(database: Database, nowMs: number): number | undefined {
  const gates = database
    .query<{ pid: number }, [string, number]>(
      'SELECT pid FROM ledger_run WHERE host = ? AND seen_ms > ?',
    )
    .all(hostname(), nowMs - ALIVE_MS)
  return gates.map(({ pid }) => pid).find(isRunning)
}
