// Opens the file of a gate that may be running, for one command. The gate's own setting names the
// file. No gate is asked, none has to run, and no file is created: a code in a database that no gate
// reads would be useless.

import { type Database, SQLiteError } from 'bun:sqlite'
import { resolve } from 'node:path'
import type { ProcessEnvironment } from '../../config/given.ts'
import { readSetting } from '../../config/read.ts'
import { ADVICE } from '../../database/advice.ts'
import { troubleOf, type Unusable } from '../../database/trouble.ts'
import { store } from '../../database/store.ts'
import { TABLES } from '../../gate/migrations.ts'
import { EXIT } from '../exit.ts'
import { failed } from './subcommand.ts'

/** The exit code of `work`, or of why there is no database. */
export async function withDatabase(
  env: ProcessEnvironment,
  mode: 'read' | 'existing',
  work: (database: Database) => number | Promise<number>,
): Promise<number> {
  const path = readSetting('databaseUrl', env)
  if (!path.ok) return failed(`DATABASE_URL ${path.message}: ${path.hint}`, EXIT.config)
  const file = path.value ?? ''
  if (file === ':memory:') {
    return failed(
      'DATABASE_URL is sqlite::memory:, which is inside the gate alone\n' +
        '    give the gate and this command a file: DATABASE_URL=sqlite:/path/to/postern.db',
      EXIT.failed,
    )
  }
  const opened = store(file, TABLES).open({ mode })
  if (!opened.ok) return unusable(file, opened.reason)
  try {
    return await work(opened.database)
  } catch (error) {
    if (!(error instanceof SQLiteError)) throw error
    return unusable(file, troubleOf(error))
  } finally {
    opened.database.close()
  }
}

function unusable(file: string, reason: Unusable): number {
  const { what, todo } = ADVICE[reason]
  return failed(
    `the database cannot be used: ${reason}; DATABASE_URL names its file\n` +
      `    ${resolve(file)}: ${what}\n    ${todo}`,
    EXIT.failed,
  )
}
