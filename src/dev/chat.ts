// POST /v1/chat/completions and the older /v1/completions of the stand-in enclave. There is always one
// choice; images and sampling settings are accepted and have no effect. A tool is called once, and its
// result is answered in words.

import { randomUUID } from 'node:crypto'

import {
  countMessageTokens,
  countTokens,
  generate,
  generateArguments,
  isObject,
  json,
  lastUserText,
  missing,
  parseRequest,
  type DevAnswer,
  type DevFields,
  type Generated,
  type Usage,
  textOf,
} from './answer.ts'
import { type DevToolCall, toolCall } from './tool-calls.ts'

export function chatCompletions(body: Buffer): DevAnswer {
  const parsed = parseRequest(body, 'generate')
  if (!parsed.ok) return parsed.refusal
  const { fields, model } = parsed
  const messages = fields['messages']
  if (!Array.isArray(messages) || messages.length === 0) return missing('messages')

  const last: unknown = messages.at(-1)
  const isToolResult = isObject(last) && last['role'] === 'tool'
  const text = isToolResult ? textOf(last['content']) : lastUserText(messages)
  const call = isToolResult ? undefined : toolCall(fields['tools'], fields['tool_choice'], text)
  if (call) return toolCallAnswer(fields, model, messages, call)

  const limit = fields['max_completion_tokens'] ?? fields['max_tokens']
  const generated = generate(text, limit, isToolResult ? 'The tool' : 'You')
  const usage = usageOf(countMessageTokens(messages), generated)
  const finish = finishReason(generated)
  const shape = envelope('chatcmpl', model)

  if (fields['stream'] === true) {
    const chunk = { ...shape, object: 'chat.completion.chunk' }
    return stream(fields, chunk, generated, usage, {
      first: { index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null },
      token: (token) => ({ index: 0, delta: { content: token }, finish_reason: null }),
      last: { index: 0, delta: {}, finish_reason: finish },
    })
  }
  const message = { role: 'assistant', content: generated.text, refusal: null }
  const choices = [{ index: 0, message, logprobs: null, finish_reason: finish }]
  return json({ ...shape, object: 'chat.completion', choices, usage: onWire(usage) }, usage)
}

function toolCallAnswer(
  fields: DevFields,
  model: string,
  messages: readonly unknown[],
  { name, arguments: text }: DevToolCall,
): DevAnswer {
  const generated = generateArguments(text)
  const usage = usageOf(countMessageTokens(messages), generated)
  const shape = envelope('chatcmpl', model)
  const call = { id: `call_${randomUUID()}`, type: 'function' }
  if (fields['stream'] === true) {
    const delta = (tools: object, more: object = {}) => ({
      index: 0,
      delta: { ...more, tool_calls: [{ index: 0, ...tools }] },
      finish_reason: null,
    })
    const chunk = { ...shape, object: 'chat.completion.chunk' }
    return stream(fields, chunk, generated, usage, {
      first: delta(
        { ...call, function: { name, arguments: '' } },
        { role: 'assistant', content: null },
      ),
      token: (token) => delta({ function: { arguments: token } }),
      last: { index: 0, delta: {}, finish_reason: 'tool_calls' },
    })
  }
  const tool_calls = [{ ...call, function: { name, arguments: text } }]
  const message = { role: 'assistant', content: null, refusal: null, tool_calls }
  const choices = [{ index: 0, message, logprobs: null, finish_reason: 'tool_calls' }]
  return json({ ...shape, object: 'chat.completion', choices, usage: onWire(usage) }, usage)
}

export function completions(body: Buffer): DevAnswer {
  const parsed = parseRequest(body, 'generate')
  if (!parsed.ok) return parsed.refusal
  const { fields, model } = parsed
  const prompt = fields['prompt']
  const texts = typeof prompt === 'string' ? [prompt] : prompt
  if (!Array.isArray(texts) || !texts.every((text) => typeof text === 'string')) {
    return missing('prompt')
  }

  const generated = generate(texts.at(-1) ?? '', fields['max_tokens'])
  const promptTokens = texts.reduce((sum, text) => sum + countTokens(text), 0)
  const usage = usageOf(promptTokens, generated)
  const finish = finishReason(generated)
  const shape = { ...envelope('cmpl', model), object: 'text_completion' }
  const choice = (text: string, reason: string | null) => ({
    index: 0,
    text,
    logprobs: null,
    finish_reason: reason,
  })

  if (fields['stream'] === true) {
    return stream(fields, shape, generated, usage, {
      token: (token) => choice(token, null),
      last: choice('', finish),
    })
  }
  return json({ ...shape, choices: [choice(generated.text, finish)], usage: onWire(usage) }, usage)
}

interface Choices {
  readonly first?: object
  readonly token: (token: string) => object
  readonly last: object
}

function stream(
  fields: DevFields,
  shape: object,
  generated: Generated,
  usage: Usage,
  { first, token, last }: Choices,
): DevAnswer {
  const options = fields['stream_options']
  const includeUsage = isObject(options) && options['include_usage'] === true
  // With include_usage every chunk has the field; it is null in all but the last one.
  const chunk = (choice: object) =>
    event({ ...shape, choices: [choice], ...(includeUsage && { usage: null }) })
  const tally = includeUsage ? event({ ...shape, choices: [], usage: onWire(usage) }) : ''
  return {
    kind: 'stream',
    opening: first ? chunk(first) : '',
    tokens: generated.tokens.map((text) => chunk(token(text))),
    closing: `${chunk(last)}${tally}data: [DONE]\n\n`,
    usage,
  }
}

function event(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`
}

function envelope(prefix: string, model: string) {
  return { id: `${prefix}-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model }
}

function usageOf(promptTokens: number, generated: Generated): Usage {
  return { promptTokens, completionTokens: generated.tokens.length }
}

function onWire({ promptTokens, completionTokens }: Usage) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  }
}

function finishReason(generated: Generated): string {
  return generated.truncated ? 'length' : 'stop'
}
