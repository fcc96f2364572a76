// POST /v1/messages, its count_tokens and the older /v1/complete of the Anthropic stand-in: one text
// block. Tools, images, thinking and sampling settings are accepted and have no effect; a tool is never
// called.

import { randomUUID } from 'node:crypto'

import {
  countMessageTokens,
  countTokens,
  generate,
  isObject,
  json,
  parseJson,
  textOf,
  type DevAnswer,
  type DevFields,
  type Usage,
  type WholeAnswer,
} from '../answer.ts'
import type { Refuse } from './errors.ts'
import { isServed, isServedByComplete } from './models.ts'

// The markers of turns in the older API's prompts.
const HUMAN = '\n\nHuman:'
const ASSISTANT = '\n\nAssistant:'

export function messages(body: Buffer, refuse: Refuse): DevAnswer {
  const asked = readMessages(body, refuse)
  if (!asked.ok) return asked.refusal
  const { fields, model, messages } = asked
  const maxTokens = fields['max_tokens']
  if (!isPositiveInteger(maxTokens)) return required('max_tokens', maxTokens, refuse)

  const generated = generate(lastWords(messages), maxTokens)
  const usage: Usage = {
    promptTokens: countPrompt(fields, messages),
    completionTokens: generated.tokens.length,
  }
  const message = {
    id: `msg_dev_${compactUuid()}`,
    type: 'message',
    role: 'assistant',
    model,
    content: [] as object[],
    stop_reason: null as string | null,
    stop_sequence: null,
    usage: { ...onWire(usage.promptTokens, 1), ...askedOf(fields) },
  }
  const end = { stop_reason: generated.truncated ? 'max_tokens' : 'end_turn', stop_sequence: null }
  const finalUsage = onWire(usage.promptTokens, usage.completionTokens)

  if (fields['stream'] !== true) {
    const content = [{ type: 'text', text: generated.text }]
    const all = { ...finalUsage, ...askedOf(fields) }
    return json({ ...message, ...end, content, usage: all }, usage)
  }
  const block = { type: 'text', text: '' }
  return {
    kind: 'stream',
    opening:
      event('message_start', { message }) +
      event('content_block_start', { index: 0, content_block: block }) +
      event('ping', {}),
    tokens: generated.tokens.map((text) =>
      event('content_block_delta', { index: 0, delta: { type: 'text_delta', text } }),
    ),
    closing:
      event('content_block_stop', { index: 0 }) +
      event('message_delta', { delta: end, usage: finalUsage }) +
      event('message_stop', {}),
    usage,
  }
}

/** Settings that change the price of a token are echoed. */
function askedOf({ speed, inference_geo: geo }: DevFields): object {
  return {
    ...(speed === 'fast' ? { speed } : {}),
    ...(typeof geo === 'string' ? { inference_geo: geo } : {}),
  }
}

export function countMessagesTokens(body: Buffer, refuse: Refuse): DevAnswer {
  const asked = readMessages(body, refuse)
  if (!asked.ok) return asked.refusal
  return json({ input_tokens: countPrompt(asked.fields, asked.messages) })
}

export function complete(body: Buffer, refuse: Refuse): DevAnswer {
  const fields = parseJson(body)
  if (fields === undefined) return notJson(refuse)
  const { model, prompt, max_tokens_to_sample: maxTokens } = fields
  if (typeof model !== 'string' || model === '') return required('model', model, refuse)
  if (!isServedByComplete(model)) return unknownModel(refuse)
  if (typeof prompt !== 'string' || prompt === '') return required('prompt', prompt, refuse)
  if (!isPositiveInteger(maxTokens)) return required('max_tokens_to_sample', maxTokens, refuse)

  const lastTurn = prompt.slice(prompt.lastIndexOf(HUMAN) + HUMAN.length)
  const said = prompt.includes(HUMAN) ? (lastTurn.split(ASSISTANT, 1)[0] ?? '') : prompt
  const generated = generate(said, maxTokens)
  const usage = {
    promptTokens: countTokens(prompt),
    completionTokens: generated.tokens.length,
  }
  const id = `compl_dev_${compactUuid()}`
  const completion = (text: string, stopReason: string | null) => ({
    type: 'completion',
    id,
    completion: text,
    stop_reason: stopReason,
    model,
    stop: stopReason === 'stop_sequence' ? HUMAN : null,
    log_id: id,
  })
  const stopReason = generated.truncated ? 'max_tokens' : 'stop_sequence'
  if (fields['stream'] !== true) return json(completion(generated.text, stopReason), usage)
  return {
    kind: 'stream',
    opening: event('ping', {}),
    tokens: generated.tokens.map((text) => event('completion', completion(text, null))),
    closing: event('completion', completion('', stopReason)),
    usage,
  }
}

type AskedMessages =
  | { ok: true; fields: DevFields; model: string; messages: readonly unknown[] }
  | { ok: false; refusal: WholeAnswer }

function readMessages(body: Buffer, refuse: Refuse): AskedMessages {
  const fields = parseJson(body)
  if (fields === undefined) return { ok: false, refusal: notJson(refuse) }
  const { model, messages: given } = fields
  if (typeof model !== 'string' || model === '') {
    return { ok: false, refusal: required('model', model, refuse) }
  }
  if (!isServed(model)) return { ok: false, refusal: unknownModel(refuse) }
  if (!Array.isArray(given) || given.length === 0) {
    return { ok: false, refusal: required('messages', given, refuse) }
  }
  return { ok: true, fields, model, messages: given }
}

/** Only the last text block: clients put their own instructions into those before it. */
function lastWords(messages: readonly unknown[]): string {
  const last = messages.findLast((each) => isObject(each) && each['role'] === 'user')
  const content = isObject(last) ? last['content'] : undefined
  if (!Array.isArray(content)) return textOf(content)
  const texts = content.map((block: unknown) => textOf([block]))
  return texts.findLast((text) => text !== '') ?? ''
}

function countPrompt(fields: DevFields, messages: readonly unknown[]): number {
  const { system, tools } = fields
  const toolTokens = Array.isArray(tools) ? countTokens(JSON.stringify(tools)) : 0
  return countMessageTokens(messages) + countTokens(textOf(system)) + toolTokens
}

function event(type: string, rest: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`
}

function onWire(inputTokens: number, outputTokens: number) {
  return {
    input_tokens: inputTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
    cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
    output_tokens: outputTokens,
    service_tier: 'standard',
  }
}

function required(field: string, given: unknown, refuse: Refuse): WholeAnswer {
  const message = given === undefined ? 'Field required' : 'Input should be valid'
  return refuse('invalid_request_error', `${field}: ${message}`)
}

function notJson(refuse: Refuse): WholeAnswer {
  return refuse('invalid_request_error', 'The request body is not valid JSON')
}

/** Without the name, because a stranger's text is not repeated. */
function unknownModel(refuse: Refuse): WholeAnswer {
  return refuse('not_found_error', 'model: not found')
}

function isPositiveInteger(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0
}

function compactUuid(): string {
  return randomUUID().replaceAll('-', '')
}
