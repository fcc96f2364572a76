// Sets a member in the text of a JSON object and leaves every other byte as it was: indentation,
// line ends, the order of keys. It refuses what it cannot edit without a guess; its callers parse
// the outcome again before they believe it.

/** Where a value of the top-level object stands in the text. */
interface Member {
  readonly name: string
  readonly start: number
  readonly end: number
}

interface Layout {
  /** Of the opening brace. */
  readonly open: number
  readonly members: readonly Member[]
}

/** `text` must be valid JSON with an object at `at`. Undefined where a name comes twice. */
export function setMember(
  text: string,
  path: readonly [string] | readonly [string, string],
  value: string,
): string | undefined {
  const [name, inner] = path
  const top = layout(text, skipSpace(text, 0))
  if (!top) return undefined
  const member = top.members.find((each) => each.name === name)
  if (inner === undefined) return put(text, top, member, name, JSON.stringify(value), 1)
  if (!member) {
    const unit = indentation(text, top)
    const made =
      unit === undefined
        ? JSON.stringify({ [inner]: value })
        : `{${unit.newline}${unit.indent.repeat(2)}${JSON.stringify(inner)}: ${JSON.stringify(value)}${unit.newline}${unit.indent}}`
    return put(text, top, undefined, name, made, 1)
  }
  const nested = layout(text, member.start)
  if (!nested) return undefined
  const present = nested.members.find((each) => each.name === inner)
  return put(text, nested, present, inner, JSON.stringify(value), 2)
}

/** New members go last; an object that stands on one line stays there. */
function put(
  text: string,
  { open, members }: Layout,
  member: Member | undefined,
  name: string,
  value: string,
  depth: 1 | 2,
): string {
  if (member) return text.slice(0, member.start) + value + text.slice(member.end)
  const unit = indentation(text, { open, members })
  const entry = `${JSON.stringify(name)}:${unit || members.length === 0 ? ' ' : spaceAfterColon(text)}${value}`
  const last = members.at(-1)
  if (last) {
    const between = unit ? unit.newline + unit.before : spaceAfterColon(text)
    return `${text.slice(0, last.end)},${between}${entry}${text.slice(last.end)}`
  }
  // An empty object: whatever stood between its braces was space.
  const close = skipSpace(text, open + 1)
  const top = layout(text, skipSpace(text, 0))
  const outer = indentation(text, top)
  if (!outer && top && top.members.length > 0) {
    return `${text.slice(0, open + 1)}${entry}${text.slice(close)}`
  }
  const { newline, indent } = outer ?? {
    newline: text.includes('\r\n') ? '\r\n' : '\n',
    indent: '  ',
  }
  const before = newline + indent.repeat(depth)
  const after = newline + indent.repeat(depth - 1)
  return `${text.slice(0, open + 1)}${before}${entry}${after}${text.slice(close)}`
}

function spaceAfterColon(text: string): string {
  return /":\s/.test(text) ? ' ' : ''
}

interface Indentation {
  readonly newline: string
  /** What stands before a member. */
  readonly before: string
  /** One step. */
  readonly indent: string
}

function indentation(text: string, of: Layout | undefined): Indentation | undefined {
  if (!of || of.members.length === 0) return undefined
  const found = /^(\r?\n)\s*?([ \t]*)"/.exec(text.slice(of.open + 1))
  if (!found) return undefined
  const [, newline = '\n', before = ''] = found
  return { newline, before, indent: before === '' ? '' : before }
}

/** JSON is valid, so only strings and depth have to be told apart. */
function layout(text: string, open: number): Layout | undefined {
  if (text[open] !== '{') return undefined
  const members: Member[] = []
  let at = skipSpace(text, open + 1)
  while (text[at] === '"') {
    const nameEnd = skipValue(text, at)
    const name = String(JSON.parse(text.slice(at, nameEnd)))
    // Which of two a reader takes is its own affair.
    if (members.some((each) => each.name === name)) return undefined
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1)
    const end = skipValue(text, start)
    members.push({ name, start, end })
    at = skipSpace(text, end)
    if (text[at] === ',') at = skipSpace(text, at + 1)
  }
  return { open, members }
}

function skipSpace(text: string, from: number): number {
  let at = from
  while (at < text.length && ' \t\r\n\uFEFF'.includes(text.charAt(at))) at += 1
  return at
}

function skipValue(text: string, from: number): number {
  let depth = 0
  for (let at = from; at < text.length; at += 1) {
    const char = text.charAt(at)
    if (char === '"') {
      at += 1
      while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1
      if (depth === 0) return at + 1
    } else if (char === '{' || char === '[') depth += 1
    else if (char === '}' || char === ']') {
      depth -= 1
      if (depth === 0) return at + 1
      // The end of the object around a bare value.
      if (depth < 0) return trimEnd(text, from, at)
    } else if (char === ',' && depth === 0) return trimEnd(text, from, at)
  }
  return text.length
}

function trimEnd(text: string, from: number, to: number): number {
  return from + text.slice(from, to).trimEnd().length
}
