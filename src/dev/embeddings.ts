// POST /v1/embeddings of the stand-in enclave: unit vectors from a hash of the input. Equal inputs give
// equal vectors; distances between vectors mean nothing.

import { createHash } from 'node:crypto'

import {
  countTokens,
  json,
  missing,
  parseRequest,
  refuse,
  type DevAnswer,
  type Usage,
} from './answer.ts'

const DIMENSIONS: ReadonlyMap<string, number> = new Map([
  ['nomic-embed-text', 768],
  ['text-embedding-3-small', 1536],
])
/** OpenAI's limit for one request. */
const MAX_INPUTS = 2048

type Input = string | readonly number[]

export function embeddings(body: Buffer): DevAnswer {
  const parsed = parseRequest(body, 'embed')
  if (!parsed.ok) return parsed.refusal
  const { fields, model } = parsed
  const most = DIMENSIONS.get(model) ?? 0
  const inputs = readInputs(fields['input'])
  if (inputs === undefined) return missing('input')

  const dimensions = fields['dimensions'] ?? most
  const isSize = typeof dimensions === 'number' && Number.isInteger(dimensions)
  if (!isSize || dimensions < 1 || dimensions > most) {
    return refuse(400, `'dimensions' must be between 1 and ${most}.`)
  }
  const encoding = fields['encoding_format'] ?? 'float'
  if (encoding !== 'float' && encoding !== 'base64') return missing('encoding_format')

  const data = inputs.map((input, index) => {
    const vector = vectorOf(input, dimensions)
    const embedding = encoding === 'base64' ? base64(vector) : Array.from(vector)
    return { object: 'embedding', index, embedding }
  })
  const promptTokens = inputs.reduce((sum, input) => sum + tokensIn(input), 0)
  const usage: Usage = { promptTokens, completionTokens: 0 }
  const onWire = { prompt_tokens: promptTokens, total_tokens: promptTokens }
  return json({ object: 'list', data, model, usage: onWire }, usage)
}

/** A text, a list of texts, a list of token ids or a list of those. */
function readInputs(input: unknown): Input[] | undefined {
  if (typeof input === 'string') return [input]
  if (!Array.isArray(input) || input.length === 0) return undefined
  if (isTokenIds(input)) return [input]
  if (input.length > MAX_INPUTS) return undefined
  const isList = input.every((each) => typeof each === 'string' || isTokenIds(each))
  return isList ? (input as Input[]) : undefined
}

function isTokenIds(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((id) => Number.isInteger(id))
}

function tokensIn(input: Input): number {
  return typeof input === 'string' ? countTokens(input) : input.length
}

function vectorOf(input: Input, dimensions: number): Float32Array {
  const seed = createHash('sha256').update(JSON.stringify(input)).digest()
  const vector = new Float32Array(dimensions)
  let squares = 0
  for (let block = 0; block * 8 < dimensions; block += 1) {
    const bytes = createHash('sha256').update(seed).update(`${block}`).digest()
    for (let i = 0; i < 8 && block * 8 + i < dimensions; i += 1) {
      const value = bytes.readInt32BE(i * 4) / 2 ** 31
      vector[block * 8 + i] = value
      squares += value * value
    }
  }
  return vector.map((value) => value / Math.sqrt(squares))
}

/** Little-endian float32 on every machine. */
function base64(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4)
  vector.forEach((value, index) => bytes.writeFloatLE(value, index * 4))
  return bytes.toString('base64')
}
