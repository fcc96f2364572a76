// `postern enrol`: its options. The work is done in ../enroll.ts.

import { stderr } from '../../print.ts'
import {
  ENROL_FLAGS,
  enrol as enrolWith,
  type EnrolFlags,
  listEnrolments,
  readEnrolFlags,
} from '../enroll.ts'
import { EXIT } from '../exit.ts'
import { nowSeconds, output } from './output.ts'
import { subcommand } from './subcommand.ts'
import { withRecords } from './with-records.ts'

export const enrol = subcommand<EnrolFlags>({
  name: 'enrol',
  summary: 'makes a code with which a device may enrol',
  description: 'Makes a code with which a device may enrol, and prints it once.',
  define(command) {
    for (const { flags, about } of ENROL_FLAGS) command.option(flags, about)
    command.allowExcessArguments(false)
  },
  readsSettings: true,
  run({ flags }, env, policies) {
    if (flags.list) {
      return withRecords(env, 'existing', async ({ devices }) => {
        await listEnrolments(devices, output, nowSeconds())
        return 0
      })
    }
    const terms = readEnrolFlags(
      flags,
      policies?.policies.map(({ name }) => name),
    )
    if (!terms.ok) {
      for (const { setting, message, hint } of terms.mistakes) {
        stderr.write(`postern enrol: ${setting} ${message}\n    ${hint}\n`)
      }
      return EXIT.usage
    }
    return withRecords(env, 'existing', async ({ devices }) => {
      await enrolWith(devices, terms.value, output, nowSeconds())
      return 0
    })
  },
})
