// `postern exec -- COMMAND…`: runs any command with the gate in its environment. The command has our
// streams and we exit as it does. Its only credential is the device's token, or the session key of
// whoever signed in. An environment cannot be changed from outside, so a command that outlives its
// token needs `postern token` as a helper, as `postern setup claude-code` arranges.

import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import type { ConnectOptions, Environment, Result } from '../client/api.ts'
import { session } from '../client/session.ts'
import { claudeSettings, OTHER_CLOUDS, overriding, withoutCredentials } from './claude-settings.ts'
import { EXIT, exitCodeOf } from './exit.ts'
import { withoutToken, signedInEnvironment } from './kept-login.ts'

export interface ExecOptions {
  readonly command: readonly string[]
  readonly connect: ConnectOptions
  /** What the command inherits, before our variables are added. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Names of our own settings that hold a credential, such as the enrolment code. */
  readonly withhold?: readonly string[]
  /**
   * Default 5 minutes; with a gate that rejects retired tokens, less than its 10 s grace period.
   */
  readonly renewWhenLeftMs?: number
}

export interface CommandIo {
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown }
}

/**
 * Two credentials at once are 400 `ambiguous_credentials`, and a gate must not see the user's own
 * key.
 */
const FOREIGN_CREDENTIALS = ['ANTHROPIC_API_KEY', 'CLAUDE_CODE_OAUTH_TOKEN', ...OTHER_CLOUDS]

/**
 * While the command runs, the token is renewed as late as possible, not an hour before it expires:
 * an older gate rejects the token in the command's environment as soon as it has a successor.
 */
const RENEW_WHEN_LEFT_MS = 5 * 60_000

/** Resolves with the exit code. */
export async function exec(options: ExecOptions, io: CommandIo): Promise<number> {
  const [file, ...args] = options.command
  if (file === undefined || file === '') {
    io.stderr.write('postern exec: no command; try: postern exec -- claude\n')
    return EXIT.usage
  }
  const signedIn = await signedInEnvironment(options.connect)
  const environment = signedIn ?? (await enrolledEnvironment(options.connect))
  if (!environment.ok) {
    io.stderr.write(`postern exec: ${withoutToken(environment.problem, options.connect.baseUrl)}\n`)
    return exitCodeOf(environment.problem)
  }
  const env = { ...options.env }
  for (const name of [...FOREIGN_CREDENTIALS, ...(options.withhold ?? [])]) delete env[name]
  const { ANTHROPIC_CUSTOM_HEADERS: headers } = env
  if (headers !== undefined) env['ANTHROPIC_CUSTOM_HEADERS'] = withoutCredentials(headers)
  Object.assign(env, environment.value)
  const words = isClaudeCode(file)
    ? aimed(args, environment.value.ANTHROPIC_BASE_URL, env, io)
    : args

  // Before the command starts, so that a signal cannot end us and leave it behind.
  const relayed = relaySignals()
  const child = spawn(file, words, { stdio: 'inherit', env })
  relayed.to(child)
  const refreshWhenLeftMs = options.renewWhenLeftMs ?? RENEW_WHEN_LEFT_MS
  // The gate renews a sign-in itself.
  const keeper = signedIn ? undefined : session({ ...options.connect, refreshWhenLeftMs })
  void keeper?.start()
  try {
    const exitCode = await ended(child, file, io)
    // Only now, because the terminal was the command's. Its own message may have been of little
    // help.
    const status = keeper?.status
    if (status?.state === 'unavailable' && status.problem.code === 'enrollment_refused') {
      io.stderr.write(`postern exec: ${status.problem.message}\n`)
    }
    return exitCode
  } finally {
    keeper?.stop()
    relayed.end()
  }
}

const isClaudeCode = (file: string): boolean => /(?:^|[\\/])claude(?:\.exe|\.cmd)?$/.test(file)

/**
 * Claude Code's settings files take precedence over its environment: without a flag they would
 * choose the gate.
 */
function aimed(
  args: readonly string[],
  baseUrl: string,
  env: Readonly<Record<string, string | undefined>>,
  io: CommandIo,
): readonly string[] {
  const say = (text: string): unknown => io.stderr.write(`postern exec: ${text}\n`)
  const { settings, names, unheeded } = overriding(claudeSettings(env, process.cwd()), baseUrl)
  for (const file of unheeded) {
    say(`env.ANTHROPIC_AUTH_TOKEN in ${file} takes the place of the gate's token; remove it`)
  }
  if (settings === undefined) return args
  if (args.some((word) => /^--settings(?:=|$)/.test(word))) {
    say(`Claude Code's settings hold ${names.join(', ')}, which may make it bypass ${baseUrl}`)
    return args
  }
  say(`for this run ${baseUrl} overrides ${names.join(', ')} in Claude Code's settings`)
  return ['--settings', settings, ...args]
}

async function enrolledEnvironment(connect: ConnectOptions): Promise<Result<Environment>> {
  const device = session({ ...connect, background: false })
  const environment = await device.environment()
  device.stop()
  return environment
}

function ended(child: ChildProcess, file: string, io: CommandIo): Promise<number> {
  return new Promise((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      const missing = error.code === 'ENOENT'
      // Windows starts only .exe files by name; npm installs a .cmd.
      const hint =
        process.platform === 'win32' ? `; a .cmd is run with: postern exec -- cmd /c ${file}` : ''
      io.stderr.write(`postern exec: ${file}: ${missing ? 'not found' : 'cannot be run'}${hint}\n`)
      resolve(missing ? EXIT.notFound : EXIT.notExecutable)
    })
    child.once('exit', (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))
    })
  })
}

/** Signals from a terminal's keys go to every process in its foreground, including the command. */
const FROM_THE_KEYBOARD: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT', 'SIGWINCH']
const RELAYED: readonly NodeJS.Signals[] =
  process.platform === 'win32'
    ? ['SIGINT', 'SIGBREAK', 'SIGHUP']
    : [...FROM_THE_KEYBOARD, 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGCONT']

function relaySignals(): { to(child: ChildProcess): void; end(): void } {
  let child: ChildProcess | undefined
  const early: NodeJS.Signals[] = []
  const relay = (signal: NodeJS.Signals): void => {
    // Windows has no signals to send, and its console has already told the command.
    if (process.platform === 'win32') return
    // Two Ctrl-C are how one leaves Claude Code.
    if (FROM_THE_KEYBOARD.includes(signal) && inForeground()) return
    if (child) child.kill(signal)
    else early.push(signal)
  }
  for (const signal of RELAYED) process.on(signal, relay)
  return {
    to(started) {
      child = started
      for (const signal of early.splice(0)) child.kill(signal)
    },
    end() {
      for (const signal of RELAYED) process.off(signal, relay)
    },
  }
}

/**
 * Whether a terminal's keys reach our process group. Linux can tell; elsewhere a terminal suggests
 * it.
 */
function inForeground(): boolean {
  try {
    // proc_pid_stat(5): after the name in brackets: state, ppid, pgrp, session, tty_nr, tpgid.
    const stat = readFileSync('/proc/self/stat', 'utf8')
    const [, , pgrp, , , tpgid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return pgrp === tpgid
  } catch {
    return [process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY)
  }
}
