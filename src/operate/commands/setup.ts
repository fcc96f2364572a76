// `postern setup claude-code`: its options. The work is done in ../setup-claude-code.ts.

import { EXIT } from '../exit.ts'
import { helperCommand, setupClaudeCode } from '../setup-claude-code.ts'
import { gateOf, type GateFlags, gateOption } from './gate.ts'
import { io } from './output.ts'
import { failed, subcommand } from './subcommand.ts'

interface SetupFlags extends GateFlags {
  readonly file?: string
  readonly yes?: boolean
}

export const setup = subcommand<SetupFlags>({
  name: 'setup',
  synopsis: 'setup claude-code',
  summary: 'points Claude Code at a gate, after showing the change',
  description: "Writes this gate into Claude Code's settings, after showing the change.",
  define(command) {
    gateOption(command)
    command
      .argument('<program>', 'claude-code')
      .option('--file <path>', "The settings file, in place of Claude Code's own.")
      .option('--yes', 'Do not ask.')
      .allowExcessArguments(false)
  },
  run({ flags, words }, env) {
    if (words[0] !== 'claude-code')
      return failed(
        'only one program can be set up\n    postern setup claude-code',
        EXIT.usage,
        'setup',
      )
    const baseUrl = gateOf(flags, env)
    const helper = helperCommand('--gate', baseUrl)
    return setupClaudeCode({ baseUrl, helper, file: flags.file, yes: flags.yes, env }, io)
  },
})
