// POST /v1/responses of the stand-in enclave: one message or one tool call, as a whole or as events.
// Nothing is stored, so `previous_response_id` is ignored.

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
  type Usage,
} from './answer.ts'
import { toolCall } from './tool-calls.ts'

export function responses(body: Buffer): DevAnswer {
  const parsed = parseRequest(body, 'generate')
  if (!parsed.ok) return parsed.refusal
  const { fields, model } = parsed
  const input = fields['input']
  const messages = typeof input === 'string' ? [{ role: 'user', content: input }] : input
  if (!Array.isArray(messages) || messages.length === 0) return missing('input')

  const instructions = typeof fields['instructions'] === 'string' ? fields['instructions'] : null
  const last: unknown = messages.at(-1)
  const isToolResult = isObject(last) && last['type'] === 'function_call_output'
  const text = isToolResult ? String(last['output']) : lastUserText(messages)
  const call = isToolResult ? undefined : toolCall(fields['tools'], fields['tool_choice'], text)
  const generated = call
    ? generateArguments(call.arguments)
    : generate(text, fields['max_output_tokens'], isToolResult ? 'The tool' : 'You')
  const usage: Usage = {
    promptTokens: countMessageTokens(messages) + countTokens(instructions ?? ''),
    completionTokens: generated.tokens.length,
  }

  const itemId = `${call ? 'fc' : 'msg'}_${randomUUID()}`
  const callId = `call_${randomUUID()}`
  const endStatus = generated.truncated ? 'incomplete' : 'completed'
  const part = (text: string) => ({ type: 'output_text', text, annotations: [], logprobs: [] })
  const item = (status: string, content: object[]) => ({
    id: itemId,
    type: 'message',
    role: 'assistant',
    status,
    content,
  })
  const called = (status: string, written: string) => ({
    id: itemId,
    type: 'function_call',
    call_id: callId,
    name: call?.name,
    arguments: written,
    status,
  })
  const begun = {
    id: `resp_${randomUUID()}`,
    object: 'response',
    created_at: Math.floor(Date.now() / 1000),
    status: 'in_progress',
    error: null,
    incomplete_details: null,
    instructions,
    metadata: {},
    model,
    output: [] as object[],
    parallel_tool_calls: true,
    temperature: 1,
    tool_choice: 'auto',
    tools: [],
    top_p: 1,
    usage: null as object | null,
  }
  const ended = {
    ...begun,
    status: endStatus,
    incomplete_details: generated.truncated ? { reason: 'max_output_tokens' } : null,
    output: [call ? called('completed', generated.text) : item(endStatus, [part(generated.text)])],
    usage: onWire(usage),
  }
  if (fields['stream'] !== true) return json(ended, usage)

  let sequence = 0
  const event = (type: string, rest: object) => {
    const data = { type, sequence_number: sequence, ...rest }
    sequence += 1
    return `event: ${type}\ndata: ${JSON.stringify(data)}\n\n`
  }
  if (call) {
    const at = { item_id: itemId, output_index: 0 }
    const kind = 'response.function_call_arguments'
    const opening = [
      event('response.created', { response: begun }),
      event('response.in_progress', { response: begun }),
      event('response.output_item.added', { output_index: 0, item: called('in_progress', '') }),
    ].join('')
    const tokens = generated.tokens.map((delta) => event(`${kind}.delta`, { ...at, delta }))
    const closing = [
      event(`${kind}.done`, { ...at, name: call.name, arguments: generated.text }),
      event('response.output_item.done', { output_index: 0, item: ended.output[0] }),
      event('response.completed', { response: ended }),
    ].join('')
    return { kind: 'stream', opening, tokens, closing, usage }
  }
  const at = { item_id: itemId, output_index: 0, content_index: 0 }
  // Events are numbered when they are created, so create them in the order in which they are sent.
  const opening = [
    event('response.created', { response: begun }),
    event('response.in_progress', { response: begun }),
    event('response.output_item.added', { output_index: 0, item: item('in_progress', []) }),
    event('response.content_part.added', { ...at, part: part('') }),
  ].join('')
  const tokens = generated.tokens.map((delta) =>
    event('response.output_text.delta', { ...at, delta, logprobs: [] }),
  )
  const closing = [
    event('response.output_text.done', { ...at, text: generated.text, logprobs: [] }),
    event('response.content_part.done', { ...at, part: part(generated.text) }),
    event('response.output_item.done', { output_index: 0, item: ended.output[0] }),
    event(`response.${endStatus}`, { response: ended }),
  ].join('')
  return { kind: 'stream', opening, tokens, closing, usage }
}

function onWire({ promptTokens, completionTokens }: Usage) {
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: completionTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: promptTokens + completionTokens,
  }
}
