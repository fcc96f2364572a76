// Sets a member in the text of a JSON object and leaves every other byte as it was: indentation, line
// ends, the order of members. (jsonc-parser's own `modify` also reformats the lines beside its
// change.) Callers parse the result again before they trust it.

import { findNodeAtLocation, type Node, parseTree } from 'jsonc-parser'

const BYTE_ORDER_MARK = '\uFEFF'

/** `text` must be valid JSON. Undefined if it is not an object, or has a member twice. */
export function setMember(
  text: string,
  path: readonly [string] | readonly [string, string],
  value: string,
): string | undefined {
  const mark = text.startsWith(BYTE_ORDER_MARK) ? BYTE_ORDER_MARK : ''
  const json = text.slice(mark.length)
  const tree = parseTree(json)
  if (tree?.type !== 'object') return undefined
  const [name, innerName] = path
  const inner = innerName === undefined ? undefined : findNodeAtLocation(tree, [name])
  if (isAmbiguous(tree) || (inner && (inner.type !== 'object' || isAmbiguous(inner)))) {
    return undefined
  }
  const present = findNodeAtLocation(tree, [...path])
  if (present) return mark + replaced(json, present, JSON.stringify(value))
  const [into, added, made] = inner
    ? [inner, innerName ?? name, value]
    : [tree, name, innerName === undefined ? value : { [innerName]: value }]
  return mark + withMember(json, tree, into, added, made)
}

/** Parsers differ in which of two members with one name they take. */
function isAmbiguous({ children = [] }: Node): boolean {
  const names = children.map((member) => member.children?.[0]?.value)
  return new Set(names).size < names.length
}

/** New members go last. An object on one line stays on one line. */
function withMember(json: string, tree: Node, into: Node, name: string, value: unknown): string {
  const last = into.children?.at(-1)
  const around = last ? into : tree
  if (around.children?.length && !textOf(json, around).includes('\n')) {
    const space = /":\s/.test(json) ? ' ' : ''
    const entry = `${JSON.stringify(name)}:${space}${JSON.stringify(value)}`
    return last
      ? replaced(json, last, `${textOf(json, last)},${space}${entry}`)
      : replaced(json, into, `{${entry}}`)
  }
  const newline = json.includes('\r\n') ? '\r\n' : '\n'
  const [first] = tree.children ?? []
  const unit = (first && indentOf(json, first)) || '  '
  const outer = into === tree ? '' : unit
  const indent = last ? indentOf(json, last) : outer + unit
  const made = JSON.stringify(value, undefined, unit).replaceAll('\n', newline + indent)
  const entry = `${newline}${indent}${JSON.stringify(name)}: ${made}`
  return last
    ? replaced(json, last, `${textOf(json, last)},${entry}`)
    : replaced(json, into, `{${entry}${newline}${outer}}`)
}

/** The indentation of the line on which it begins. */
function indentOf(json: string, { offset }: Node): string {
  const line = json.slice(json.lastIndexOf('\n', offset) + 1, offset)
  return /^[ \t]*/.exec(line)?.[0] ?? ''
}

const textOf = (json: string, { offset, length }: Node): string =>
  json.slice(offset, offset + length)

const replaced = (json: string, { offset, length }: Node, text: string): string =>
  json.slice(0, offset) + text + json.slice(offset + length)
