// `postern exec`: its options. The work is done in ../exec.ts.

import { exec as execWith } from '../exec.ts'
import { CODE_VARIABLE, connection, type GateFlags, gateOption, orMistake } from './gate.ts'
import { io } from './output.ts'
import { subcommand } from './subcommand.ts'

export const exec = subcommand<GateFlags>({
  name: 'exec',
  synopsis: 'exec -- COMMAND…',
  summary: 'runs a program with the token of a device or a sign-in',
  description: "Runs a command with a device's token in its environment.",
  define(command) {
    gateOption(command)
    command.argument('<command...>').passThroughOptions()
  },
  run({ flags, words }, env) {
    const withhold = [CODE_VARIABLE]
    return orMistake(() =>
      execWith({ command: words, connect: connection(flags, env), env, withhold }, io),
    )
  },
})
