// Turns the text fields of a form (RFC 7578) into the equivalent JSON object, so that limits read forms and
// JSON in the same way. It accepts only forms that every parser reads alike: written as the clients of
// these APIs write them, with the boundary only between the parts.

import { isUtf8 } from 'node:buffer'
import { type Decision, granted, refused } from '../../refusal.ts'

/** As clients write it; no blank that a parser may trim or keep. */
const TYPE = /^multipart\/form-data; ?boundary=("?)([A-Za-z0-9'()+_./:=?-]{1,70})\1$/i
const DISPOSITION =
  /^form-data; name="([A-Za-z0-9_.[\]-]{1,100})"(; filename="[^"\\]*"(?:; filename\*=utf-8''[A-Za-z0-9%._~!$&+^`|-]*)?)?$/i
const PLAIN_TEXT = /^text\/plain(?:; ?charset=(?:"utf-8"|utf-8))?$/i
const MAX_HEAD_BYTES = 4096
const MAX_PARTS = 256
/** What JSON writes without quotes. */
const LITERAL = /^(?:true|false|0|[1-9]\d{0,15})$/

const CRLF = '\r\n'
const DASHES = '--'

/** Undefined if the type is not that of a form. */
export function boundaryIn(contentType: string | null): string | undefined {
  return TYPE.exec(contentType ?? '')?.[2]
}

export function formFields(body: Uint8Array, boundary: string): Decision<Uint8Array> {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const parts = partsOf(bytes, DASHES + boundary)
  if (!parts) return UNREADABLE
  const members: string[] = []
  const lists = new Map<string, string[]>()
  const files = new Set<string>()
  for (const { head, value } of parts) {
    const field = fieldOf(head)
    if (!field) return UNREADABLE
    const { name, isFile } = field
    if (!isFile && !isUtf8(value)) return UNREADABLE
    if (isFile) files.add(name)
    else if (/[[\]]/.test(name)) {
      const inner = innerOf(name, written(value))
      if (!inner) return UNREADABLE
      lists.getOrInsert(inner.name, []).push(inner.value)
    }
    // One that is there twice is refused by the reader of the object.
    else members.push(`${JSON.stringify(name)}:${written(value)}`)
  }
  for (const [name, values] of lists) members.push(`${JSON.stringify(name)}:[${values.join(',')}]`)
  // A field of the same name is a second one.
  for (const name of files) members.push(`${JSON.stringify(name)}:null`)
  return granted(Buffer.from(`{${members.join(',')}}`))
}

/** `name`, then what stands in brackets: a member's name, or nothing or a number for an element. */
const BRACKETS = /^([A-Za-z0-9_.-]+)((?:\[[A-Za-z0-9_.-]*\])+)$/
const ELEMENT = /^\d*$/

/** `images[0][file_id]` is a member of an element, as servers read it: `{"images":[{"file_id":…}]}`. */
function innerOf(
  name: string,
  value: string,
): { readonly name: string; readonly value: string } | undefined {
  const [, outer, brackets] = BRACKETS.exec(name) ?? []
  if (outer === undefined || brackets === undefined) return undefined
  const inner = brackets
    .slice(1, -1)
    .split('][')
    .reduceRight((held, each, at) => {
      if (!ELEMENT.test(each)) return `{${JSON.stringify(each)}:${held}}`
      return at === 0 ? held : `[${held}]`
    }, value)
  return { name: outer, value: inner }
}

interface Part {
  readonly head: string
  readonly value: Buffer
}

function partsOf(bytes: Buffer, delimiter: string): readonly Part[] | undefined {
  const parts: Part[] = []
  let at = 0
  if (!startsAt(bytes, delimiter, 0)) return undefined
  while (parts.length < MAX_PARTS) {
    at += delimiter.length
    if (startsAt(bytes, DASHES, at)) {
      const rest = bytes.subarray(at + DASHES.length)
      return rest.length === 0 || rest.equals(Buffer.from(CRLF)) ? parts : undefined
    }
    if (!startsAt(bytes, CRLF, at)) return undefined
    at += CRLF.length
    const headEnd = bytes.subarray(at, at + MAX_HEAD_BYTES).indexOf(CRLF + CRLF)
    if (headEnd < 0) return undefined
    const head = bytes.toString('latin1', at, at + headEnd)
    const from = at + headEnd + 2 * CRLF.length
    // Wherever it stands, some parser takes it for the end of the part.
    at = bytes.indexOf(delimiter, from - CRLF.length)
    if (at < from || !startsAt(bytes, CRLF, at - CRLF.length)) return undefined
    const end = at - CRLF.length
    if (end < from) return undefined
    parts.push({ head, value: bytes.subarray(from, end) })
  }
  return undefined
}

const startsAt = (bytes: Buffer, text: string, at: number): boolean =>
  at >= 0 && bytes.toString('latin1', at, at + text.length) === text

function fieldOf(head: string): { readonly name: string; readonly isFile: boolean } | undefined {
  const headers = new Map<string, string>()
  for (const line of head.split(CRLF)) {
    const [, name = '', value = ''] = /^([A-Za-z-]+): ([^\r\n\0]*)$/.exec(line) ?? []
    const lower = name.toLowerCase()
    if (!HEADERS.has(lower) || headers.has(lower)) return undefined
    headers.set(lower, value)
  }
  const found = DISPOSITION.exec(headers.get('content-disposition') ?? '')
  if (!found) return undefined
  const [, name = '', filename] = found
  const isFile = filename !== undefined
  const type = headers.get('content-type')
  if (!isFile && type !== undefined && !PLAIN_TEXT.test(type)) return undefined
  return name === '_charset_' ? undefined : { name, isFile }
}

const HEADERS = new Set(['content-disposition', 'content-type', 'content-length'])

function written(value: Buffer): string {
  const text = value.toString('utf8')
  return LITERAL.test(text) ? text : JSON.stringify(text)
}

const UNREADABLE = refused('ambiguous_body', {
  reason: 'form',
  message: 'a form that this gate has to read must be written so that every parser reads it alike',
})
