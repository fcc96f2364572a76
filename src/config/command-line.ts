// Parses the words after `postern` if they name no command: a flag for each setting, with every mistake.
// Loaded only if there are words, which saves 2 MB in a gate that its environment configures.

import { Command, CommanderError, Option } from 'commander'
import type { OpenDocument } from './from-document.ts'
import { DOCUMENT_FLAG, DOCUMENT_VARIABLE, type ProcessEnvironment } from './given.ts'
import type { Mistake } from './kinds.ts'
import { nearest } from './nearest.ts'
import { COMMANDS, type Invocation, readSettings } from './read.ts'
import { flagOf, type Group, KEYS, settingOf } from './table.ts'
import { version } from '../version.ts'

export function readInvocation(
  args: readonly string[],
  env: ProcessEnvironment,
  open?: OpenDocument,
): Invocation {
  let shown = ''
  const command = commandLine((text) => {
    shown += text
  })
  const mistakes: Mistake[] = []
  try {
    command.parse([...args], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) return { kind: 'text', text: shown }
    // Only the last flag can lack its value. It is left out, so that the other words are checked too.
    const last = args.at(-1) ?? ''
    mistakes.push({ setting: last, message: 'lacks its value', hint: `write ${last} <value>` })
    command.parse(args.slice(0, -1), { from: 'user' })
  }
  const words: string[] = []
  let flagBefore = false
  for (const word of command.args) {
    if (word.startsWith('-')) {
      const name = /^(?:--[A-Za-z-]*|-[A-Za-z]?)/.exec(word)?.[0] ?? '-'
      mistakes.push({ setting: name, message: 'is not a flag', hint: nearestFlag(command, name) })
    } else if (!flagBefore) {
      words.push(word)
    }
    // The next word was meant as its value.
    flagBefore = word.startsWith('-') && !word.includes('=')
  }
  const name = COMMANDS.find((each) => each === (words[0] ?? 'serve'))
  const extra = name === undefined ? words : words.slice(1)
  for (const word of extra) {
    mistakes.push({
      setting: /^[a-z][a-z-]{0,15}$/.test(word) ? word : 'an argument',
      message: 'is not a command',
      hint: 'postern help lists the commands',
    })
  }

  return readSettings(name, command.opts(), mistakes, env, open)
}

const MIN_HELP_COLUMNS = 24

function commandLine(write: (text: string) => void): Command {
  const command = new Command('postern')
    .description('A private gate for LLM inference: authenticates, admits, streams, records.')
    .argument(
      '[command]',
      'serve (the default); check: try settings, key set and upstream; config: print the document that says the same',
    )
    .version(version, '-V, --version', 'Show version, commit and runtime.')
    .helpOption('-h, --help', 'Show this.')
    // Unknown words are collected and reported together with everything else that is wrong.
    .allowUnknownOption()
    .allowExcessArguments()
    .exitOverride()
    // The longest flag leaves 36 columns of 80.
    .configureHelp({ minWidthToWrap: MIN_HELP_COLUMNS })
    .configureOutput({ writeOut: write, writeErr: () => {} })
  command.addOption(
    new Option(
      `${DOCUMENT_FLAG} <file>`,
      `A document of settings, .yaml, .toml or .json. (env: ${DOCUMENT_VARIABLE})`,
    ),
  )
  for (const key of KEYS) {
    const { env, group, kind, about, fallback, devFallback, secret } = settingOf(key)
    const notes = [`env: ${env}`]
    if (fallback !== undefined) notes.push(`default: ${fallback}`)
    if (devFallback !== undefined) notes.push(`in development mode: ${devFallback}`)
    command.addOption(
      new Option(`${flagOf(env)} ${kind.placeholder}`, `${about} (${notes.join(', ')})`).helpGroup(
        heading(group),
      ),
    )
    if (secret) {
      const file = `${env}_FILE`
      command.addOption(
        new Option(`${flagOf(file)} <path>`, `A file that holds ${env}. (env: ${file})`).helpGroup(
          heading(group),
        ),
      )
    }
  }
  return command
}

const heading = (group: Group): string => `${group}:`

function nearestFlag(command: Command, flag: string): string {
  const known = command.options.map((option) => option.long ?? '')
  const stem = flag.replaceAll('-', '')
  const begun = known.find((each) => {
    const other = each.replaceAll('-', '')
    return stem !== '' && (other.startsWith(stem) || stem.startsWith(other))
  })
  const close = begun ?? (stem === '' ? undefined : nearest(flag, known))
  return close ? `did you mean ${close}?` : 'postern --help shows every flag'
}
