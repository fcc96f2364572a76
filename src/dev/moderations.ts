// POST /v1/moderations of the OpenAI stand-in: it never flags anything.

import { randomUUID } from 'node:crypto'

import { type DevAnswer, json, missing, parseJson, refuse } from './answer.ts'

const CATEGORIES = ['hate', 'harassment', 'self-harm', 'sexual', 'violence', 'illicit'] as const
const MAX_INPUTS = 64

export function moderations(body: Buffer): DevAnswer {
  const fields = parseJson(body)
  if (fields === undefined) return refuse(400, 'The request body is not a JSON object.')
  const { input, model = 'omni-moderation-latest' } = fields
  const inputs = Array.isArray(input) ? input : [input]
  if (input === undefined || inputs.length === 0 || inputs.length > MAX_INPUTS) {
    return missing('input')
  }
  const all = <T>(value: T) => Object.fromEntries(CATEGORIES.map((each) => [each, value]))
  const results = inputs.map(() => ({
    flagged: false,
    categories: all(false),
    category_scores: all(0),
  }))
  return json({ id: `modr-${randomUUID()}`, model, results })
}
