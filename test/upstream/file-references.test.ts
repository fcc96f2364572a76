// Which files, vector stores and containers a body names, where callers can make them: in OpenAI's dialect
// and in Anthropic's.

import { describe, expect, test } from 'bun:test'
import { anthropicReferring } from '../../src/upstream/anthropic/references.ts'
import { referringTo } from '../../src/upstream/openai/references.ts'
import { formFields } from '../../src/upstream/reading/form.ts'

type Read = ReturnType<typeof anthropicReferring>
const named = (read: Read, body: object | string): unknown => {
  const found = read?.(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))
  return found && (found.ok ? found.value : found.code)
}
const openAi = (path: string, body: object | string, hasFiles = true, keepsChats = true): unknown =>
  named(referringTo(path, { hasFiles, keepsChats }), body)
const inMessage = (content: object) => ({ messages: [{ role: 'user', content: [content] }] })

describe('OpenAI’s', () => {
  const RESPONSES = '/v1/responses'
  test.each<readonly [string, object]>([
    [RESPONSES, { input: [{ role: 'user', content: [{ type: 'input_file', file_id: 'f' }] }] }],
    [RESPONSES, { input: [{ type: 'function_call_output', output: [{ file_id: 'f' }] }] }],
    [RESPONSES, { input: [{ type: 'computer_call_output', output: { file_id: 'f' } }] }],
    [RESPONSES, { tools: [{ type: 'image_generation', input_image_mask: { file_id: 'f' } }] }],
    [RESPONSES, { tools: [{ type: 'shell', environment: { file_ids: ['f'] } }] }],
    [RESPONSES, { prompt: { id: 'p', variables: { a: { type: 'input_file', file_id: 'f' } } } }],
    [RESPONSES, { something: { new: [{ fileId: 'f' }] } }],
    ['/v1/conversations', { items: [{ content: [{ file_id: 'f' }] }] }],
    ['/v1/chat/completions', inMessage({ type: 'file', file: { file_id: 'f' } })],
    ['/v1/images/edits', { images: [{ file_id: 'f' }] }],
    ['/v1/batches', { input_file_id: 'f' }],
    ['/v1/uploads/u/complete', { part_ids: ['f'] }],
    ['/v1/vector_stores', { file_ids: ['f'] }],
    [
      '/v1/vector_stores/v/file_batches',
      { files: [{ file_id: 'f', attributes: { file_id: 'x' } }] },
    ],
    ['/v1/fine_tuning/jobs', { validation_file: 'f', metadata: { file_id: 'x' } }],
  ])('%s: %j', (path, body) => {
    expect(openAi(path, body)).toEqual(['f'])
  })

  test('attack: brackets in the names of a form’s fields hide no id', () => {
    const field = (name: string, value: string): string =>
      `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
    for (const name of [
      'images[0][file_id]',
      'images[][file_id]',
      'mask[file_id]',
      'x[y][fileId]',
    ]) {
      const fields = formFields(Buffer.from(`${field(name, 'f')}--b--`), 'b')
      if (!fields.ok) throw new Error(fields.code)
      const found = openAi('/v1/images/edits', Buffer.from(fields.value).toString())
      expect([name, found]).toEqual([name, ['f']])
    }
  })

  test('what is the caller’s own text, schema or metadata names nothing', () => {
    const tool = {
      type: 'function',
      function: { parameters: { file_id: 'x' } },
      parameters: { file_id: 'x' },
    }
    const call = { role: 'assistant', tool_calls: [{ function: { arguments: '{"file_id":"x"}' } }] }
    for (const [path, body] of [
      [RESPONSES, { input: 'file_id', metadata: { file_id: 'x' }, tools: [tool] }],
      [
        RESPONSES,
        { input: [{ content: [{ type: 'output_text', annotations: [{ file_id: 'x' }] }] }] },
      ],
      ['/v1/chat/completions', { messages: [call], tools: [tool], metadata: { file_id: 'x' } }],
      ['/v1/chat/completions', inMessage({ type: 'file', file: { file_data: 'AAAA' } })],
    ] as const) {
      expect([path, openAi(path, body)]).toEqual([path, []])
    }
  })

  test('without such groups files are the operator’s, and chats are not read', () => {
    const body = { input: [{ content: [{ file_id: 'f' }] }], previous_response_id: 'r' }
    expect(openAi(RESPONSES, body, false)).toEqual(['r'])
    expect(
      referringTo('/v1/chat/completions', { hasFiles: false, keepsChats: false }),
    ).toBeUndefined()
    const sound = { messages: [{ audio: { id: 'a' }, content: [{ file_id: 'f' }] }] }
    expect(openAi('/v1/chat/completions', sound, false, true)).toEqual(['a'])
    expect(openAi('/v1/chat/completions', sound, true, false)).toEqual(['f'])
  })

  test('attack: an id that is hidden in odd ways is found, or the body refused', () => {
    for (const body of [
      '{"input_file_id":"a","input_file_id":"b"}',
      '{"input\\u005ffile_id":"a","input_file_id":"b"}',
    ]) {
      expect([body, openAi('/v1/batches', body)]).toEqual([body, 'ambiguous_body'])
    }
    expect(openAi('/v1/batches', '{"inputFileId":"a"}')).toEqual(['a'])
    expect(openAi('/v1/batches', { input_file_id: 7 })).toEqual([''])
    expect(openAi('/v1/batches', { input_file_id: ['a', ['b']] })).toEqual(['a', 'b'])
    expect(openAi('/v1/batches', { input_file_id: 'x'.repeat(5000) })).toEqual([''])
  })
})

describe('Anthropic’s', () => {
  const MESSAGES = '/v1/messages'
  const anthropic = (body: object | string, path = MESSAGES): unknown =>
    named(anthropicReferring(path), body)
  const source = { type: 'file', file_id: 'f' }
  test.each<object>([
    inMessage({ type: 'document', source }),
    inMessage({ type: 'image', source }),
    inMessage({ type: 'container_upload', file_id: 'f' }),
    inMessage({ type: 'tool_result', content: [{ type: 'image', source }] }),
    inMessage({
      type: 'document',
      source: { type: 'content', content: [{ type: 'image', source }] },
    }),
    { system: [{ type: 'document', source }] },
    { container: 'f' },
    { container: { id: 'f', skills: [{ type: 'custom', skill_id: 'skill_1' }] } },
  ])('%j', (body) => {
    expect(anthropic(body)).toEqual(['f'])
    const batch = { requests: [{ custom_id: 'f_1', params: body }] }
    expect(anthropic(batch, '/v1/messages/batches')).toEqual(['f'])
  })

  test('what a tool was given or has told names nothing', () => {
    for (const block of [
      { type: 'tool_use', name: 't', input: { file_id: 'x', source: { file_id: 'x' } } },
      { type: 'bash_code_execution_tool_result', content: { content: [{ file_id: 'x' }] } },
      { type: 'text', text: 'file_id', citations: [{ file_id: 'x' }] },
    ]) {
      expect([block, anthropic(inMessage(block))]).toEqual([block, []])
    }
    expect(
      anthropic({ tools: [{ name: 't', input_schema: { properties: { file_id: {} } } }] }),
    ).toEqual([])
    expect(anthropic({ container: null, messages: [] })).toEqual([])
  })

  test('attack: what is read in two ways is refused, and a block of no known type is looked into', () => {
    expect(anthropic('{"container":"a","Container":"b"}')).toBe('ambiguous_body')
    expect(anthropic(inMessage({ content: [{ source }] }))).toEqual(['f'])
    expect(anthropic(inMessage({ type: 'x_tool_result', file_id: 'f', content: [] }))).toEqual([
      'f',
    ])
    const twice =
      '{"messages":[{"content":[{"type":"a_tool_result","type":"tool_result","content":[]}]}]}'
    expect(anthropic(twice)).toBe('ambiguous_body')
  })
})
