// A document and the environment at once. The environment and the flags are a shorthand for a document,
// so that one may complete the other; where both say the same setting they have to agree, whatever its
// name, and what a list of the document leaves out nobody else can add.

import type { FromDocument } from './from-document.ts'
import type { Given } from './given.ts'
import type { Mistake } from './kinds.ts'
import { type Key, settingOf } from './table.ts'

/** What counts of the two; a mistake where they do not go together. */
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
  // Secrets are equal to one another by their look.
  if (secret) return false
  const [one, other] = [kind.read(a), kind.read(b)]
  return one.ok && other.ok && Bun.deepEquals(one.value, other.value)
}

/** Entries of a list that nothing completes, but for those of which it is known already. */
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
