// The commands beside the gate itself: the operator's, on the file of a gate that may be running, and
// those of a developer whose programs use one. A table and nothing else; what a command's words are,
// its file under commands/ says, and what it does, the file beside this one that is named there.

import { audit } from './commands/audit.ts'
import { devices } from './commands/devices.ts'
import { enrol } from './commands/enrol.ts'
import { exec } from './commands/exec.ts'
import { login } from './commands/login.ts'
import { logout } from './commands/logout.ts'
import { revoke } from './commands/revoke.ts'
import { setup } from './commands/setup.ts'
import { status } from './commands/status.ts'
import type { Subcommand } from './commands/subcommand.ts'
import { token } from './commands/token.ts'
import { spend } from './commands/spend.ts'
import { usage } from './commands/usage.ts'

/** In the order of the list that `postern --help` ends with. */
const COMMANDS: readonly Subcommand[] = [
  enrol,
  devices,
  revoke,
  audit,
  usage,
  spend,
  login,
  status,
  logout,
  exec,
  token,
  setup,
]

const SYNOPSIS_WIDTH = 20

const list = COMMANDS.map(
  ({ synopsis, summary }) => `  ${synopsis.padEnd(SYNOPSIS_WIDTH)}${summary}\n`,
)

export const COMMAND_HELP = `
Other commands; each has its own --help:
${list.join('')}`

/** Undefined where `name` is none of these. */
export function commandNamed(name: string | undefined): Subcommand['run'] | undefined {
  return COMMANDS.find((each) => each.name === name)?.run
}
