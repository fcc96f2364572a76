// The addresses in `X-Forwarded-For`, in the forms that balancers write, and in `Forwarded` (RFC 7239).
// They are read from the end, because each proxy appends its entry; address.ts decides how many of them
// to believe.

import { isIP } from 'node:net'

/** Real chains are shorter. */
const MAX_HOPS = 20

/** The last hop comes first. Undefined is an entry without an address; ignore what follows it. */
export type Hops = readonly (string | undefined)[]

/** `203.0.113.9`, `203.0.113.9:443`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:443`. */
const NODE = /^(?:\[([0-9a-f:.]+)\]|([0-9.]+))(?::(?:\d{1,5}|_[\w.-]{1,64}))?$/i
const MAX_NODE_LENGTH = 128

/** Lines of the same header form one list (RFC 9110 §5.3); empty members are ignored (§5.6.1). */
export function hopsOfForwardedFor(header: string): Hops {
  const hops: (string | undefined)[] = []
  let end = header.length
  while (end >= 0 && hops.length < MAX_HOPS) {
    const comma = end === 0 ? -1 : header.lastIndexOf(',', end - 1)
    const member = header.slice(comma + 1, end).trim()
    if (member !== '') hops.push(addressOfNode(unquoted(member)))
    end = comma
  }
  return hops
}

/** Undefined if the header is malformed: an unclosed quote would hide what follows it. */
export function hopsOfForwarded(header: string): Hops | undefined {
  const hops: (string | undefined)[] = []
  let at = 0
  while (at < header.length) {
    at = skipBlanks(header, at)
    if (header[at] === ',') {
      at += 1
      continue
    }
    if (at >= header.length) break
    const element = readElement(header, at)
    if (!element) return undefined
    hops.push(element.node === undefined ? undefined : addressOfNode(element.node))
    at = element.end
  }
  return hops.toReversed().slice(0, MAX_HOPS)
}

/** `for=…;proto=…`, up to its comma. A repeated parameter is an error (RFC 7239 §4). */
function readElement(
  header: string,
  start: number,
): { readonly node: string | undefined; readonly end: number } | undefined {
  const seen = new Set<string>()
  let node: string | undefined
  let at = start
  for (;;) {
    at = skipBlanks(header, at)
    const name = tokenAt(header, at)
    at += name.length
    if (name !== '') {
      const key = name.toLowerCase()
      if (header[at] !== '=' || seen.has(key)) return undefined
      seen.add(key)
      const value = readValue(header, at + 1)
      if (!value) return undefined
      at = skipBlanks(header, value.end)
      if (key === 'for') node = value.text
    }
    if (at >= header.length) return { node, end: at }
    if (header[at] === ',') return { node, end: at + 1 }
    if (header[at] !== ';') return undefined
    at += 1
  }
}

/** A token or a quoted string (RFC 9110 §5.6.2, §5.6.4). Many proxies don't quote an address and port. */
function readValue(
  header: string,
  start: number,
): { readonly text: string; readonly end: number } | undefined {
  if (header[start] !== '"') {
    BARE_VALUE.lastIndex = start
    const text = BARE_VALUE.exec(header)?.[0] ?? ''
    return text === '' ? undefined : { text, end: start + text.length }
  }
  let text = ''
  for (let at = start + 1; at < header.length; at += 1) {
    if (header[at] === '"') return { text, end: at + 1 }
    if (header[at] === '\\') at += 1
    text += header[at] ?? ''
  }
  return undefined
}

const TOKEN = /[!#$%&'*+.^`|~\w-]*/y
const BARE_VALUE = /[!#$%&'*+.^`|~\w:[\]-]*/y

function tokenAt(header: string, at: number): string {
  TOKEN.lastIndex = at
  return TOKEN.exec(header)?.[0] ?? ''
}

function skipBlanks(header: string, from: number): number {
  let at = from
  while (header[at] === ' ' || header[at] === '\t') at += 1
  return at
}

function unquoted(member: string): string {
  return member.length > 1 && member.startsWith('"') && member.endsWith('"')
    ? member.slice(1, -1)
    : member
}

/** Undefined for `unknown`, `_hidden` and everything else without an address (RFC 7239 §6). */
function addressOfNode(node: string): string | undefined {
  if (node.length > MAX_NODE_LENGTH) return undefined
  if (isIP(node) !== 0) return node
  const [, six, four] = NODE.exec(node) ?? []
  const address = six ?? four ?? ''
  return isIP(address) === (six === undefined ? 4 : 6) ? address : undefined
}
