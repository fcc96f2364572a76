// `postern devices`: its options. The work is done in ../devices.ts.

import { readSetting } from '../../config/read.ts'
import { stdout } from '../../print.ts'
import { devices as listDevices } from '../devices.ts'
import { EXIT } from '../exit.ts'
import { nowSeconds, output } from './output.ts'
import { failed, subcommand } from './subcommand.ts'
import { withRecords } from './with-records.ts'

interface DevicesFlags {
  readonly user?: string
  readonly org?: string
  readonly all?: boolean
  readonly json?: boolean
}

/** Further lines would scroll away unread. */
const MAX_LINES_ON_TERMINAL = 200

export const devices = subcommand<DevicesFlags>({
  name: 'devices',
  summary: 'who has enrolled: name, user, last seen, and policy',
  description: 'Lists the devices that have enrolled, the newest first.',
  define(command) {
    command
      .option('--user <id>', 'Only those of this user.')
      .option('--org <id>', 'Only those of this organisation.')
      .option('--all', 'Also those that were revoked, or have ended.')
      .option('--json', 'One JSON list, for a program.')
      .allowExcessArguments(false)
  },
  readsSettings: true,
  run({ flags: { user, org, all = false, json = false } }, env) {
    const days = readSetting('deviceIdleDays', env)
    if (!days.ok) return failed(`DEVICE_IDLE_DAYS ${days.message}: ${days.hint}`, EXIT.config)
    const idleSeconds = (days.value ?? 0) * 86_400
    const limit = stdout.isTTY ? MAX_LINES_ON_TERMINAL : Number.POSITIVE_INFINITY
    return withRecords(env, 'read', async (records) => {
      const question = { user, org, all, json, idleSeconds, limit }
      await listDevices(records.devices, question, output, nowSeconds())
      return 0
    })
  },
})
