// Reads one page of an upstream's list of stored objects, in either dialect: which ids are in it, and the
// text of each object as it came.

import { isUtf8 } from 'node:buffer'
import {
  afterSpace,
  afterString,
  afterValue,
  ARRAY,
  ARRAY_END,
  COMMA,
  OBJECT,
  OBJECT_END,
} from './json-grammar.ts'

export interface ListedObject {
  readonly id: string
  /** As the upstream wrote it. */
  readonly text: string
}

export interface ObjectPage {
  /** In the upstream's order. An item whose id is missing or ambiguous is left out. */
  readonly objects: readonly ListedObject[]
  readonly hasMore: boolean
  /** Null on the last page, undefined if its pages have no names. */
  readonly nextPage: string | null | undefined
}

/** Undefined if it is not a page, or if parsers may read it differently. */
export function objectPageIn(body: Uint8Array): ObjectPage | undefined {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const begin = afterSpace(body, 0)
  if (body[begin] !== OBJECT || !isUtf8(body)) return undefined
  const end = afterValue(body, begin)
  if (end < 0 || afterSpace(body, end) !== body.length) return undefined
  const found = membersIn(text, begin, PAGE_MEMBERS)
  const data = found?.get('data')
  if (!found || !data || text[data.start] !== ARRAY) return undefined
  const { start, end: stop } = found.get('has_more') ?? { start: 0, end: 0 }
  const hasMore = text.toString('latin1', start, stop) === 'true'
  const objects: ListedObject[] = []
  for (const each of elementsIn(text, data.start)) {
    const object = objectAt(text, each)
    if (object) objects.push(object)
  }
  return { objects, hasMore, nextPage: nextPageIn(text, found.get('next_page')) }
}

const PAGE_MEMBERS: ReadonlySet<string> = new Set(['data', 'has_more', 'next_page'])
const ID: ReadonlySet<string> = new Set(['id'])
const MAX_ID_BYTES = 256

const MAX_PAGE_NAME_BYTES = 4096

function nextPageIn(text: Buffer, span: Span | undefined): ObjectPage['nextPage'] {
  if (!span) return undefined
  const { start, end } = span
  const name: unknown =
    end - start > MAX_PAGE_NAME_BYTES ? null : JSON.parse(text.toString('utf8', start, end))
  return typeof name === 'string' && name !== '' ? name : null
}

interface Span {
  readonly start: number
  readonly end: number
}

function objectAt(text: Buffer, { start, end }: Span): ListedObject | undefined {
  if (text[start] !== OBJECT) return undefined
  const span = membersIn(text, start, ID)?.get('id')
  if (!span || span.end - span.start > MAX_ID_BYTES) return undefined
  const id: unknown = JSON.parse(text.toString('utf8', span.start, span.end))
  return typeof id === 'string' && id !== ''
    ? { id, text: text.toString('utf8', start, end) }
    : undefined
}

/**
 * The values of these members of an object whose grammar is right; undefined if one of them is there twice,
 * also by other case: parsers disagree about which one counts.
 */
function membersIn(
  text: Buffer,
  at: number,
  names: ReadonlySet<string>,
): ReadonlyMap<string, Span> | undefined {
  const found = new Map<string, Span>()
  const seen = new Set<string>()
  at = afterSpace(text, at + 1)
  while (text[at] !== OBJECT_END) {
    const nameEnd = afterString(text, at)
    const name: string = JSON.parse(text.toString('utf8', at, nameEnd))
    const start = afterSpace(text, afterSpace(text, nameEnd) + 1)
    const end = afterValue(text, start)
    const folded = name.toLowerCase()
    if (names.has(folded)) {
      if (seen.has(folded)) return undefined
      seen.add(folded)
      if (name === folded) found.set(name, { start, end })
    }
    at = afterSpace(text, end)
    if (text[at] === COMMA) at = afterSpace(text, at + 1)
  }
  return found
}

function* elementsIn(text: Buffer, at: number): Generator<Span> {
  at = afterSpace(text, at + 1)
  while (text[at] !== ARRAY_END) {
    const end = afterValue(text, at)
    yield { start: at, end }
    at = afterSpace(text, end)
    if (text[at] === COMMA) at = afterSpace(text, at + 1)
  }
}
