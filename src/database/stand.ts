// Begins to use a database file: opens it, brings its tables up to date, checks it for damage, and takes
// the locks that hold for as long as the gate uses it.

import { constants, Database } from 'bun:sqlite'
import { realpathSync } from 'node:fs'
import {
  BUSY_TIMEOUT_MS,
  type LatestSchema,
  type OpenedDatabase,
  openDatabase,
} from './database.ts'
import { isDamaged } from './inspect.ts'
import { closeWhole, type StandingFile } from './leave.ts'
import { INDEX, LOG, marksOf } from './marks.ts'
import { codeOf, DatabaseUnusable, troubleOf } from './trouble.ts'

/** What the file holds, as the owners of the tables define it. */
export interface Tables {
  /** Entry n brings version n to n + 1. */
  readonly migrations: readonly string[]
  /** For a new file, in place of the migrations that it stands for. */
  readonly latest?: LatestSchema | undefined
  /** Tables that are checked for damage, however large the file is. */
  readonly checked: readonly string[]
}

export type FileRefused = OpenedDatabase & { readonly ok: false }

/** `patient`: before requests are served. */
export function stand(
  path: string,
  { migrations, latest, checked }: Tables,
  patient: boolean,
): { readonly ok: true; readonly file: StandingFile } | FileRefused {
  const patience = patient ? PATIENT : IMPATIENT
  const { busyTimeoutMs } = patience
  const opened = openDatabase(path, migrations, { ...patience, latest })
  if (!opened.ok) return opened
  const base = opened.database
  let keeper: Database | undefined
  try {
    if (!opened.isNew) {
      if (isDamaged(base, checked)) throw new DatabaseUnusable('corrupt', 'SQLITE_CORRUPT')
      // The check has read the whole file into memory.
      base.run('PRAGMA shrink_memory')
    }
    keeper = new Database(path, { readonly: true, strict: true })
    // The keeper holds its lock from its first read. This one needs no schema, which would cost time
    // and memory.
    keeper.query('PRAGMA user_version').get()
    const real = realpathSync(path)
    const marks = marksOf(path, real)
    if (hasMoved(base)) throw new DatabaseUnusable('cannot_open', 'moved')
    const files = [real, real + LOG, real + INDEX]
    return { ok: true, file: { base, busyTimeoutMs, keeper, marks, real, files } }
  } catch (error) {
    closeWhole(base)
    keeper?.close()
    return refusalOf(error)
  }
}

const PATIENT = { busyTimeoutMs: BUSY_TIMEOUT_MS }
/** Once requests are served, the event loop must not wait for locks. */
const IMPATIENT = { busyTimeoutMs: 0, migrationBusyTimeoutMs: 100 }

export function refusalOf(error: unknown): FileRefused {
  if (error instanceof DatabaseUnusable)
    return { ok: false, reason: error.reason, code: error.code }
  return { ok: false, reason: troubleOf(error), code: codeOf(error) }
}

/** Whether the file of an open connection is no longer at its path. */
function hasMoved(database: Database): boolean {
  const answer = new Int32Array(2)
  const known = database.fileControl(constants.SQLITE_FCNTL_HAS_MOVED, answer) === 0
  return known && answer[0] !== 0
}
