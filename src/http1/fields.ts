// The fields of a response's head or trailers (RFC 9110 §5, RFC 9112 §5): from text whose form has been
// checked to names and values. It knows no field's meaning, except which fields count only once.

/** Names in lower case. */
export type AnswerHeaders = Readonly<Record<string, string | undefined>>

/** RFC 9110 §5.6.2 */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** Of a repeated field of these names, the first counts. */
const SINGLE = new Set(['content-type', 'retry-after', 'etag', 'last-modified', 'location'])

/** Parses CRLF-separated `name: value` lines starting at `from`; undefined if any line is malformed. */
export function readFields(text: string, from: number): AnswerHeaders | undefined {
  const headers: Record<string, string> = { __proto__: null as never }
  let at = from
  while (at < text.length) {
    const found = text.indexOf('\r\n', at)
    const end = found === -1 ? text.length : found
    const colon = text.indexOf(':', at)
    if (colon === -1 || colon > end) return undefined
    const key = keyAt(text, at, colon)
    if (key === undefined) return undefined
    const value = trimmed(text, colon + 1, end)
    const before = headers[key]
    if (before === undefined) headers[key] = value
    else if (!SINGLE.has(key)) headers[key] = `${before}, ${value}`
    at = end + 2
  }
  return headers
}

/** RFC 9110 §5.6.3: only spaces and tabs, not everything that JavaScript trims. */
function trimmed(text: string, from: number, to: number): string {
  let start = from
  let end = to
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

const SPACE = 32
const TAB = 9
const isBlank = (code: number): boolean => code === SPACE || code === TAB

interface Name {
  readonly asItCame: string
  readonly key: string
}

/** Known names by length, so that a name is found without a substring: upstreams repeat them. */
const NAMES: readonly Name[][] = Array.from({ length: 65 }, () => [])
const MAX_NAMES_OF_A_LENGTH = 8

/** Undefined if it is not a token. */
function keyAt(text: string, from: number, to: number): string | undefined {
  const known = NAMES[to - from]
  if (known) for (const { asItCame, key } of known) if (text.startsWith(asItCame, from)) return key
  const name = text.slice(from, to)
  if (!TOKEN.test(name)) return undefined
  const key = name.toLowerCase()
  // A copy, because a substring would keep the whole head alive.
  if (known && known.length < MAX_NAMES_OF_A_LENGTH) {
    known.push({ asItCame: copyOf(name), key: copyOf(key) })
  }
  return key
}

const copyOf = (text: string): string => Buffer.from(text, 'latin1').toString('latin1')
