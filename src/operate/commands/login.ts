// `postern login`: its options. The work is done in ../login.ts.

import { login as logIn } from '../login.ts'
import { DEFAULT_GATE, gateOf, type GateFlags, localGateOption } from './gate.ts'
import { io } from './output.ts'
import { subcommand } from './subcommand.ts'

interface LoginFlags extends GateFlags {
  readonly browser?: boolean
  readonly print?: boolean
}

export const login = subcommand<LoginFlags>({
  name: 'login',
  summary: 'signs in, in a browser, where the gate is one that signs in',
  description: 'Signs in, in a browser, so that programs on this machine may use the gate.',
  define(command) {
    localGateOption(command)
    command
      .option('--browser', 'Open a browser even where this is not a terminal.')
      .option('--no-browser', 'Only print the link.')
      .option(
        '--print',
        'Print what a shell evaluates, with the key: eval "$(postern login --print)"',
      )
  },
  run({ flags }, env) {
    const { browser, gate, print } = flags
    const gateWords = gate === undefined || gate === DEFAULT_GATE ? [] : ['--gate', gate]
    return logIn({ baseUrl: gateOf(flags, env), gateWords, env, browser, print }, io)
  },
})
