// What the end of a large JSON document says of its usage: the last member of that name, and a model
// right before it. A JSON string escapes its quotes, so none of these is part of a text. A name that is
// further away may be the caller's own, in a tool's schema that the answer repeats.

import { parseObject } from './json-object.ts'

const USAGE = /"usage":\s*(?=\{)/g
const MODEL = /^"model": ?("[^"\\]{1,128}"), ?$/

export function usageInTail(tail: string): Readonly<Record<string, unknown>> | undefined {
  let from = -1
  let at = -1
  for (const found of tail.matchAll(USAGE)) {
    from = found.index
    at = from + found[0].length
  }
  if (at === -1) return undefined
  const usage = parseObject(tail.slice(at, objectEnd(tail, at)))
  const before = tail.slice(0, from)
  const model = MODEL.exec(before.slice(before.lastIndexOf('"model":')))?.[1]
  return usage && { usage, ...(model && { model: JSON.parse(model) }) }
}

/** Counts hold no text with a brace in it; what does is no JSON then, and says nothing. */
function objectEnd(text: string, from: number): number {
  let depth = 0
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === '{') depth += 1
    else if (text[at] === '}' && --depth === 0) return at + 1
  }
  return text.length
}
