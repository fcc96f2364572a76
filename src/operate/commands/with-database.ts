// The file of a gate that may be running, for as long as one command's work: found by the gate's own
// setting, opened, and closed whatever comes of it. No gate is asked, nor has one to run.

import type { Database } from 'bun:sqlite'
import type { Environment } from '../../config/given.ts'
import { readSetting } from '../../config/read.ts'
import { store } from '../../state/store.ts'
import { EXIT } from '../exit.ts'
import { failed } from './subcommand.ts'

/** The exit code of `work`, or of why there is no database. */
export function withDatabase(
  env: Environment,
  mode: 'read' | 'write',
  work: (database: Database) => number,
): number {
  const path = readSetting('databaseUrl', env)
  if (!path.ok) return failed(`DATABASE_URL ${path.message}: ${path.hint}`, EXIT.config)
  const opened = store(path.value ?? '').open({ mode })
  if (!opened.ok)
    return failed(
      `the database cannot be used: ${opened.reason}; DATABASE_URL names its file`,
      EXIT.failed,
    )
  try {
    return work(opened.database)
  } finally {
    opened.database.close()
  }
}
