// `postern audit`: its options. The work is done in ../audit.ts.

import { audited } from '../audit.ts'
import { EXIT } from '../exit.ts'
import { readDay } from '../usage.ts'
import { output } from './output.ts'
import { failed, subcommand } from './subcommand.ts'
import { withRecords } from './with-records.ts'

interface AuditFlags {
  readonly since: string
  readonly json?: boolean
}

export const audit = subcommand<AuditFlags>({
  name: 'audit',
  summary: 'what was done to devices and keys, by whom and when',
  description: 'Shows enrolments, keys, revocations and what else the operator and the gate did.',
  define(command) {
    command
      .option('--since <date>', 'First day: 2026-11-01, today, 7d (seven days), all.', '30d')
      .option('--json', 'One JSON list, for a program.')
      .allowExcessArguments(false)
  },
  readsSettings: true,
  run({ flags: { since, json = false } }, env) {
    const sinceMs = since === 'all' ? 0 : readDay(since, Date.now())
    if (sinceMs === undefined) {
      return failed(
        '--since is not a date\n    give 2026-11-01, today, 7d or all',
        EXIT.usage,
        'audit',
      )
    }
    return withRecords(env, 'read', async (records) => {
      await audited(records.audit, { sinceSeconds: sinceMs / 1000, json }, output)
      return 0
    })
  },
})
