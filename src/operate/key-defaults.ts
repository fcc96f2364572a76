// The settings for keys, for `postern key`, which reads only these.

import type { ProcessEnvironment } from '../config/given.ts'
import { type KeyDefaults, keyDefaults, type KeyValues } from '../config/keys.ts'
import type { Mistake } from '../config/kinds.ts'
import { readSetting } from '../config/read.ts'
import { settingOf } from '../config/table.ts'

const SETTINGS = [
  'keyPolicy',
  'keyExpires',
  'keyMaxLifetime',
  'keyRotationOverlap',
] as const satisfies readonly (keyof KeyValues)[]

export type KeyDefaultsRead =
  | { readonly ok: true; readonly value: KeyDefaults }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] }

export function readKeyDefaults(env: ProcessEnvironment): KeyDefaultsRead {
  const values: Record<string, unknown> = {}
  const mistakes: Mistake[] = []
  for (const key of SETTINGS) {
    const read = readSetting(key, env)
    if (read.ok) values[key] = read.value
    else mistakes.push({ setting: settingOf(key).env, message: read.message, hint: read.hint })
  }
  return mistakes.length > 0
    ? { ok: false, mistakes }
    : { ok: true, value: keyDefaults(values as KeyValues) }
}
