// What was given for one setting, as text, and where it came from: a flag, or else its variable, or the
// file that either names for a secret. A flag wins over its variable; a secret that is given in a file
// as well is a mistake. What the text means is not read here, and no fallback is known.

import type { Mistake } from './kinds.ts'
import { readSecretFile } from './secret-file.ts'
import { flagOf, type Setting } from './table.ts'

export type Environment = Readonly<Record<string, string | undefined>>
/** As commander has them, by names in camel case. */
export type Flags = Readonly<Record<string, unknown>>

export interface Given {
  /** The flag or the variable, to name in a mistake. */
  readonly from: string
  readonly text: string
}

/** An empty variable counts as unset: compose files write `RATE_LIMIT_RPM=${RATE_LIMIT_RPM:-}`. */
export function findGiven(
  setting: Setting<unknown>,
  flags: Flags,
  env: Environment,
  devMode: boolean,
): Given | Mistake | undefined {
  const named = (name: string): Given | undefined => {
    const byFlag = flags[camelCase(flagOf(name))]
    if (byFlag !== undefined) return { from: flagOf(name), text: String(byFlag) }
    const byEnv = env[name]
    return byEnv === undefined || byEnv === '' ? undefined : { from: name, text: byEnv }
  }
  const direct = named(setting.env)
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
  return { from: file.from, text: held.value }
}

const camelCase = (flag: string): string =>
  flag.slice(2).replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
