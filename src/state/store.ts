// The one file in which a gate keeps what must outlive it, with everybody's tables, and the
// connections to it. `:memory:` stands for a file that goes with the process: what several
// connections share cannot live in one of them.

import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Database } from 'bun:sqlite'
import { ENROLL_NAMES_SCHEMA, ENROLL_PRAGMAS, ENROLL_SCHEMA } from '../enroll/schema.ts'
import { LOGIN_SCHEMA } from '../login/schema.ts'
import { LEDGER_INDEXES, LEDGER_SCHEMA } from '../settle/ledger-schema.ts'
import { type Opened, openDatabase, type OpenOptions } from './database.ts'

/** In the order in which they came to be; only ever appended to. */
const SCHEMAS = [LEDGER_SCHEMA, ENROLL_SCHEMA, LOGIN_SCHEMA, LEDGER_INDEXES, ENROLL_NAMES_SCHEMA]

export interface Store {
  open(options?: OpenOptions): Opened
  /** With the caution that enrolment needs; throws where the file cannot be used. */
  openForEnrolment(): Database
}

export class StoreUnusable extends Error {}

export function store(path: string): Store {
  const file = path === ':memory:' ? passingFile() : path
  const open = (options: OpenOptions = {}): Opened => openDatabase(file, SCHEMAS, options)
  return {
    open,
    openForEnrolment() {
      const opened = open()
      if (!opened.ok) throw new StoreUnusable(opened.reason)
      opened.database.run(ENROLL_PRAGMAS)
      return opened.database
    },
  }
}

function passingFile(): string {
  const file = join(tmpdir(), `postern-${crypto.randomUUID()}.db`)
  process.on('exit', () => {
    for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true })
  })
  return file
}
