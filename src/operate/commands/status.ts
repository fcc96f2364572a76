// `postern status`: its options. The work is done in ../login-status.ts.

import { status as statusOf } from '../login-status.ts'
import { gateOf, type GateFlags, localGateOption } from './gate.ts'
import { io } from './output.ts'
import { subcommand } from './subcommand.ts'

interface StatusFlags extends GateFlags {
  readonly json?: boolean
}

export const status = subcommand<StatusFlags>({
  name: 'status',
  summary: 'says whether you are signed in, until when, and for what',
  description: 'Says whether you are signed in (0) or not (1), until when, and for what.',
  define(command) {
    localGateOption(command)
    command.option('--json', 'For a program.')
  },
  run: ({ flags }, env) => statusOf({ baseUrl: gateOf(flags, env), json: flags.json }, io),
})
