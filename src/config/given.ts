// What was given for one setting, as text, and where it came from: a flag, or else its variable, or the
// file that either names for a secret. A flag wins over its variable; a secret that is given in a file
// as well is a mistake. What the text means is not read here, and no fallback is known.

import type { Mistake } from './kinds.ts'
import { readSecretFile } from './secret-file.ts'
import { flagOf, type Setting } from './table.ts'

export type ProcessEnvironment = Readonly<Record<string, string | undefined>>
/** As commander has them, by names in camel case; undefined where nobody could give one. */
export type Flags = Readonly<Record<string, unknown>> | undefined

export interface Given {
  /** The flag or the variable, to name in a mistake. */
  readonly from: string
  readonly text: string
  /** How a document says the same without showing a secret; absent where the text itself will do. */
  readonly written?: Written
}

/** A value with its `${VARIABLE}`s in place, or the path that `NAME_file` names. */
export type Written = { readonly value: string | readonly string[] } | { readonly file: string }

/** The document's file, which is no setting: it has no place in itself. */
export const DOCUMENT_VARIABLE = 'POSTERN_CONFIG'
export const DOCUMENT_FLAG = '--config'

/** Whether what reads documents has to be there. */
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
