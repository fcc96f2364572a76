// The one file in which a gate keeps what must outlive it, with everybody's tables, and the
// connections to it. `:memory:` stands for a file that goes with the process: what several
// connections share cannot live in one of them.

import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ENROLL_NAMES_SCHEMA, ENROLL_SCHEMA, ENROLL_UNFINISHED_SCHEMA } from '../enroll/schema.ts'
import { LOGIN_SCHEMA } from '../login/schema.ts'
import {
  LEDGER_INDEXES,
  LEDGER_SCHEMA,
  LEDGER_TOOLS,
  SPEND_CORRECTIONS,
} from '../ledger/sqlite/schema.ts'
import type { Logger } from '../log.ts'
import { type Opened, openDatabase, type OpenOptions } from './database.ts'
import { follow, type Followed } from './follow.ts'
import { type Inspection, inspect } from './inspect.ts'

/** In the order in which they came to be; only ever appended to. */
const SCHEMAS = [
  LEDGER_SCHEMA,
  ENROLL_SCHEMA,
  LOGIN_SCHEMA,
  LEDGER_INDEXES,
  ENROLL_NAMES_SCHEMA,
  LEDGER_TOOLS,
  SPEND_CORRECTIONS,
  ENROLL_UNFINISHED_SCHEMA,
]

/** What decides who is let in is checked at each start. */
const CHECKED = ['withdrawals', 'device_families', 'enrolment_codes', 'login_session']

export interface Store {
  /** For one piece of work, as a command's. */
  open(options?: OpenOptions): Opened
  /** For a gate. Throws DatabaseUnusable where the file cannot be used. */
  follow(log: Pick<Logger, 'error' | 'info'>): Followed
  /** For `postern check`; changes nothing. Undefined where the file goes with the process. */
  inspect(nowMs: number): Inspection | undefined
}

export function store(path: string): Store {
  const file = path === ':memory:' ? passingFile() : path
  return {
    open: (options = {}) => openDatabase(file, SCHEMAS, options),
    follow: (log) => follow(file, { schemas: SCHEMAS, checked: CHECKED }, log),
    inspect: (nowMs) => (path === ':memory:' ? undefined : inspect(path, SCHEMAS, nowMs)),
  }
}

function passingFile(): string {
  const file = join(tmpdir(), `postern-${crypto.randomUUID()}.db`)
  process.on('exit', () => {
    for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true })
  })
  return file
}
