// JSON for documents that two parsers must not read differently: an object whose members appear
// once each. JSON.parse keeps the last of two and says nothing (RFC 8259 §4; RFC 7515 §5.2 step 4
// lets a verifier reject them, and one that doesn't can be told another story than the next one).

export type JsonObject = Readonly<Record<string, unknown>>

/** The text's object, or undefined where it is no JSON object or repeats a member at any depth. */
export function parseStrictObject(text: string): JsonObject | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return namesIn(text) === membersOf(value) ? (value as JsonObject) : undefined
}

/** Expects text that JSON.parse has taken: then a string before a colon is a member's name. */
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

/** At any depth; without recursion, since a stranger chooses the depth. */
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

/** By hand: a regular expression gives up on a string of megabytes, and would not say so. */
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
  let at = end + 1
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at += 1
  return text[at] === ':'
}
