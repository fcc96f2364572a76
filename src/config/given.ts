// The text that was given for a setting, and its source: a flag, else its variable, or the file that one of
// them names for a secret. A flag wins over its variable; a secret that is also given as a file is a mistake.
// This file interprets no text and knows no defaults.

import type { Mistake } from './kinds.ts'
import { readSecretFile } from './secret-file.ts'
import { flagOf, type Setting } from './table.ts'

export type ProcessEnvironment = Readonly<Record<string, string | undefined>>
/** Flags as commander returns them, by names in camel case; undefined if there is no command line. */
export type Flags = Readonly<Record<string, unknown>> | undefined

export interface Given {
  /** The flag or variable, for mistakes. */
  readonly from: string
  readonly text: string
  /** How a document gives it without revealing a secret; absent if it can give the text itself. */
  readonly written?: Written
}

/** A value with its `${VARIABLE}` references, or the path that `NAME_file` gives. */
export type Written = { readonly value: string | readonly string[] } | { readonly file: string }

/** The document's file. It is not a setting, because a document cannot name itself. */
export const DOCUMENT_VARIABLE = 'POSTERN_CONFIG'
export const DOCUMENT_FLAG = '--config'

/** Whether the code that reads documents is needed. */
export function namesDocument(args: readonly string[], env: ProcessEnvironment): boolean {
  return (
    (env[DOCUMENT_VARIABLE] ?? '') !== '' || args.some((each) => each.startsWith(DOCUMENT_FLAG))
  )
}

/** A flag wins over the variable; empty counts as unset. */
export function documentPath(flags: Flags, env: ProcessEnvironment): string | undefined {
  const path = flags?.['config'] ?? env[DOCUMENT_VARIABLE]
  return path === undefined || path === '' ? undefined : String(path)
}

/** An empty variable counts as unset: compose files write `RATE_LIMIT_RPM=${RATE_LIMIT_RPM:-}`. */
export function findGiven(
  setting: Setting<unknown>,
  flags: Flags,
  env: ProcessEnvironment,
  devMode: boolean,
): Given | Mistake | undefined {
  const named = (name: string): Given | undefined => {
    // Without flags, the start saves some 180 conversions of names.
    const byFlag = flags?.[camelCase(flagOf(name))]
    if (byFlag !== undefined) return { from: flagOf(name), text: String(byFlag) }
    const byEnv = env[name]
    return byEnv === undefined || byEnv === '' ? undefined : { from: name, text: byEnv }
  }
  const found = named(setting.env)
  const direct =
    found && setting.secret ? { ...found, written: { value: `\${${setting.env}}` } } : found
  const file = setting.secret ? named(`${setting.env}_FILE`) : undefined
  if (!file) return direct
  if (direct) {
    return {
      setting: file.from,
      message: `is given together with ${direct.from}`,
      hint: 'give the secret once',
    }
  }
  const held = readSecretFile(file.text, devMode)
  if (!held.ok) return { setting: file.from, message: held.message, hint: held.hint }
  return { from: file.from, text: held.value, written: { file: file.text } }
}

const camelCase = (flag: string): string =>
  flag.slice(2).replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
