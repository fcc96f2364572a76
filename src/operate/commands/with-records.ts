// Reads which database the settings name, and runs one command on what is in it.

import type { ProcessEnvironment } from '../../config/given.ts'
import { readSetting } from '../../config/read.ts'
import { type OperatorRecords, withRecords as opening } from '../../gate/records.ts'
import { EXIT } from '../exit.ts'
import { failed } from './subcommand.ts'

/** The exit code of `work`, or of why the database cannot be used. */
export async function withRecords(
  env: ProcessEnvironment,
  mode: 'read' | 'existing',
  work: (records: OperatorRecords) => Promise<number>,
): Promise<number> {
  const address = readSetting('databaseUrl', env)
  if (!address.ok) return failed(`DATABASE_URL ${address.message}: ${address.hint}`, EXIT.config)
  if (!address.value) return failed('DATABASE_URL is missing', EXIT.config)
  const done = await opening(address.value, mode, work)
  return done.ok ? done.value : failed(done.message, EXIT.failed)
}
