// The three members of a request's body that limits are decided by, read as the upstream will read
// them. A body that two parsers could read differently is refused, never guessed at: what an allow
// list has let through must not be another model two hops further on. Only called where a token has
// a list of models or a cap; nothing is kept of the rest, and the bytes that go out are these.
//
// One pass over the bytes checks all of RFC 8259's grammar and makes no string or object of anything
// but the top level's names and the three values; about 1 ns a byte. What is nested is checked for
// form alone, since only that can move where a member of the top level begins: members repeated
// deeper down, surrogates without their half and numbers of any size change none of the three, and
// pass. (strict-json.ts refuses those too, and is for documents of ours that are read as a whole.)

import { isUtf8 } from 'node:buffer'

export interface RequestFields {
  readonly model: string
  /** Undefined where the body names none; whether it had to is the route's affair. */
  readonly maxTokens: number | undefined
  readonly stream: boolean
}

/**
 * `ambiguous_member`: a name of the top level that is there twice, that some parser may take for one
 * of the three, or that is no fit name at all (broken, with a NUL, or too long).
 */
export type Unreadable =
  | 'empty'
  | 'byte_order_mark'
  | 'not_utf8'
  | 'not_json'
  | 'not_object'
  | 'too_deep'
  | 'too_many_members'
  | 'ambiguous_member'
  | 'missing_model'
  | 'wrong_model'
  | 'wrong_max_tokens'
  | 'wrong_stream'

export type FieldsRead =
  | { readonly ok: true; readonly value: RequestFields }
  | { readonly ok: false; readonly reason: Unreadable }

/** What bounds the answer: `POST /v1/complete` has a name of its own for it. */
export type MaxTokensMember = 'max_tokens' | 'max_tokens_to_sample'

/** The Messages API has about twenty-five. */
const MAX_MEMBERS = 256
const MAX_NAME_BYTES = 256
/** As deep as common parsers go (Python's gives up at about a thousand, others at 512 and less). */
const MAX_DEPTH = 512
/** No blank or control that another parser might trim or stop at, and nothing outside of ASCII. */
const MODEL = /^[!-~]{1,256}$/
/** `1e3` and `1024.0` are integers to some parsers and mistakes to others. */
const POSITIVE_INTEGER = /^[1-9]\d{0,15}$/

/**
 * Whether the upstream will read those bytes as they are. A coding would be another body behind
 * ours, and under another charset the same bytes are other characters.
 */
export function isPlainJson(contentType: string | null, contentEncoding: string | null): boolean {
  if (contentEncoding !== null && !/^\s*(identity)?\s*$/i.test(contentEncoding)) return false
  return contentType === null || JSON_TYPE.test(contentType)
}

const JSON_TYPE = /^\s*application\/json\s*(;\s*charset\s*=\s*("utf-?8"|utf-?8)\s*)?;?\s*$/i

export function readRequestFields(
  body: Uint8Array,
  maxTokensMember: MaxTokensMember = 'max_tokens',
): FieldsRead {
  if (body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf) return not('byte_order_mark')
  // A decoder that is told to be lenient may swallow a quote along with a broken sequence.
  if (!isUtf8(body)) return not('not_utf8')

  const values = new Map<string, string>()
  const unread = readTopLevel(body, ['model', maxTokensMember, 'stream'], values)
  if (unread) return not(unread)

  const [model, maxTokens] = [values.get('model'), values.get(maxTokensMember)]
  const stream = values.get('stream') ?? 'false'
  if (model === undefined) return not('missing_model')
  const name: unknown = model.startsWith('"') ? JSON.parse(model) : undefined
  if (typeof name !== 'string' || !MODEL.test(name)) return not('wrong_model')
  const count = maxTokens === undefined ? undefined : Number(maxTokens)
  if (maxTokens !== undefined && !(POSITIVE_INTEGER.test(maxTokens) && Number.isSafeInteger(count)))
    return not('wrong_max_tokens')
  if (stream !== 'true' && stream !== 'false') return not('wrong_stream')
  return { ok: true, value: { model: name, maxTokens: count, stream: stream === 'true' } }
}

function not(reason: Unreadable): FieldsRead {
  return { ok: false, reason }
}

/** Enough for `MODEL` written in escapes alone; the beginning of anything longer is as wrong. */
const MAX_VALUE_BYTES = 256 * 6 + 2

/** Puts the text of each wanted member into `values`. */
function readTopLevel(
  bytes: Uint8Array,
  wanted: readonly string[],
  values: Map<string, string>,
): Unreadable | undefined {
  const folded = new Set(wanted.map(fold))
  const names = new Set<string>()
  let at = afterSpace(bytes, 0)
  if (at === bytes.length) return 'empty'
  if (bytes[at] !== OBJECT) return 'not_object'
  at = afterSpace(bytes, at + 1)
  let more = bytes[at] !== OBJECT + TO_CLOSING
  while (more) {
    if (bytes[at] !== QUOTE) return 'not_json'
    const nameEnd = afterString(bytes, at)
    if (nameEnd < 0) return 'not_json'
    const name = nameEnd - at > MAX_NAME_BYTES ? undefined : textOf(bytes, at, nameEnd)
    if (name === undefined || names.has(name)) return 'ambiguous_member'
    const isWanted = wanted.includes(name)
    if (!isWanted && (folded.has(fold(name)) || !name.isWellFormed() || name.includes('\0')))
      return 'ambiguous_member'
    if (names.size >= MAX_MEMBERS) return 'too_many_members'
    names.add(name)

    at = afterSpace(bytes, nameEnd)
    if (bytes[at] !== COLON) return 'not_json'
    const start = afterSpace(bytes, at + 1)
    at = afterValue(bytes, start)
    if (at < 0) return at === TOO_DEEP ? 'too_deep' : 'not_json'
    if (isWanted) {
      const short = at - start <= MAX_VALUE_BYTES
      values.set(name, short ? Buffer.from(bytes.subarray(start, at)).toString() : '')
    }
    at = afterSpace(bytes, at)
    more = bytes[at] === COMMA
    if (more) at = afterSpace(bytes, at + 1)
  }
  if (bytes[at] !== OBJECT + TO_CLOSING) return 'not_json'
  return afterSpace(bytes, at + 1) === bytes.length ? undefined : 'not_json'
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

// The grammar. Each takes where it begins and gives where it ended, or a negative number. Beyond the
// last byte there is `undefined`, which is equal to nothing here and below and above nothing.

const MALFORMED = -1
const TOO_DEEP = -2

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const BACKSLASH = 0x5c
const ARRAY = 0x5b
const OBJECT = 0x7b
/** In ASCII, `]` is two beyond `[`, and `}` two beyond `{`. */
const TO_CLOSING = 2

function afterSpace(bytes: Uint8Array, at: number): number {
  let byte = bytes[at]
  while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++at]
  return at
}

/** Without recursion: how deep a stranger nests is no business of our stack. */
function afterValue(bytes: Uint8Array, at: number): number {
  const open: number[] = []
  for (;;) {
    const byte = bytes[at]
    if (byte === OBJECT || byte === ARRAY) {
      if (open.length >= MAX_DEPTH) return TOO_DEEP
      at = afterSpace(bytes, at + 1)
      if (bytes[at] === byte + TO_CLOSING) at += 1
      else {
        open.push(byte)
        if (byte === OBJECT) at = afterName(bytes, at)
        if (at < 0) return MALFORMED
        continue
      }
    } else at = afterScalar(bytes, at)

    // A value has ended; so may what it stands in.
    for (;;) {
      const within = open.at(-1)
      if (at < 0 || within === undefined) return at
      at = afterSpace(bytes, at)
      if (bytes[at] === COMMA) {
        at = afterSpace(bytes, at + 1)
        if (within === OBJECT) at = afterName(bytes, at)
        if (at < 0) return MALFORMED
        break
      }
      if (bytes[at] !== within + TO_CLOSING) return MALFORMED
      open.pop()
      at += 1
    }
  }
}

/** To where its value begins. */
function afterName(bytes: Uint8Array, at: number): number {
  if (bytes[at] !== QUOTE) return MALFORMED
  const end = afterString(bytes, at)
  if (end < 0) return MALFORMED
  const colon = afterSpace(bytes, end)
  return bytes[colon] === COLON ? afterSpace(bytes, colon + 1) : MALFORMED
}

function afterScalar(bytes: Uint8Array, at: number): number {
  switch (bytes[at]) {
    case QUOTE:
      return afterString(bytes, at)
    case 0x74:
      return afterLiteral(bytes, at, 'true')
    case 0x66:
      return afterLiteral(bytes, at, 'false')
    case 0x6e:
      return afterLiteral(bytes, at, 'null')
    default:
      return afterNumber(bytes, at)
  }
}

function afterString(bytes: Uint8Array, at: number): number {
  const { length } = bytes
  for (at += 1; at < length; at += 1) {
    const byte = bytes[at] as number
    if (byte === QUOTE) return at + 1
    if (byte < 0x20) return MALFORMED
    if (byte !== BACKSLASH) continue
    at += 1
    const escaped = bytes[at] ?? 0
    if (escaped === 0x75) {
      for (const end = at + 4; at < end; at += 1) if (!isHex(bytes[at + 1])) return MALFORMED
    } else if (!ESCAPES.has(escaped)) return MALFORMED
  }
  return MALFORMED
}

/** `"\/bfnrt`; RFC 8259 §7. */
const ESCAPES: ReadonlySet<number> = new Set(Buffer.from('"\\/bfnrt'))

function afterLiteral(bytes: Uint8Array, at: number, literal: string): number {
  for (let index = 0; index < literal.length; index += 1) {
    if (bytes[at + index] !== literal.charCodeAt(index)) return MALFORMED
  }
  return at + literal.length
}

/** RFC 8259 §6: no leading zero or plus, and digits on both sides of a point. */
function afterNumber(bytes: Uint8Array, at: number): number {
  if (bytes[at] === 0x2d) at += 1
  at = bytes[at] === 0x30 ? at + 1 : afterDigits(bytes, at)
  if (at > 0 && bytes[at] === 0x2e) at = afterDigits(bytes, at + 1)
  if (at > 0 && (bytes[at] === 0x65 || bytes[at] === 0x45)) {
    const sign = bytes[at + 1]
    at = afterDigits(bytes, sign === 0x2b || sign === 0x2d ? at + 2 : at + 1)
  }
  return at
}

/** One at the least. */
function afterDigits(bytes: Uint8Array, at: number): number {
  const start = at
  while (isDigit(bytes[at])) at += 1
  return at > start ? at : MALFORMED
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39
}

function isHex(byte: number | undefined): boolean {
  if (byte === undefined) return false
  return isDigit(byte) || ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66)
}
