// The models that the Anthropic stand-in lists, and the names that it accepts. None of them runs.

import { json, type DevAnswer } from '../answer.ts'
import type { Refuse } from './errors.ts'

/** Newest first, as Anthropic lists them. */
const MODELS = [
  ['claude-haiku-5-5', 'Claude Haiku 5.5', '2026-10-07'],
  ['claude-sonnet-5-5', 'Claude Sonnet 5.5', '2026-09-28'],
  ['claude-opus-5-5', 'Claude Opus 5.5', '2026-09-01'],
  ['claude-opus-4-6', 'Claude Opus 4.6', '2026-02-05'],
  ['claude-haiku-4-5-20251001', 'Claude Haiku 4.5', '2025-10-15'],
].map(([id, displayName, date]) => ({
  type: 'model',
  id,
  display_name: displayName,
  created_at: `${date}T00:00:00Z`,
}))

/**
 * Clients of every age bring their own model names, so every name of a family is accepted and the list is
 * only an example. Other names are unknown.
 */
const SERVED = /^claude-(?:[\d.-]+-)?(?:opus|sonnet|haiku|fable|mythos|instant)(?:-[\w.-]{1,64})?$/
const SERVED_BY_COMPLETE = /^claude-(?:2|2\.[01]|instant-1(?:\.[12])?)$/

const MAX_LIMIT = 1000
const DEFAULT_LIMIT = 20

export function isServed(model: string): boolean {
  return SERVED.test(model)
}

export function isServedByComplete(model: string): boolean {
  return SERVED_BY_COMPLETE.test(model) || SERVED.test(model)
}

export function listModels(query: URLSearchParams, refuse: Refuse): DevAnswer {
  const limit = query.get('limit') ?? String(DEFAULT_LIMIT)
  if (!/^\d{1,4}$/.test(limit) || Number(limit) < 1 || Number(limit) > MAX_LIMIT) {
    return refuse('invalid_request_error', `limit: Input should be from 1 to ${MAX_LIMIT}`)
  }
  const [before, after] = [query.get('before_id'), query.get('after_id')]
  if (before !== null && after !== null) {
    return refuse('invalid_request_error', 'Only one of before_id and after_id can be given')
  }
  const position = MODELS.findIndex(({ id }) => id === (before ?? after))
  if ((before ?? after) !== null && position === -1) {
    return refuse('invalid_request_error', 'before_id or after_id names no model of the list')
  }
  const rest = before === null ? MODELS.slice(position + 1) : MODELS.slice(0, position)
  // `before_id` asks for the page that ends right before that model.
  const data = before === null ? rest.slice(0, Number(limit)) : rest.slice(-Number(limit))
  return json({
    data,
    has_more: data.length < rest.length,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
  })
}

export function oneModel(id: string, refuse: Refuse): DevAnswer {
  const listed = MODELS.find((model) => model.id === id)
  if (listed) return json(listed)
  if (!isServed(id)) return refuse('not_found_error', 'model: not found')
  return json({ type: 'model', id, display_name: id, created_at: '1970-01-01T00:00:00Z' })
}
