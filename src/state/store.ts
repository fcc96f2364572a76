// The one file in which a gate keeps what must outlive it, with everybody's tables, and the
// connections to it. `:memory:` stands for a file that goes with the process: what several
// connections share cannot live in one of them.

import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Database, SQLiteError } from 'bun:sqlite'
import { ENROLL_NAMES_SCHEMA, ENROLL_PRAGMAS, ENROLL_SCHEMA } from '../enroll/schema.ts'
import { LOGIN_SCHEMA } from '../login/schema.ts'
import {
  LEDGER_INDEXES,
  LEDGER_SCHEMA,
  LEDGER_TOOLS,
  SPEND_CORRECTIONS,
} from '../settle/ledger-schema.ts'
import {
  type Opened,
  openDatabase,
  type OpenOptions,
  troubleOf,
  type Unusable,
} from './database.ts'
import { damageOf, type Inspection, inspect } from './inspect.ts'

/** In the order in which they came to be; only ever appended to. */
const SCHEMAS = [
  LEDGER_SCHEMA,
  ENROLL_SCHEMA,
  LOGIN_SCHEMA,
  LEDGER_INDEXES,
  ENROLL_NAMES_SCHEMA,
  LEDGER_TOOLS,
  SPEND_CORRECTIONS,
]

export interface Store {
  open(options?: OpenOptions): Opened
  /** With the caution that enrolment needs; throws where the file cannot be used. */
  openForEnrolment(): Database
  /** For `postern check`; changes nothing. Undefined where the file goes with the process. */
  inspect(nowMs: number): Inspection | undefined
}

export class StoreUnusable extends Error {
  readonly reason: Unusable

  constructor(reason: Unusable) {
    super(`the database cannot be used: ${reason}`)
    this.reason = reason
  }
}

/** Undefined where the error is not about the database. */
export function unusableFrom(error: unknown): StoreUnusable | undefined {
  if (error instanceof StoreUnusable) return error
  return error instanceof SQLiteError ? new StoreUnusable(troubleOf(error)) : undefined
}

export function store(path: string): Store {
  const file = path === ':memory:' ? passingFile() : path
  const open = (options: OpenOptions = {}): Opened => openDatabase(file, SCHEMAS, options)
  return {
    open,
    openForEnrolment() {
      const opened = open()
      if (!opened.ok) throw new StoreUnusable(opened.reason)
      mustBeSound(opened.database)
      opened.database.run(ENROLL_PRAGMAS)
      return opened.database
    },
    inspect: (nowMs) => (path === ':memory:' ? undefined : inspect(path, SCHEMAS, nowMs)),
  }
}

/** SQLite reads some 200 MB a second to check them. */
const MAX_BYTES_CHECKED = 4 * 1024 * 1024
/** What decides who is let in is checked however large the rest is. */
const TABLES_CHECKED = ['withdrawals', 'device_families', 'enrolment_codes', 'login_session']

function mustBeSound(database: Database): void {
  const size = database
    .query<{ bytes: number }, []>(
      `SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size`,
    )
    .get()
  const isSmall = (size?.bytes ?? 0) <= MAX_BYTES_CHECKED
  const tables = isSmall ? [undefined] : TABLES_CHECKED
  if (tables.some((table) => damageOf(database, table) !== undefined)) {
    throw new StoreUnusable('corrupt')
  }
}

function passingFile(): string {
  const file = join(tmpdir(), `postern-${crypto.randomUUID()}.db`)
  process.on('exit', () => {
    for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true })
  })
  return file
}
