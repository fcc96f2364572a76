// What the embedded upstreams of OpenAI's dialect do with tools: they ask for one once, with arguments
// that fit its schema, and answer in words when its result is there. So a tool loop can be tried.

import { isObject } from './answer.ts'

export interface DevToolCall {
  readonly name: string
  /** JSON. */
  readonly arguments: string
}

interface DevFunction {
  readonly name: string
  readonly parameters: unknown
}

const MAX_DEPTH = 8

/** `text`: what a text among the arguments says. Undefined where no tool is to be asked. */
export function toolCall(tools: unknown, choice: unknown, text: string): DevToolCall | undefined {
  if (!Array.isArray(tools) || choice === 'none') return undefined
  const functions = tools.map(functionIn).filter((each) => each !== undefined)
  const wanted = functionIn(choice)?.name
  const found = wanted === undefined ? functions[0] : functions.find(({ name }) => name === wanted)
  if (!found) return undefined
  const sample = sampleOf(found.parameters, text, 0)
  return { name: found.name, arguments: JSON.stringify(isObject(sample) ? sample : {}) }
}

/** Chat completions have it within `function`, responses beside `type`. */
function functionIn(tool: unknown): DevFunction | undefined {
  if (!isObject(tool) || tool['type'] !== 'function') return undefined
  const { name, parameters } = isObject(tool['function']) ? tool['function'] : tool
  return typeof name === 'string' ? { name, parameters } : undefined
}

/** A small value of a JSON Schema: what it requires, and everything where it requires nothing. */
function sampleOf(schema: unknown, text: string, depth: number): unknown {
  if (!isObject(schema) || depth > MAX_DEPTH) return text
  const { default: usual, const: only, enum: choices, type, properties, items, required } = schema
  if (usual !== undefined) return usual
  if (only !== undefined) return only
  if (Array.isArray(choices) && choices.length > 0) return choices[0]
  const kind: unknown = Array.isArray(type) ? type[0] : type
  if (kind === 'object' || isObject(properties)) {
    const names = Array.isArray(required) ? required : Object.keys(Object(properties))
    const members = names.map((name: unknown): [string, unknown] => [
      String(name),
      sampleOf(Object(properties)[String(name)], text, depth + 1),
    ])
    return Object.fromEntries(members)
  }
  if (kind === 'array') return [sampleOf(items, text, depth + 1)]
  if (kind === 'integer' || kind === 'number') return Number(schema['minimum'] ?? 1)
  if (kind === 'boolean') return true
  return kind === 'null' ? null : text
}
