// Tool calls of the stand-ins for OpenAI's dialect: they call a tool once, with arguments that fit its
// schema, and answer in words when its result arrives. So a tool loop can be tried.

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

/** `text`: the value of text arguments. Undefined if no tool is to be called. */
export function toolCall(tools: unknown, choice: unknown, text: string): DevToolCall | undefined {
  if (!Array.isArray(tools) || choice === 'none') return undefined
  const functions = tools.map(functionIn).filter((each) => each !== undefined)
  const wanted = functionIn(choice)?.name
  const found = wanted === undefined ? functions[0] : functions.find(({ name }) => name === wanted)
  if (!found) return undefined
  const sample = sampleOf(found.parameters, text, 0)
  return { name: found.name, arguments: JSON.stringify(isObject(sample) ? sample : {}) }
}

/** Chat completions nest it in `function`; responses put it beside `type`. */
function functionIn(tool: unknown): DevFunction | undefined {
  if (!isObject(tool) || tool['type'] !== 'function') return undefined
  const { name, parameters } = isObject(tool['function']) ? tool['function'] : tool
  return typeof name === 'string' ? { name, parameters } : undefined
}

/** A small value for a JSON Schema: the required members, or all if none is required. */
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
