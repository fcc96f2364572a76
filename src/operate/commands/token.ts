// `postern token`: its options. The work is done in ../token.ts.

import { token as tokenOf } from '../token.ts'
import { connection, type GateFlags, gateOption, orMistake } from './gate.ts'
import { io } from './output.ts'
import { subcommand } from './subcommand.ts'

interface TokenFlags extends GateFlags {
  readonly refresh?: boolean
}

export const token = subcommand<TokenFlags>({
  name: 'token',
  summary: "prints that token, for Claude Code's apiKeyHelper",
  description: 'Prints the present token, refreshed where it is time.',
  define(command) {
    gateOption(command)
    command.option('--refresh', 'A newer one than the present.').allowExcessArguments(false)
  },
  run({ flags }, env) {
    const { refresh = false } = flags
    return orMistake(() => tokenOf({ connect: connection(flags, env), refresh }, io))
  },
})
