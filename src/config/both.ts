// Merges a document with the environment and flags. One may complete the other; a setting that both give
// must have the same value; nothing outside the document can add to its lists.

import type { FromDocument } from './from-document.ts'
import type { Given } from './given.ts'
import type { Mistake } from './kinds.ts'
import { type Key, settingOf } from './table.ts'

/** The merged settings, with a mistake for each contradiction. */
export function together(
  key: Key,
  elsewhere: Given | undefined,
  document: FromDocument,
  mistakes: Mistake[],
): Given | undefined {
  const within = document.given.get(key)
  if (!elsewhere) return within
  const excluded = document.excluded.get(key)
  if (excluded) {
    if (excluded.said.some(({ text }) => isSame(key, text, elsewhere.text))) return undefined
    const message = `is set, but ${excluded.why}`
    mistakes.push({ setting: elsewhere.from, message, hint: 'unset it, or add the entry' })
    return undefined
  }
  if (within && !isSame(key, within.text, elsewhere.text)) {
    const message = `says something else than ${within.from}`
    mistakes.push({ setting: elsewhere.from, message, hint: 'give it in one of the two places' })
  }
  return within ?? elsewhere
}

function isSame(key: Key, a: string, b: string): boolean {
  if (a === b) return true
  const { kind, secret } = settingOf(key)
  // Two secrets look equal when they are printed.
  if (secret) return false
  const [one, other] = [kind.read(a), kind.read(b)]
  return one.ok && other.ok && Bun.deepEquals(one.value, other.value)
}

/** Incomplete entries of lists, without those that are already mistakes. */
export function lackingEntries(
  document: FromDocument,
  mentioned: ReadonlySet<Key>,
  known: readonly Mistake[],
): Mistake[] {
  return [...document.needed].flatMap(([key, { from, member }]) => {
    const { env, about } = settingOf(key)
    if (mentioned.has(key) || known.some(({ setting }) => setting === env)) return []
    const hint = `${about} Write it there, or set ${env}.`
    return [{ setting: from, message: `lacks ${member}`, hint }]
  })
}
