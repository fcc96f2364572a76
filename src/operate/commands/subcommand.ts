// A command of the table in ../commands.ts: its line in the list, and what it does. Arguments are
// parsed the same way for all commands made here: help and mistakes end a command before it does
// anything. This file knows no command by name.

import { Command, CommanderError } from 'commander'
import { type ProcessEnvironment, namesDocument } from '../../config/given.ts'
import type { PolicyEntries } from '../../config/policies.ts'
import { stderr, stdout } from '../../print.ts'
import { DOCUMENT_OPTION, type DocumentFlag, documentIn } from '../document-flag.ts'
import { EXIT } from '../exit.ts'

export interface Subcommand {
  readonly name: string
  /** Its name with its required arguments, such as `revoke NAME`. */
  readonly synopsis: string
  /** Its line in the list. */
  readonly summary: string
  /** Resolves with the exit code. */
  readonly run: (args: readonly string[], env: ProcessEnvironment) => Promise<number>
}

/** The arguments of one command; `words` are those that are not flags. */
export interface CommandInput<Flags> {
  readonly flags: Flags
  readonly words: readonly string[]
}

export interface Definition<Flags extends object> {
  readonly name: string
  /** Default: the name alone. */
  readonly synopsis?: string
  readonly summary: string
  /** The description in its own help. */
  readonly description: string
  /** Its flags and arguments. */
  readonly define: (command: Command) => void
  /** Its environment is completed by the document that `--config` or POSTERN_CONFIG names. */
  readonly readsSettings?: true
  readonly run: (
    given: CommandInput<Flags>,
    env: ProcessEnvironment,
    policies?: PolicyEntries,
  ) => Promise<number> | number
}

export function subcommand<Flags extends object = object>({
  name,
  synopsis = name,
  summary,
  description,
  define,
  readsSettings,
  run,
}: Definition<Flags>): Subcommand {
  return {
    name,
    synopsis,
    summary,
    async run(args, env) {
      const command = new Command(`postern ${name}`).description(description).exitOverride()
      command.helpOption('-h, --help', 'Show this.')
      command.configureOutput({
        writeOut: stdout.write,
        writeErr: stderr.write,
        outputError(words, write) {
          write(`postern ${name}: ${words.replace(/^error: /, '')}`)
          write(`    postern help ${name} shows its options\n`)
        },
      })
      define(command)
      if (readsSettings) command.option(...DOCUMENT_OPTION)
      try {
        command.parse([...args], { from: 'user' })
      } catch (error) {
        if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT.usage
        throw error
      }
      const flags = command.opts<Flags & DocumentFlag>()
      const given = { flags, words: command.args }
      return readsSettings
        ? withDocument(documentIn(flags, env), name, (...whole) => run(given, ...whole))
        : run(given, env)
    },
  }
}

/** `run` with an environment that the document completes, where POSTERN_CONFIG names one. */
export async function withDocument(
  env: ProcessEnvironment,
  name: string,
  /** `policies`: those of the document; undefined if there is none. */
  run: (env: ProcessEnvironment, policies?: PolicyEntries) => Promise<number> | number,
): Promise<number> {
  if (!namesDocument([], env)) return run(env)
  const { completed } = await import('../../config/document/open.ts')
  const whole = completed(env)
  if (whole.ok) return run(whole.env, whole.policies)
  const mistakes = whole.mistakes.map(
    ({ setting, message, hint }) => `${setting} ${message}\n    ${hint}`,
  )
  return failed(mistakes.join('\n'), EXIT.config, name)
}

/** Reports the failure and returns the exit code; `name` is the command, if it was used wrongly. */
export function failed(message: string, code: number, name?: string): number {
  stderr.write(`postern${name === undefined ? '' : ` ${name}`}: ${message}\n`)
  return code
}
