// Reads TOML 1.0 with a parser that reports the line of every node.

import { parseTOML, type AST } from 'toml-eslint-parser'
import { type Node, type Parsed, type Position, START } from './node.ts'

export function parseToml(text: string): Parsed {
  let program: AST.TOMLProgram
  try {
    program = parseTOML(text, { tomlVersion: '1.0' })
  } catch (error) {
    const {
      message,
      lineNumber = 1,
      column = 0,
    } = error as {
      message?: unknown
      lineNumber?: number
      column?: number
    }
    const twice = message === 'Defining a key multiple times is invalid'
    return {
      ok: false,
      wrong: [
        {
          at: { line: lineNumber, column: column + 1 },
          message: twice ? 'is given twice' : 'is not TOML',
          hint: twice ? 'keep one of them' : 'check quotes, brackets and = there',
        },
      ],
    }
  }
  const root = mapAt({ line: 1, column: 1 })
  const [top] = program.body
  for (const each of top.body) {
    if (each.type === 'TOMLKeyValue') assign(root, each)
    else for (const pair of each.body) assign(tableAt(root, each), pair)
    // A table without members still exists.
    if (each.type === 'TOMLTable') tableAt(root, each)
  }
  // Like an empty YAML or JSON document.
  if (root.members.length === 0)
    return { ok: true, root: { kind: 'value', at: START, value: null } }
  return { ok: true, root }
}

/** A table that is being built. The parser has already rejected duplicates. */
interface GrowingMap {
  readonly kind: 'map'
  readonly at: Position
  readonly members: { readonly name: string; readonly at: Position; readonly value: Growing }[]
}
interface GrowingList {
  readonly kind: 'list'
  readonly at: Position
  readonly items: Growing[]
}
type Growing = GrowingMap | GrowingList | Extract<Node, { kind: 'value' }>

const mapAt = (at: Position): GrowingMap => ({ kind: 'map', at, members: [] })
const positionOf = ({ loc }: AST.TOMLNode): Position => ({
  line: loc.start.line,
  column: loc.start.column + 1,
})

function child(map: GrowingMap, name: string, make: () => Growing, at: Position): Growing {
  const known = map.members.find((each) => each.name === name)
  if (known) return known.value
  const value = make()
  map.members.push({ name, at, value })
  return value
}

function tableAt(root: GrowingMap, table: AST.TOMLTable): GrowingMap {
  const at = positionOf(table)
  const { resolvedKey } = table
  let here: Growing = root
  for (const [index, step] of resolvedKey.entries()) {
    const make = (): Growing =>
      typeof resolvedKey[index + 1] === 'number' ? { kind: 'list', at, items: [] } : mapAt(at)
    if (here.kind === 'map') here = child(here, String(step), make, at)
    else if (here.kind === 'list') here = entryAt(here, Number(step), at)
  }
  return here.kind === 'map' ? here : mapAt(at)
}

function entryAt({ items }: GrowingList, index: number, at: Position): Growing {
  const known = items[index]
  if (known) return known
  const made = mapAt(at)
  items[index] = made
  return made
}

function assign(map: GrowingMap, { key, value }: AST.TOMLKeyValue): void {
  let here = map
  for (const [index, part] of key.keys.entries()) {
    const name = part.type === 'TOMLBare' ? part.name : part.value
    const at = positionOf(part)
    const last = index === key.keys.length - 1
    const next = child(here, name, () => (last ? nodeOf(value) : mapAt(at)), at)
    if (next.kind === 'map') here = next
  }
}

function nodeOf(content: AST.TOMLContentNode): Growing {
  const at = positionOf(content)
  if (content.type === 'TOMLArray') {
    return { kind: 'list', at, items: content.elements.map(nodeOf) }
  }
  if (content.type === 'TOMLInlineTable') {
    const map = mapAt(at)
    for (const pair of content.body) assign(map, pair)
    return map
  }
  const { value } = content
  if (typeof value === 'number') return { kind: 'value', at, value: finite(value) }
  const plain = typeof value === 'string' || typeof value === 'boolean' ? value : undefined
  return { kind: 'value', at, value: plain }
}

const finite = (value: number): number | undefined => (Number.isFinite(value) ? value : undefined)
