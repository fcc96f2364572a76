// Reads YAML 1.2 and JSON with the `yaml` library, which reports the line of every node. It refuses features
// that change the meaning of a document: aliases, tags, directives, several documents. The parser's own
// messages are never shown, because they may quote a secret.

import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Pair,
  type ParsedNode,
} from 'yaml'
import {
  type Member,
  type Node,
  type Parsed,
  type Position,
  START,
  type Unreadable,
} from './node.ts'

const ADVICE: Readonly<Record<string, readonly [message: string, hint: string]>> = {
  DUPLICATE_KEY: ['is given twice', 'keep one of them'],
  TAB_AS_INDENT: ['is indented with a tab', 'indent with spaces'],
  MULTIPLE_DOCS: ['begins a second document', 'one file holds one document'],
  NON_STRING_KEY: ['is not a member name', 'write NAME: VALUE'],
  RESOURCE_EXHAUSTION: ['is nested too deep', 'no member stands deeper than a few levels'],
}
const OTHER = ['is not YAML', 'check quotes, colons, brackets and indentation there'] as const
/** For a file that is not YAML at all. */
const MAX_SHOWN = 10

export function parseYaml(text: string): Parsed {
  const lines = new LineCounter()
  const document = parseDocument(text, {
    version: '1.2',
    schema: 'core',
    strict: true,
    uniqueKeys: true,
    stringKeys: true,
    merge: false,
    prettyErrors: false,
    lineCounter: lines,
  })
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  }
  const tooDeep = document.errors.find(({ code }) => code === 'RESOURCE_EXHAUSTION')
  const errors = tooDeep ? [tooDeep] : document.errors.slice(0, MAX_SHOWN)
  const wrong: Unreadable[] = errors.map(({ code, pos }) => {
    const [message, hint] = ADVICE[code] ?? OTHER
    const name = code === 'DUPLICATE_KEY' ? nameAt(text, pos[0]) : undefined
    return { at: at(pos[0]), name, message, hint }
  })
  if (document.directives.yaml.explicit === true) {
    wrong.push({
      at: START,
      message: 'has a %YAML directive',
      hint: 'leave it out; this is YAML 1.2',
    })
  }
  if (wrong.length > 0) return { ok: false, wrong }

  const nodeOf = (node: ParsedNode | null, from: Position): Node => {
    if (node === null) return { kind: 'value', at: from, value: null }
    const place = at(node.range[0])
    if (isAlias(node)) {
      wrong.push({ at: place, message: 'is an alias', hint: 'write it out; no alias is followed' })
      return { kind: 'value', at: place, value: null }
    }
    if (node.tag !== undefined) {
      wrong.push({ at: place, message: 'has a tag', hint: 'leave out ! and the word after it' })
    }
    if (isMap(node)) {
      const members = (node.items as Pair<ParsedNode, ParsedNode | null>[]).map(
        ({ key, value }) => {
          const there = at(key.range[0])
          const name = isScalar(key) ? String(key.value) : ''
          return { name, at: there, value: nodeOf(value, there) } satisfies Member
        },
      )
      return { kind: 'map', at: place, members }
    }
    if (isSeq(node)) {
      const items = (node.items as (ParsedNode | null)[]).map((item) => nodeOf(item, place))
      return { kind: 'list', at: place, items }
    }
    return { kind: 'value', at: place, value: plain(node.value) }
  }
  const root = nodeOf(document.contents, START)
  return wrong.length > 0 ? { ok: false, wrong } : { ok: true, root }
}

export function parseJson(text: string): Parsed {
  try {
    JSON.parse(text)
  } catch {
    const read = parseYaml(text)
    const [first] = read.ok ? [] : read.wrong
    const hint = 'check quotes, commas and brackets; JSON has no comments'
    return { ok: false, wrong: [{ at: first?.at ?? START, message: 'is not JSON', hint }] }
  }
  // In JSON a tab can only stand between tokens; YAML forbids it there.
  return parseYaml(text.replaceAll('\t', ' '))
}

function plain(value: unknown): string | number | boolean | null | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined
  return typeof value === 'string' || typeof value === 'boolean' || value === null
    ? value
    : undefined
}

/** The form of our members' names; any other text may be a secret and is not shown. */
function nameAt(text: string, offset: number): string | undefined {
  return /^["']?([a-z][a-z0-9_]{0,40})["']?\s*:/.exec(text.slice(offset, offset + 60))?.[1]
}
