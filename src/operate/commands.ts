// The commands besides the gate itself: those of the operator, on the file of a gate that may be
// running, and those of a developer whose programs use a gate. Only a table: a file under commands/
// defines each command's options, and names the file beside this one that does the work.

import { audit } from './commands/audit.ts'
import { devices } from './commands/devices.ts'
import { readInvocation } from '../config/command-line.ts'
import type { OpenDocument } from '../config/from-document.ts'
import type { ProcessEnvironment } from '../config/given.ts'
import { nearest } from '../config/nearest.ts'
import type { Invocation } from '../config/read.ts'
import { enrol } from './commands/enrol.ts'
import { exec } from './commands/exec.ts'
import { key } from './commands/key.ts'
import { login } from './commands/login.ts'
import { logout } from './commands/logout.ts'
import { revoke } from './commands/revoke.ts'
import { schema } from './commands/schema.ts'
import { setup } from './commands/setup.ts'
import { status } from './commands/status.ts'
import type { Subcommand } from './commands/subcommand.ts'
import { token } from './commands/token.ts'
import { spend } from './commands/spend.ts'
import { usage } from './commands/usage.ts'

/** In the order of the list in `postern --help`. */
const COMMANDS: readonly Subcommand[] = [
  enrol,
  devices,
  revoke,
  key,
  audit,
  usage,
  spend,
  login,
  status,
  logout,
  exec,
  token,
  setup,
  schema,
]

const SYNOPSIS_WIDTH = 20

const list = COMMANDS.map(
  ({ synopsis, summary }) => `  ${synopsis.padEnd(SYNOPSIS_WIDTH)}${summary}\n`,
)

/**
 * Inserts the commands before the hundred flags of the gate's help; returns any other text
 * unchanged.
 */
export function withCommands(text: string): string {
  return text.replace(
    /\n(?=Options:\n)/,
    `\nOther commands; postern help COMMAND shows its options:\n${list.join('')}\n`,
  )
}

/** Other names that people use for them. */
const OTHER_NAMES: ReadonlyMap<string, string> = new Map([
  ['enroll', 'enrol'],
  ['keys', 'key'],
  ['signin', 'login'],
  ['sign-in', 'login'],
  ['signout', 'logout'],
  ['sign-out', 'logout'],
  ['whoami', 'status'],
  ['run', 'exec'],
])

/** What the arguments after `postern` ask for. */
export type CommandAsked =
  | { readonly kind: 'command'; readonly run: (env: ProcessEnvironment) => Promise<number> }
  /** The gate's own arguments, as flags: `help` is `--help`. */
  | {
      readonly kind: 'gate'
      readonly args: readonly string[]
      readonly read: (env: ProcessEnvironment, open: OpenDocument | undefined) => Invocation
    }

export function interpret(given: readonly string[]): CommandAsked {
  const args = gateLast(given)
  const [name, ...rest] = args
  const command = commandNamed(name)
  if (command) return { kind: 'command', run: (env) => command.run(rest, env) }
  if (name === 'help') {
    const about = commandNamed(rest[0])
    const words = [...rest.slice(1), '--help']
    if (about) return { kind: 'command', run: (env) => about.run(words, env) }
    const known = rest[0] === undefined || GATE_COMMANDS.includes(rest[0])
    return gate(known ? ['--help'] : rest)
  }
  if (name === 'version' || name === '-v') return gate(['--version'])
  if (name === 'dev') return gate(['--dev-mode', ...rest])
  return gate(args)
}

const gate = (args: readonly string[]): CommandAsked => ({
  kind: 'gate',
  args,
  read: (env, open) => readInvocation(args, env, open),
})

/** `--gate URL exec …` means `exec --gate URL …`: the gate itself has no such flag. */
function gateLast(args: readonly string[]): readonly string[] {
  const flags = args[0] === '--gate' ? 2 : args[0]?.startsWith('--gate=') ? 1 : 0
  const name = args[flags]
  if (flags === 0 || name === undefined || !commandNamed(name)) return args
  return [name, ...args.slice(0, flags), ...args.slice(flags + 1)]
}

/** The message for a word that is not a command; undefined if it is one, or a flag. */
export function unknownCommand(word: string | undefined): string | undefined {
  if (word === undefined || !/^[a-z][a-z-]{0,30}$/i.test(word)) return undefined
  if (GATE_COMMANDS.includes(word)) return undefined
  const names = [...COMMANDS.map(({ name }) => name), ...GATE_COMMANDS, ...OTHER_NAMES.keys()]
  const near = nearest(word.toLowerCase(), names)
  const meant = near && `did you mean: postern ${OTHER_NAMES.get(near) ?? near}?`
  return `postern: ${word} is not a command\n    ${meant ?? 'postern help lists them'}\n`
}

const GATE_COMMANDS: readonly string[] = ['serve', 'check', 'config']

function commandNamed(name: string | undefined): Subcommand | undefined {
  const meant = OTHER_NAMES.get(name ?? '') ?? name
  return COMMANDS.find((each) => each.name === meant)
}
