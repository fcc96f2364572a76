// Replaces `${NAME}` in a value by that variable; `$${` is a literal `${`.

import type { ProcessEnvironment } from '../given.ts'

export type Expanded =
  | {
      readonly ok: true
      readonly text: string
      /** It consists of references alone, so the document reveals nothing of the value. */
      readonly referenceOnly: boolean
    }
  | { readonly ok: false; readonly message: string; readonly hint: string }

const REFERENCE = /\$\$\{|\$\{([^}]*)\}?/g
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

export function expand(text: string, env: ProcessEnvironment): Expanded {
  let wrong: { message: string; hint: string } | undefined
  let own = false
  let end = 0
  const expanded = text.replace(REFERENCE, (match: string, name: unknown, at: number) => {
    if (at > end) own = true
    end = at + match.length
    if (match === '$${') {
      own = true
      return '${'
    }
    if (typeof name !== 'string' || !NAME.test(name) || !match.endsWith('}')) {
      wrong ??= {
        message: 'has a ${ that names no variable',
        hint: 'write ${NAME}, or $${ for the characters themselves',
      }
      return ''
    }
    const value = env[name]
    if (value === undefined || value === '') {
      wrong ??= { message: `names the variable ${name}, which is not set`, hint: `set ${name}` }
      return ''
    }
    return value
  })
  if (wrong) return { ok: false, ...wrong }
  return { ok: true, text: expanded, referenceOnly: !own && end === text.length && end > 0 }
}

/** Escapes a text of the environment for a document. */
export const escaped = (text: string): string => text.replaceAll('${', '$${')
