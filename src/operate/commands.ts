// The commands beside the gate itself: the operator's, on the file of a gate that may be running, and
// those of a developer whose programs use one. Each resolves with its exit code.

import type { Database } from 'bun:sqlite'
import { Command, CommanderError } from 'commander'
import { identifier } from '../admit/identity.ts'
import type { ConnectOptions } from '../client/api.ts'
import type { Environment } from '../config/given.ts'
import { readSetting } from '../config/read.ts'
import { store } from '../state/store.ts'
import {
  ENROL_FLAGS,
  enrol,
  type EnrolFlags,
  listEnrolments,
  readEnrolFlags,
  revokeByName,
} from './enroll.ts'
import { exec } from './exec.ts'
import { EXIT } from './exit.ts'
import { login } from './login.ts'
import { logout, status } from './login-status.ts'
import { helperCommand, setupClaudeCode } from './setup-claude-code.ts'
import { token } from './token.ts'
import { readUsageArguments, usage } from './usage.ts'

/** Where `just dev` listens. */
const DEFAULT_GATE = 'http://127.0.0.1:5381'

type Run = (args: readonly string[], env: Environment) => Promise<number>

const COMMANDS: Readonly<Record<string, Run>> = {
  enrol: runEnrol,
  revoke: runRevoke,
  usage: runUsage,
  exec: runExec,
  token: runToken,
  setup: runSetup,
  login: runLogin,
  status: runStatus,
  logout: runLogout,
}

export const COMMAND_HELP = `
Other commands; each has its own --help:
  enrol               makes a code with which a device may enrol
  revoke NAME         ends a device, a family, a token or a code, on a running gate too
  usage               what was used, by day, model, device or organisation
  login               signs in, in a browser, where the gate is one that signs in
  status              says whether you are signed in, until when, and for what
  logout              ends the sign-in
  exec -- COMMAND…    runs a program with the token of a device, or of who signed in
  token               prints that token, for Claude Code's apiKeyHelper
  setup claude-code   points Claude Code at a gate, after showing what it would change
`

/** Undefined where `name` is none of these. */
export function commandNamed(name: string | undefined): Run | undefined {
  return name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
}

const output = {
  stdout: (text: string): void => void process.stdout.write(text),
  stderr: (text: string): void => void process.stderr.write(text),
}

function failed(message: string, code: number): number {
  process.stderr.write(`postern: ${message}\n`)
  return code
}

/** The words of one command, or the exit code where they end it: help, or a mistake. */
function parsed<T extends object>(
  name: string,
  about: string,
  args: readonly string[],
  define: (command: Command) => void,
): { readonly flags: T; readonly words: readonly string[] } | number {
  const command = new Command(`postern ${name}`).description(about).exitOverride()
  command.helpOption('-h, --help', 'Show this.')
  define(command)
  try {
    command.parse([...args], { from: 'user' })
    return { flags: command.opts<T>(), words: command.args }
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT.usage
    throw error
  }
}

function withDatabase(
  env: Environment,
  mode: 'read' | 'write',
  work: (database: Database) => number,
): number {
  const path = readSetting('databaseUrl', env)
  if (!path.ok) return failed(`DATABASE_URL ${path.message}: ${path.hint}`, EXIT.config)
  const opened = store(path.value ?? '').open({ mode })
  if (!opened.ok)
    return failed(
      `the database cannot be used: ${opened.reason}; DATABASE_URL names its file`,
      EXIT.failed,
    )
  try {
    return work(opened.database)
  } finally {
    opened.database.close()
  }
}

const nowSeconds = (): number => Date.now() / 1000

async function runEnrol(args: readonly string[], env: Environment): Promise<number> {
  const read = parsed<EnrolFlags>(
    'enrol',
    'Makes a code with which a device may enrol, and prints it once.',
    args,
    (command) => {
      for (const { flags, about } of ENROL_FLAGS) command.option(flags, about)
      command.allowExcessArguments(false)
    },
  )
  if (typeof read === 'number') return read
  if (read.flags.list) {
    return withDatabase(env, 'write', (database) => {
      listEnrolments(database, output, nowSeconds())
      return 0
    })
  }
  const terms = readEnrolFlags(read.flags)
  if (!terms.ok) {
    for (const { setting, message, hint } of terms.mistakes) {
      process.stderr.write(`postern enrol: ${setting} ${message}\n    ${hint}\n`)
    }
    return EXIT.usage
  }
  return withDatabase(env, 'write', (database) => {
    enrol(database, terms.value, output, nowSeconds())
    return 0
  })
}

async function runRevoke(args: readonly string[], env: Environment): Promise<number> {
  const read = parsed(
    'revoke',
    'Ends a device, a family (fam_…), a token (tok_…) or a code (code:N).',
    args,
    (command) => command.argument('<name>').allowExcessArguments(false),
  )
  if (typeof read === 'number') return read
  const key = readSetting('identityHashKey', env)
  if (!key.ok) return failed(`IDENTITY_HASH_KEY ${key.message}: ${key.hint}`, EXIT.config)
  const name = read.words[0] ?? ''
  return withDatabase(env, 'write', (database) =>
    revokeByName(database, name, identifier(key.value), output, nowSeconds()),
  )
}

async function runUsage(args: readonly string[], env: Environment): Promise<number> {
  const read = readUsageArguments(args, Date.now())
  if (read.kind === 'mistake') return failed(`${read.message}\n    ${read.hint}`, EXIT.usage)
  if (read.kind === 'text') {
    process.stdout.write(read.text)
    return 0
  }
  const onTerminal = process.stdout.isTTY === true
  const color = onTerminal && (env['NO_COLOR'] ?? '') === ''
  return withDatabase(env, 'read', (database) => {
    process.stdout.write(usage(database, read.question, { shorten: onTerminal, color }))
    return 0
  })
}

interface GateFlags {
  readonly gate?: string
  readonly refresh?: boolean
  readonly file?: string
  readonly yes?: boolean
  readonly browser?: boolean
  readonly print?: boolean
  readonly json?: boolean
}

/** An enrolment code comes by the environment, where other users of the machine can't list it. */
const CODE_VARIABLE = 'POSTERN_CODE'

function gateOption(command: Command): void {
  command.option(
    '--gate <url>',
    `The gate. (env: POSTERN_GATE, default: ${DEFAULT_GATE}; a code to enrol with: ${CODE_VARIABLE})`,
  )
}

/** No sign-in crosses a network. */
function localGateOption(command: Command): void {
  command
    .option(
      '--gate <url>',
      `The gate, on this machine. (env: POSTERN_GATE, default: ${DEFAULT_GATE})`,
    )
    .allowExcessArguments(false)
}

function gateOf(flags: GateFlags, env: Environment): string {
  return flags.gate ?? (env['POSTERN_GATE'] || DEFAULT_GATE)
}

function connection(flags: GateFlags, env: Environment): ConnectOptions {
  return { baseUrl: gateOf(flags, env), enrollment: env[CODE_VARIABLE] || undefined }
}

/** A wrong address is a mistake of the caller's, and the only thing that throws. */
async function orMistake(work: () => Promise<number>): Promise<number> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof TypeError)
      return failed('the gate must be https, or http on loopback', EXIT.usage)
    throw error
  }
}

async function runExec(args: readonly string[], env: Environment): Promise<number> {
  const read = parsed<GateFlags>(
    'exec',
    "Runs a command with a device's token in its environment.",
    args,
    (command) => {
      gateOption(command)
      command.argument('<command...>').passThroughOptions()
    },
  )
  if (typeof read === 'number') return read
  const { flags, words } = read
  const withhold = [CODE_VARIABLE]
  return orMistake(() =>
    exec({ command: words, connect: connection(flags, env), env, withhold }, process),
  )
}

async function runToken(args: readonly string[], env: Environment): Promise<number> {
  const read = parsed<GateFlags>(
    'token',
    'Prints the present token, refreshed where it is time.',
    args,
    (command) => {
      gateOption(command)
      command.option('--refresh', 'A newer one than the present.').allowExcessArguments(false)
    },
  )
  if (typeof read === 'number') return read
  const { flags } = read
  return orMistake(() =>
    token({ connect: connection(flags, env), refresh: flags.refresh === true }, process),
  )
}

async function runSetup(args: readonly string[], env: Environment): Promise<number> {
  const read = parsed<GateFlags>(
    'setup',
    "Writes this gate into Claude Code's settings, after showing the change.",
    args,
    (command) => {
      gateOption(command)
      command
        .argument('<program>', 'claude-code')
        .option('--file <path>', "The settings file, in place of Claude Code's own.")
        .option('--yes', 'Do not ask.')
        .allowExcessArguments(false)
    },
  )
  if (typeof read === 'number') return read
  const { flags, words } = read
  if (words[0] !== 'claude-code') return failed('only claude-code can be set up', EXIT.usage)
  const baseUrl = gateOf(flags, env)
  const helper = helperCommand('--gate', baseUrl)
  return setupClaudeCode({ baseUrl, helper, file: flags.file, yes: flags.yes }, process)
}

async function runLogin(args: readonly string[], env: Environment): Promise<number> {
  const read = parsed<GateFlags>(
    'login',
    'Signs in, in a browser, so that programs on this machine may use the gate.',
    args,
    (command) => {
      localGateOption(command)
      command
        .option('--browser', 'Open a browser even where this is no terminal.')
        .option('--no-browser', 'Only print the link.')
        .option(
          '--print',
          'Print what a shell evaluates, with the key: eval "$(postern login --print)"',
        )
    },
  )
  if (typeof read === 'number') return read
  const { browser, gate, print } = read.flags
  const gateWords = gate === undefined || gate === DEFAULT_GATE ? [] : ['--gate', gate]
  return login({ baseUrl: gateOf(read.flags, env), gateWords, env, browser, print }, process)
}

async function runStatus(args: readonly string[], env: Environment): Promise<number> {
  const read = parsed<GateFlags>(
    'status',
    'Says whether you are signed in (0) or not (1), until when, and for what.',
    args,
    (command) => {
      localGateOption(command)
      command.option('--json', 'For a program.')
    },
  )
  if (typeof read === 'number') return read
  return status({ baseUrl: gateOf(read.flags, env), json: read.flags.json }, process)
}

async function runLogout(args: readonly string[], env: Environment): Promise<number> {
  const read = parsed<GateFlags>(
    'logout',
    'Ends the sign-in at the gate, and forgets its key here.',
    args,
    localGateOption,
  )
  if (typeof read === 'number') return read
  return logout({ baseUrl: gateOf(read.flags, env) }, process)
}
