// RFC 8259's grammar over bytes, strictly: text that only some parsers accept is malformed. Each function
// takes the position where something begins and returns where it ended, or a negative number. It creates
// no string, number or object, and does not interpret names or detect repeated ones; members.ts does that
// for the top level.

// Reading past the last byte gives `undefined`, which fails every comparison here.

const MALFORMED = -1
export const TOO_DEEP = -2

/** As deep as common parsers go (Python's stops at about a thousand, others at 512 or less). */
export const MAX_DEPTH = 512

export const QUOTE = 0x22
export const COMMA = 0x2c
export const COLON = 0x3a
const BACKSLASH = 0x5c
export const ARRAY = 0x5b
export const OBJECT = 0x7b
/** In ASCII, `]` is two beyond `[`, and `}` two beyond `{`. */
const TO_CLOSING = 2
export const OBJECT_END = OBJECT + TO_CLOSING
export const ARRAY_END = ARRAY + TO_CLOSING

export function afterSpace(bytes: Uint8Array, at: number): number {
  let byte = bytes[at]
  while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++at]
  return at
}

/** Without recursion, so that a stranger's nesting does not use our stack. */
export function afterValue(bytes: Uint8Array, at: number): number {
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

    // A value has ended, and its container may end too.
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

/** Returns where its value begins. */
function afterName(bytes: Uint8Array, at: number): number {
  if (bytes[at] !== QUOTE) return MALFORMED
  const end = afterString(bytes, at)
  if (end < 0) return MALFORMED
  const colon = afterSpace(bytes, end)
  return bytes[colon] === COLON ? afterSpace(bytes, colon + 1) : MALFORMED
}

export function afterScalar(bytes: Uint8Array, at: number): number {
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

export function afterString(bytes: Uint8Array, at: number): number {
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

/** At least one. */
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
