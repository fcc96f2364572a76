// JSON for documents that two parsers must not read differently: an object without repeated members.
// JSON.parse silently keeps the last of two (RFC 8259 §4). RFC 7515 §5.2 step 4 lets a verifier reject
// them; a verifier that does not may read other claims than the next one.

export type JsonObject = Readonly<Record<string, unknown>>

/**
 * As deep as common parsers go. Much deeper, JSON.parse takes ten times as long for a character, and
 * JSON.stringify looks at all levels again for each one: seconds for 60 KB.
 */
const MAX_DEPTH = 512
/** Tokens are no longer. What is shorter costs little, however deep it is. */
const SHORT_CHARS = 16_384

/**
 * The object in the text; undefined if it is not a JSON object, repeats a member at any depth, or is long
 * and nested too deep.
 */
export function parseStrictObject(text: string): JsonObject | undefined {
  if (isDeep(text) && text.length > SHORT_CHARS) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return namesIn(text) === membersOf(value) ? (value as JsonObject) : undefined
}

/**
 * The texts of the elements of the list that is the object's member `name`, so that each can be judged
 * alone. Undefined where the text is no JSON object, or has that member twice, or not as a list.
 */
export function elementTexts(text: string, name: string): string[] | undefined {
  try {
    if (!Array.isArray(Object(JSON.parse(text))[name])) return undefined
  } catch {
    return undefined
  }
  let list: string[] | undefined
  let at = skipBlank(text, 0)
  if (text[at] !== '{') return undefined
  do {
    at = skipBlank(text, at + 1)
    const nameEnd = endOfString(text, at) + 1
    const isList = JSON.parse(text.slice(at, nameEnd)) === name
    at = skipBlank(text, skipBlank(text, nameEnd) + 1)
    if (isList && list) return undefined
    const end = endOfValue(text, at)
    if (isList) list = partsOf(text, at)
    at = skipBlank(text, end)
  } while (text[at] === ',')
  return list
}

/** Of the list that begins at `start`. */
function partsOf(text: string, start: number): string[] {
  const parts: string[] = []
  let at = skipBlank(text, start + 1)
  while (text[at] !== ']') {
    const end = endOfValue(text, at)
    parts.push(text.slice(at, end))
    at = skipBlank(text, end)
    if (text[at] === ',') at = skipBlank(text, at + 1)
  }
  return parts
}

/** Just behind the value that begins at `start`. */
function endOfValue(text: string, start: number): number {
  let depth = 0
  for (let at = start; at < text.length; at++) {
    const char = text[at]
    if (char === '"') {
      at = endOfString(text, at)
      if (depth === 0) return at + 1
    } else if (char === '{' || char === '[') {
      depth += 1
    } else if (char === '}' || char === ']') {
      // Of a number or a word, it is the end of what holds it.
      if (depth === 0) return at
      depth -= 1
      if (depth === 0) return at + 1
    } else if (depth === 0 && (char === ',' || isBlank(char))) {
      return at
    }
  }
  return text.length
}

function isDeep(text: string): boolean {
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at)
    if (char === QUOTE) {
      at = endOfString(text, at)
      // JSON.parse refuses it.
      if (at === -1) return false
    } else if (char === ARRAY || char === OBJECT) {
      if (++depth > MAX_DEPTH) return true
    } else if (char === ARRAY_END || char === OBJECT_END) depth -= 1
  }
  return false
}

const [QUOTE, ARRAY, ARRAY_END, OBJECT, OBJECT_END] = [0x22, 0x5b, 0x5d, 0x7b, 0x7d]

/** Expects text that JSON.parse has accepted: then a string before a colon is a member's name. */
function namesIn(text: string): number {
  let names = 0
  let start = text.indexOf('"')
  while (start !== -1) {
    const end = endOfString(text, start)
    if (followedByColon(text, end)) names += 1
    start = text.indexOf('"', end + 1)
  }
  return names
}

/** At any depth, without recursion, because a stranger chooses the depth. */
function membersOf(value: object): number {
  let members = 0
  const open = [value]
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const inside: readonly unknown[] = Array.isArray(at) ? at : Object.values(at)
    if (!Array.isArray(at)) members += inside.length
    for (const each of inside) if (typeof each === 'object' && each !== null) open.push(each)
  }
  return members
}

/** Written by hand: a regular expression gives up on a string of megabytes, silently. */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1)
  while (isEscaped(text, end)) end = text.indexOf('"', end + 1)
  return end
}

function isEscaped(text: string, at: number): boolean {
  let start = at
  while (text[start - 1] === '\\') start -= 1
  return (at - start) % 2 === 1
}

function followedByColon(text: string, end: number): boolean {
  return text[skipBlank(text, end + 1)] === ':'
}

function skipBlank(text: string, from: number): number {
  let at = from
  while (isBlank(text[at])) at += 1
  return at
}

/** RFC 8259 §2. */
const isBlank = (char: string | undefined): boolean =>
  char === ' ' || char === '\n' || char === '\r' || char === '\t'
