// The wanted members of a JSON object's top level, each as the text of its value, where no two parsers
// could take different ones for them. One pass over the bytes checks all of the grammar and makes no
// string or object of anything but the top level's names and the wanted values; about 1 ns a byte.
// What a value says is not read here.
//
// What is nested is checked for form alone, since only that can move where a member of the top level
// begins: members repeated deeper down, surrogates without their half and numbers of any size change
// none of the wanted, and pass. (strict-json.ts refuses those too, and is for documents of ours that
// are read as a whole.)

import { isUtf8 } from 'node:buffer'
import {
  afterSpace,
  afterString,
  afterValue,
  COLON,
  COMMA,
  OBJECT,
  OBJECT_END,
  QUOTE,
  TOO_DEEP,
} from './json-grammar.ts'

/**
 * `ambiguous_member`: a name of the top level that is there twice, that some parser may take for one
 * of the wanted, or that is no fit name at all (broken, with a NUL, or too long).
 */
export type NoMembers =
  | 'empty'
  | 'byte_order_mark'
  | 'not_utf8'
  | 'not_json'
  | 'not_object'
  | 'too_deep'
  | 'too_many_members'
  | 'ambiguous_member'

export type MembersRead =
  | { readonly ok: true; readonly value: ReadonlyMap<string, string> }
  | { readonly ok: false; readonly reason: NoMembers }

/** The Messages API has about twenty-five. */
const MAX_MEMBERS = 256
const MAX_NAME_BYTES = 256
/** Enough for 256 characters in escapes alone, a model's name at its longest. */
const MAX_VALUE_BYTES = 256 * 6 + 2

/** By name; '', which is no JSON, stands for a value of more than MAX_VALUE_BYTES. */
export function readMembers(bytes: Uint8Array, wanted: readonly string[]): MembersRead {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return not('byte_order_mark')
  // A decoder that is told to be lenient may swallow a quote along with a broken sequence.
  if (!isUtf8(bytes)) return not('not_utf8')

  const values = new Map<string, string>()
  const folded = new Set(wanted.map(fold))
  const names = new Set<string>()
  let at = afterSpace(bytes, 0)
  if (at === bytes.length) return not('empty')
  if (bytes[at] !== OBJECT) return not('not_object')
  at = afterSpace(bytes, at + 1)
  let more = bytes[at] !== OBJECT_END
  while (more) {
    if (bytes[at] !== QUOTE) return not('not_json')
    const nameEnd = afterString(bytes, at)
    if (nameEnd < 0) return not('not_json')
    const name = nameEnd - at > MAX_NAME_BYTES ? undefined : textOf(bytes, at, nameEnd)
    if (name === undefined || names.has(name)) return not('ambiguous_member')
    const isWanted = wanted.includes(name)
    if (!isWanted && (folded.has(fold(name)) || !name.isWellFormed() || name.includes('\0')))
      return not('ambiguous_member')
    if (names.size >= MAX_MEMBERS) return not('too_many_members')
    names.add(name)

    at = afterSpace(bytes, nameEnd)
    if (bytes[at] !== COLON) return not('not_json')
    const start = afterSpace(bytes, at + 1)
    at = afterValue(bytes, start)
    if (at < 0) return not(at === TOO_DEEP ? 'too_deep' : 'not_json')
    if (isWanted) {
      const short = at - start <= MAX_VALUE_BYTES
      values.set(name, short ? Buffer.from(bytes.subarray(start, at)).toString() : '')
    }
    at = afterSpace(bytes, at)
    more = bytes[at] === COMMA
    if (more) at = afterSpace(bytes, at + 1)
  }
  if (bytes[at] !== OBJECT_END) return not('not_json')
  if (afterSpace(bytes, at + 1) !== bytes.length) return not('not_json')
  return { ok: true, value: values }
}

function not(reason: NoMembers): MembersRead {
  return { ok: false, reason }
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  return JSON.parse(Buffer.from(bytes.subarray(start, end)).toString())
}

/**
 * Two names that fold to the same may be one to a parser. Go's encoding/json ignores case, by
 * Unicode's folding (the Kelvin sign is a `k`, the long s an `s`); its second version can be told to
 * ignore `_` and `-`, and protobuf's JSON takes `maxTokens` for `max_tokens`.
 */
function fold(name: string): string {
  return name.toUpperCase().toLowerCase().replace(/[_-]/g, '')
}
