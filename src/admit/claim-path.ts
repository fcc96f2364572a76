// How settings name a claim: `sub`, `realm_access.roles` for a member of a member, `cognito:groups`,
// or a name with a scheme, `https://example.com/roles`, which is one name including its dots. Any
// other dot in a name needs a backslash before it.

import type { JsonObject } from '../token/strict-json.ts'

export type ClaimPath = readonly string[]

const MAX_PATH_LENGTH = 256

/** Undefined if the text names no claim. */
export function claimPath(text: string): ClaimPath | undefined {
  if (text === '' || text.length > MAX_PATH_LENGTH) return undefined
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return [text]
  const names = ['']
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === '.') {
      names.push('')
      continue
    }
    if (text[at] === '\\') {
      at += 1
      if (text[at] !== '.' && text[at] !== '\\') return undefined
    }
    names[names.length - 1] += text[at] ?? ''
  }
  return names.includes('') ? undefined : names
}

/** The claim's value; undefined if there is none. */
export function claimAt(claims: JsonObject, path: ClaimPath): unknown {
  let at: unknown = claims
  for (const name of path) {
    if (typeof at !== 'object' || at === null || Array.isArray(at)) return undefined
    if (!Object.hasOwn(at, name)) return undefined
    at = (at as JsonObject)[name]
  }
  return at
}
