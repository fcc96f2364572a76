// Reads a request's body once for everything that limits depend on. A table of shapes says what the API
// reads where: objects with a shape are read; opaque values (a tool's schema and input, free text) are
// only checked for grammar; all others are searched for names of models. Only names and short values
// become strings or objects, so 32 MB cost about a nanosecond a byte, and recursion stops at MAX_DEPTH.
//
// A name that two parsers could read differently is refused where it matters: a repeated member, or one
// that differs only by case, by `_` and `-`, by escapes or by letters that fold into others.

import { isUtf8 } from 'node:buffer'
import {
  afterScalar,
  afterSpace,
  afterString,
  afterValue,
  ARRAY,
  ARRAY_END,
  COLON,
  COMMA,
  MAX_DEPTH,
  OBJECT,
  OBJECT_END,
  QUOTE,
  TOO_DEEP,
} from './json-grammar.ts'

/**
 * `ambiguous_member`: a name that is repeated, that some parser may take for one that matters, or that is
 * invalid (broken, with a NUL, or too long).
 */
export type Unparsed =
  | 'empty'
  | 'byte_order_mark'
  | 'not_utf8'
  | 'not_json'
  | 'not_object'
  | 'too_deep'
  | 'too_many_members'
  | 'ambiguous_member'

/**
 * How a member's value is read. `opaque`: skipped. `text`: kept as it is written, '' if it is long.
 * `length`: its bytes are counted. `later`: the object's type decides whether it is opaque. `models`:
 * names of models at any depth.
 */
export type OutlineMember<To> = OutlineShape<To> | 'opaque' | 'text' | 'length' | 'later' | 'models'

/** By member: the text of a `text`, the bytes of a `length`, the result of a shape. */
export type OutlinedMembers = ReadonlyMap<string, unknown>

/** The shape of an object, or of each object in an array or in nested arrays. */
export interface OutlineShape<To> {
  readonly members: ReadonlyMap<string, OutlineMember<To>>
  /** The enclosing object gets its text, too, like that of a `text`. */
  readonly isTold?: boolean
  /** Of the names; computed on first use. */
  folded?: ReadonlySet<string>
  /** Called at the end of an object of that many bytes. The enclosing object gets the returned value. */
  leave?(found: OutlinedMembers, to: To, bytes: number): unknown
  /**
   * Called for a scalar, as it is written. Any number is '0'; of numbers in one array only the first is
   * reported.
   */
  scalar?(text: string, to: To): void
  /** For a `later` member: whether it is opaque in an object of that type. */
  isOpaque?(name: string, found: OutlinedMembers): boolean
}

export interface Names<To> {
  /** The names of all tables by `hashOf`, so that frequent names need no new string. */
  readonly known: ReadonlyMap<number, string>
  /** How a member is read whose name is in no table. */
  unlisted(folded: string): OutlineMember<To>
  /** A model's name in a place that no table knows. */
  named(text: string, to: To): void
}

/** The Messages API has about thirty. */
const MAX_MEMBERS = 256
const MAX_NAME_BYTES = 256
/** Enough for the longest model name, 256 characters, written in escapes only. */
const MAX_TEXT_BYTES = 256 * 6 + 2

/**
 * The maximum of members, objects, arrays and strings that are read; each costs up to 0.2 µs. A day's
 * conversation has 20,000.
 */
const MAX_SEEN = 200_000

const BROKEN = -1
const BACKSLASH = 0x5c

type Finding = Map<string, unknown>
/** For shapes without members. */
const NONE: Finding = new Map()

export class Outline<To> {
  #reason: Unparsed = 'not_json'
  #seen = 0
  readonly #bytes: Uint8Array
  /** The same. */
  readonly #buffer: Buffer
  readonly #names: Names<To>
  readonly #to: To

  constructor(bytes: Uint8Array, names: Names<To>, to: To) {
    this.#bytes = bytes
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#names = names
    this.#to = to
  }

  /** What the body contains, or why it is invalid. */
  read(shape: OutlineShape<To>): OutlinedMembers | Unparsed {
    const bytes = this.#bytes
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return 'byte_order_mark'
    // A lenient decoder may swallow a quote together with a broken sequence.
    if (!isUtf8(bytes)) return 'not_utf8'
    const at = afterSpace(bytes, 0)
    if (at === bytes.length) return 'empty'
    if (bytes[at] !== OBJECT) return 'not_object'
    const found: Finding = new Map()
    const end = this.#object(at, shape, 0, found, new Set())
    if (end < 0) return this.#reason
    return afterSpace(bytes, end) === bytes.length ? found : 'not_json'
  }

  /** Returns the end of the value. */
  #value(
    at: number,
    member: OutlineMember<To>,
    depth: number,
    name: string,
    found: Finding,
  ): number {
    if (typeof member === 'object') {
      const end = this.#shaped(at, member, depth, name, found)
      if (end >= 0 && member.isTold === true) found.set(name, this.#text(at, end))
      return end
    }
    if (member === 'models') return this.#models(at, depth)
    const end = this.#skip(at)
    if (end < 0 || member === 'opaque') return end
    if (member === 'text') found.set(name, this.#text(at, end))
    else found.set(name, member === 'length' ? end - at : at)
    return end
  }

  #shaped(
    at: number,
    shape: OutlineShape<To>,
    depth: number,
    name: string,
    found: Finding,
  ): number {
    const bytes = this.#bytes
    if (bytes[at] === OBJECT) {
      if (depth >= MAX_DEPTH) return this.#fail('too_deep')
      const own = shape.members.size === 0 ? NONE : new Map<string, unknown>()
      const end = this.#object(at, shape, depth + 1, own, undefined)
      if (end >= 0 && shape.leave) found.set(name, shape.leave(own, this.#to, end - at))
      return end
    }
    if (bytes[at] === ARRAY) {
      return this.#array(at, depth, shape.scalar !== undefined, (item) =>
        this.#shaped(item, shape, depth + 1, name, found),
      )
    }
    const end = this.#skip(at)
    if (end < 0 || !shape.scalar) return end
    const byte = bytes[at]
    if (isNumeric(byte)) shape.scalar('0', this.#to)
    else {
      if (byte === QUOTE && this.#isTooMuch()) return this.#fail('too_many_members')
      shape.scalar(this.#text(at, end), this.#to)
    }
    return end
  }

  #models(at: number, depth: number): number {
    const byte = this.#bytes[at]
    if (byte === ARRAY) {
      return this.#array(at, depth, true, (item) => this.#models(item, depth + 1))
    }
    if (byte === QUOTE && this.#isTooMuch()) return this.#fail('too_many_members')
    const end = this.#skip(at)
    // A number, true, false and null name nothing. An object may name anything.
    if (end >= 0 && (byte === QUOTE || byte === OBJECT)) {
      this.#names.named(byte === QUOTE ? this.#text(at, end) : '', this.#to)
    }
    return end
  }

  /** `item`: called for each element, or for each that is not a scalar. */
  #array(at: number, depth: number, scalarsToo: boolean, item: (at: number) => number): number {
    const bytes = this.#bytes
    if (depth >= MAX_DEPTH) return this.#fail('too_deep')
    if (this.#isTooMuch()) return this.#fail('too_many_members')
    at = afterSpace(bytes, at + 1)
    if (bytes[at] === ARRAY_END) return at + 1
    let isNumberTold = !scalarsToo
    for (;;) {
      const byte = bytes[at]
      const isNumber = isNumeric(byte)
      if (isNumber ? !isNumberTold : scalarsToo || byte === OBJECT || byte === ARRAY) at = item(at)
      else at = afterScalar(bytes, at)
      isNumberTold ||= isNumber
      if (at < 0) return BROKEN
      at = afterSpace(bytes, at)
      if (bytes[at] === ARRAY_END) return at + 1
      if (bytes[at] !== COMMA) return this.#fail('not_json')
      at = afterSpace(bytes, at + 1)
    }
  }

  /** `all`: every name so far, if none may be repeated. */
  #object(
    at: number,
    shape: OutlineShape<To>,
    depth: number,
    found: Finding,
    all: Set<string> | undefined,
  ): number {
    const bytes = this.#bytes
    if (this.#isTooMuch()) return this.#fail('too_many_members')
    let seen: string[] | undefined
    let later = false
    at = afterSpace(bytes, at + 1)
    let more = bytes[at] !== OBJECT_END
    while (more) {
      if (bytes[at] !== QUOTE) return this.#fail('not_json')
      const nameEnd = afterString(bytes, at)
      if (nameEnd < 0) return this.#fail('not_json')
      if (this.#isTooMuch()) return this.#fail('too_many_members')
      const name = this.#name(at, nameEnd)
      if (name === undefined || all?.has(name)) return this.#fail('ambiguous_member')
      let member = shape.members.get(name)
      if (member === undefined) {
        const folded = fold(name)
        if (foldedOf(shape).has(folded)) return this.#fail('ambiguous_member')
        member = this.#names.unlisted(folded)
      } else if (member !== 'opaque') {
        if (seen?.includes(name)) return this.#fail('ambiguous_member')
        if (seen) seen.push(name)
        else seen = [name]
        later ||= member === 'later'
      }
      if (all) {
        if (!name.isWellFormed() || name.includes('\0')) return this.#fail('ambiguous_member')
        if (all.size >= MAX_MEMBERS) return this.#fail('too_many_members')
        all.add(name)
      }

      at = afterSpace(bytes, nameEnd)
      if (bytes[at] !== COLON) return this.#fail('not_json')
      at = this.#value(afterSpace(bytes, at + 1), member, depth, name, found)
      if (at < 0) return at
      at = afterSpace(bytes, at)
      more = bytes[at] === COMMA
      if (more) at = afterSpace(bytes, at + 1)
    }
    if (bytes[at] !== OBJECT_END) return this.#fail('not_json')
    return later ? this.#again(at + 1, shape, depth, found) : at + 1
  }

  /** Reads the `later` members after the type is known, unless they are opaque. */
  #again(end: number, shape: OutlineShape<To>, depth: number, found: Finding): number {
    for (const [name, member] of shape.members) {
      const at = found.get(name)
      if (member !== 'later' || typeof at !== 'number' || shape.isOpaque?.(name, found)) continue
      const open = this.#names.unlisted('')
      if (this.#value(at, open, depth, name, found) < 0) return BROKEN
    }
    return end
  }

  #isTooMuch(): boolean {
    this.#seen += 1
    return this.#seen > MAX_SEEN
  }

  #skip(at: number): number {
    const bytes = this.#bytes
    const isNested = bytes[at] === OBJECT || bytes[at] === ARRAY
    const end = isNested ? afterValue(bytes, at) : afterScalar(bytes, at)
    return end < 0 ? this.#fail(end === TOO_DEEP ? 'too_deep' : 'not_json') : end
  }

  #name(start: number, end: number): string | undefined {
    const bytes = this.#bytes
    let hash = 0
    let plain = true
    for (let at = start + 1; at < end - 1; at += 1) {
      const byte = bytes[at] as number
      hash = (hash * 31 + byte) | 0
      plain &&= byte !== BACKSLASH && byte < 0x80
    }
    const known = this.#names.known.get(hash)
    if (known !== undefined && isThere(known, bytes, start + 1, end - 1)) return known
    if (end - start > MAX_NAME_BYTES) return undefined
    return plain
      ? this.#buffer.toString('latin1', start + 1, end - 1)
      : JSON.parse(this.#buffer.toString('utf8', start, end))
  }

  #text(start: number, end: number): string {
    if (end - start > MAX_TEXT_BYTES) return ''
    return this.#buffer.toString('utf8', start, end)
  }

  #fail(reason: Unparsed): number {
    this.#reason = reason
    return BROKEN
  }
}

/** For a value that is none of the others: a digit or a minus. */
const isNumeric = (byte: number | undefined): boolean =>
  byte !== undefined && (byte === 0x2d || (byte >= 0x30 && byte <= 0x39))

/**
 * Some parser may take names that fold to the same for one. Go's encoding/json ignores case by Unicode's
 * folding (the Kelvin sign is a `k`, the long s an `s`); its second version can also ignore `_` and `-`;
 * protobuf's JSON reads `maxTokens` as `max_tokens`; some parsers drop broken bytes.
 */
export function fold(name: string): string {
  if (FOLDED.test(name)) return name
  return name
    .toUpperCase()
    .toLowerCase()
    .replace(/[^a-z0-9]/g, '')
}

const FOLDED = /^[a-z0-9]*$/

/** For members that matter: opaque ones may have any name. */
function foldedOf<To>(shape: OutlineShape<To>): ReadonlySet<string> {
  shape.folded ??= new Set(
    [...shape.members].filter(([, member]) => member !== 'opaque').map(([name]) => fold(name)),
  )
  return shape.folded
}

/** For an ASCII name without escapes. */
export function hashOf(name: string): number {
  let hash = 0
  for (let at = 0; at < name.length; at += 1) hash = (hash * 31 + name.charCodeAt(at)) | 0
  return hash
}

function isThere(name: string, bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start !== name.length) return false
  for (let at = 0; at < name.length; at += 1) {
    if (bytes[start + at] !== name.charCodeAt(at)) return false
  }
  return true
}
