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
  return repeatsMember(text) ? undefined : (value as JsonObject)
}

/** Expects text that JSON.parse has taken: then a string before a colon is a member's name. */
function repeatsMember(text: string): boolean {
  const open: (Set<string> | undefined)[] = []
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at]
    if (char === '{') open.push(new Set())
    else if (char === '[') open.push(undefined)
    else if (char === '}' || char === ']') open.pop()
    else if (char === '"') {
      const start = at
      at = endOfString(text, start)
      if (!followedByColon(text, at)) continue
      const names = open.at(-1)
      const name: string = JSON.parse(text.slice(start, at + 1))
      if (names?.has(name)) return true
      names?.add(name)
    }
  }
  return false
}

/** By hand: a regular expression gives up on a string of megabytes, and would not say so. */
function endOfString(text: string, start: number): number {
  let at = start + 1
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at
}

function followedByColon(text: string, end: number): boolean {
  let at = end + 1
  while (/\s/.test(text[at] ?? '')) at += 1
  return text[at] === ':'
}
