// The process: reads the settings or exits with 78, runs one command, handles signals, and survives
// stray errors.

import { namesDocument } from './config/given.ts'
import { type Invocation, readSettings } from './config/read.ts'
import { isMissing } from './config/missing.ts'
import type { Mistake } from './config/kinds.ts'
import { waysToRun } from './config/ways.ts'
import { describeBug, type Logger, logger } from './log.ts'
import { type LogOutput, logOutput } from './log-output.ts'
import { banner } from './operate/banner.ts'
import { stderr, stdout } from './print.ts'
import { startTrouble } from './gate/file-trouble.ts'
import { type Gate, serve } from './gate/serve.ts'
import { readNamedFiles } from './gate/named-files.ts'
import { type Reload, reloading } from './gate/reload.ts'
import type { Configuration } from './gate/reload-change.ts'
import { filesOf } from './gate/settings-files.ts'
import { obeySignals } from './signals.ts'
import { type Sources, sources } from './gate/sources.ts'

/** sysexits.h: EX_USAGE, EX_CONFIG and EX_IOERR. */
const EXIT_USAGE = 64
const EXIT_CONFIG = 78
const EXIT_IO = 74

/** How long the log's last lines may take if the reader is slow. */
const LAST_LINES_MS = 1000

/** When memory that only the start needed is given back: 2 MB, for 1 ms of the first request. */
const AFTER_START_MS = 100

async function main(): Promise<void> {
  const args = Bun.argv.slice(2)
  // A gate configured by its environment has no arguments, and never loads the commands.
  const commands = args.length > 0 ? await import('./operate/commands.ts') : undefined
  const asked = commands?.interpret(args)
  if (asked?.kind === 'command') exitAfter(await asked.run(process.env))
  const words = asked?.args ?? args
  const open = namesDocument(words, process.env) ? (await documents()).openDocument : undefined
  const read = (): Invocation =>
    asked?.read(process.env, open) ?? readSettings('serve', undefined, [], process.env, open)
  const invocation = read()
  if (invocation.kind === 'text') {
    stdout.write(commands?.withCommands(invocation.text) ?? invocation.text)
    exitAfter(0)
  }
  if (invocation.kind === 'mistakes') {
    const { mistakes, noWayChosen } = invocation
    const unknown = commands?.unknownCommand(asked?.args[0])
    // Somebody who mistyped a command did not mean to start a gate, and needs none of its settings.
    if (unknown !== undefined && mistakes.filter((each) => !isMissing(each)).length === 1) {
      stderr.write(unknown)
      process.exit(EXIT_USAGE)
    }
    stderr.write(describe(mistakes) + (noWayChosen ? waysToRun() : ''))
    process.exit(EXIT_CONFIG)
  }
  const { settings, command } = invocation
  if (command === 'config') {
    const { printDocument } = await import('./config/document/print.ts')
    stdout.write(printDocument(invocation))
    exitAfter(0)
  }
  const files = readNamedFiles(settings, Date.now())
  if (!files.ok) {
    stderr.write(describe(files.mistakes))
    process.exit(EXIT_CONFIG)
  }
  const { named } = files
  const from = await sources(settings, named.certificates)
  const warnings = [...invocation.warnings, ...named.warnings]
  if (command === 'check') {
    const { check } = await import('./operate/check.ts')
    exitAfter((await check(from, settings, warnings)) ? 0 : 1)
  }
  const color = stdout.isTTY && (process.env['NO_COLOR'] ?? '') === ''
  const output = logOutput()
  const log = logger(settings, color, output)
  survive(log)
  const stop = obeySignals(log, (exitCode) => {
    void output.finish(LAST_LINES_MS).then(() => process.exit(exitCode))
  })
  for (const warning of warnings) log.warn(warning)
  const running = await listen(() => serve({ settings, named }, from, log))
  const reload = reloadOf({ ...invocation, named }, read, running, log)
  if (reload) stop.reloadWith(() => reload.now())
  stop.drainWith(() => {
    reload?.stop()
    return running.drain()
  })
  announce(running, from, log, output)
  // Deprecated without a successor: `Bun.gc` gives back a third of it.
  setTimeout(() => Bun.shrink(), AFTER_START_MS).unref()
}

/** Undefined if no file holds settings: a process's environment cannot change. */
function reloadOf(
  first: Started,
  read: () => Invocation,
  gate: Gate,
  log: Logger,
): Reload | undefined {
  if (first.settings.devMode) return undefined
  const files = filesOf(first)
  if (files.length === 0) return undefined
  return reloading({
    first,
    files,
    warnings: [...first.warnings, ...first.named.warnings],
    log,
    exchange: (next) => gate.exchange(next),
    reread() {
      const again = read()
      if (again.kind !== 'run') {
        return { ok: false, mistakes: again.kind === 'mistakes' ? again.mistakes : [] }
      }
      const { settings } = again
      const files = readNamedFiles(settings, Date.now())
      if (!files.ok) return files
      const configuration = { settings, named: files.named }
      const warnings = [...again.warnings, ...files.named.warnings]
      return { ok: true, configuration, files: filesOf(again), warnings }
    },
  })
}

type Started = Invocation & { readonly kind: 'run' } & Configuration

/** Reads documents; a gate without one never loads it. */
const documents = () => import('./config/document/open.ts')

/** A command whose output could not be written, although somebody wanted it, has failed. */
function exitAfter(exitCode: number): never {
  const failure = stdout.failure()
  if (failure !== undefined) {
    stderr.write(`postern: the output cannot be written: ${failure}\n`)
    process.exit(exitCode || EXIT_IO)
  }
  process.exit(exitCode)
}

function describe(mistakes: readonly Mistake[]): string {
  const count = mistakes.length === 1 ? '1 mistake' : `${mistakes.length} mistakes`
  const lines = mistakes.map(
    ({ setting, message, hint }) => `  ${setting} ${message}\n      ${hint}\n`,
  )
  return `postern: ${count} in the settings; nothing was started\n\n${lines.join('')}`
}

async function listen(start: () => Promise<Gate>): Promise<Gate> {
  try {
    return await start()
  } catch (error) {
    const code = (error as { code?: unknown }).code
    const trouble = startTrouble(error)
    if (trouble) {
      stderr.write(`postern: ${trouble.message}\n`)
      process.exit(trouble.isLasting ? EXIT_CONFIG : 1)
    }
    const inUse = code === 'EADDRINUSE' ? 'the port is taken; PORT chooses another' : code
    stderr.write(`postern: cannot listen: ${inUse ?? 'unknown error'}\n`)
    process.exit(1)
  }
}

function announce(
  { url, adminUrl, signInUrl }: Gate,
  { development }: Sources,
  log: Logger,
  output: LogOutput,
): void {
  if (development) output.write(banner(url, development))
  log.info({ address: url.host, admin: adminUrl?.host }, 'listening')
  if (!signInUrl) return
  const { href, origin } = signInUrl
  log.info({ page: href }, `sign in there, or with: postern login --gate ${origin}`)
}

/** A bug in one request must not end the others, and must be loud. */
function survive(log: Logger): void {
  const report = (kind: string) => (error: unknown) => {
    log.error(describeBug(error), kind)
  }
  process.on('unhandledRejection', report('unhandled rejection'))
  process.on('uncaughtException', report('uncaught exception'))
}

await main()
