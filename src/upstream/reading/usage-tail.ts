// Finds the usage at the end of a large JSON document: the last member of that name, and a model right
// before it. JSON strings escape their quotes, so neither can be inside a text. A model name that is
// further away may be the caller's own, in a tool's schema that the response repeats.

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

/** Counts contain no text with a brace; otherwise the cut is not JSON, and there is no usage. */
function objectEnd(text: string, from: number): number {
  let depth = 0
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === '{') depth += 1
    else if (text[at] === '}' && --depth === 0) return at + 1
  }
  return text.length
}
