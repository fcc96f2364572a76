// The gate's one database file and the connections to it. `:memory:` stands for a temporary file that is
// deleted with the process, because several connections cannot share a database in memory.

import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Logger } from '../log.ts'
import { type OpenedDatabase, openDatabase, type OpenOptions } from './database.ts'
import { follow, type DatabaseFollower } from './follow.ts'
import { type Inspection, inspect } from './inspect.ts'
import type { Tables } from './stand.ts'

export interface Store {
  /** For one piece of work, such as a command. */
  open(options?: OpenOptions): OpenedDatabase
  /** For a gate. Throws DatabaseUnusable if the file cannot be used. */
  follow(log: Pick<Logger, 'error' | 'info'>): DatabaseFollower
  /** For `postern check`; changes nothing. Undefined if the file is deleted with the process. */
  inspect(nowMs: number): Inspection | undefined
}

export function store(path: string, tables: Tables): Store {
  const { migrations, latest } = tables
  const file = path === ':memory:' ? temporaryFile() : path
  return {
    open: (options = {}) => openDatabase(file, migrations, { latest, ...options }),
    follow: (log) => follow(file, tables, log),
    inspect: (nowMs) => (path === ':memory:' ? undefined : inspect(path, migrations, nowMs)),
  }
}

function temporaryFile(): string {
  const file = join(tmpdir(), `postern-${crypto.randomUUID()}.db`)
  process.on('exit', () => {
    for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true })
  })
  return file
}
