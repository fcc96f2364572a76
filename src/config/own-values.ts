// The values of one entry of a list with several: nothing else completes it.

import type { Given } from './given.ts'
import type { Mistake } from './kinds.ts'
import { type Key, settingOf, type Values } from './table.ts'

export function ownValues(
  keys: readonly Key[],
  given: ReadonlyMap<Key, Given>,
  devMode: boolean,
  mistakes: Mistake[],
): Values {
  const own: Record<string, unknown> = {}
  for (const key of keys) {
    const { kind, fallback, devFallback } = settingOf(key)
    const found = given.get(key)
    const text = found?.text ?? (devMode ? (devFallback ?? fallback) : fallback)
    const read = text === undefined ? undefined : kind.read(text)
    own[key] = read?.ok ? read.value : undefined
    if (read?.ok === false && found) {
      mistakes.push({ setting: found.from, message: read.message, hint: read.hint })
    }
  }
  return own
}
