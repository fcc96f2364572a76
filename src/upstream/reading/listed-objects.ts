// Reads one page of an upstream's list of stored objects, in either dialect: which ids are in it, and the
// text of each object as it came.

import { isUtf8 } from 'node:buffer'
import {
  afterSpace,
  afterString,
  afterValue,
  ARRAY,
  ARRAY_END,
  COLON,
  COMMA,
  OBJECT,
  OBJECT_END,
  QUOTE,
} from './json-grammar.ts'

export interface ListedObject {
  readonly id: string
  /** As the upstream wrote it. */
  readonly bytes: Uint8Array
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
  const begin = afterSpace(text, 0)
  if (text[begin] !== OBJECT || !isUtf8(body)) return undefined
  const { found, end } = membersIn(text, begin, PAGE_MEMBERS)
  const data = found?.get('data')
  if (!found || afterSpace(text, end) !== text.length) return undefined
  if (!data || text[data.start] !== ARRAY) return undefined
  const hasMore = found.get('has_more')
  return {
    objects: objectsIn(text, data.start),
    hasMore:
      hasMore !== undefined && text.toString('latin1', hasMore.start, hasMore.end) === 'true',
    nextPage: nextPageIn(text, found.get('next_page')),
  }
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

interface FoundMembers {
  /** Undefined if one of them is there twice, also by other case: parsers disagree about which one counts. */
  readonly found: ReadonlyMap<string, Span> | undefined
  /** Of the object; negative if its grammar is wrong. */
  readonly end: number
}

function membersIn(text: Buffer, at: number, names: ReadonlySet<string>): FoundMembers {
  const found = new Map<string, Span>()
  const seen = new Set<string>()
  let isClear = true
  at = afterSpace(text, at + 1)
  let more = text[at] !== OBJECT_END
  while (more) {
    const nameEnd = text[at] === QUOTE ? afterString(text, at) : BROKEN.end
    if (nameEnd < 0) return BROKEN
    const folded = nameAt(text, at, nameEnd).toLowerCase()
    const colon = afterSpace(text, nameEnd)
    const start = afterSpace(text, colon + 1)
    const end = text[colon] === COLON ? afterValue(text, start) : BROKEN.end
    if (end < 0) return BROKEN
    if (names.has(folded)) {
      isClear &&= !seen.has(folded)
      seen.add(folded)
      if (nameAt(text, at, nameEnd) === folded) found.set(folded, { start, end })
    }
    at = afterSpace(text, end)
    more = text[at] === COMMA
    if (more) at = afterSpace(text, at + 1)
  }
  if (text[at] !== OBJECT_END) return BROKEN
  return { found: isClear ? found : undefined, end: at + 1 }
}

const BROKEN: FoundMembers = { found: undefined, end: -1 }
/** Longer names are none of ours, however they are written. */
const MAX_NAME_BYTES = 100

const nameAt = (text: Buffer, start: number, end: number): string =>
  end - start > MAX_NAME_BYTES ? '' : JSON.parse(text.toString('utf8', start, end))

/** Of an array whose grammar is right. */
function objectsIn(text: Buffer, at: number): ListedObject[] {
  const objects: ListedObject[] = []
  at = afterSpace(text, at + 1)
  while (text[at] !== ARRAY_END) {
    const isObject = text[at] === OBJECT
    const { found, end } = isObject ? membersIn(text, at, ID) : { end: afterValue(text, at) }
    const id = idAt(text, found?.get('id'))
    if (id !== '') objects.push({ id, bytes: text.subarray(at, end) })
    at = afterSpace(text, end)
    if (text[at] === COMMA) at = afterSpace(text, at + 1)
  }
  return objects
}

function idAt(text: Buffer, span: Span | undefined): string {
  if (!span || span.end - span.start > MAX_ID_BYTES) return ''
  const id: unknown = JSON.parse(text.toString('utf8', span.start, span.end))
  return typeof id === 'string' ? id : ''
}
