// Which ids of stored objects a body of the Responses API names, and which it only carries.

import { expect, test } from 'bun:test'
import { referencesIn } from '../../src/upstream/openai/references.ts'

const named = (body: object | string): unknown => {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const found = referencesIn(Buffer.from(text))
  return found.ok ? found.value : found.code
}
const inInput = (item: object): unknown => named({ model: 'm', input: [item] })

test('an earlier response, a conversation, a container, and items without content', () => {
  expect(named({ previous_response_id: 'resp_1' })).toEqual(['resp_1'])
  expect(named({ conversation: 'conv_1' })).toEqual(['conv_1'])
  expect(named({ conversation: { id: 'conv_1' } })).toEqual(['conv_1'])
  expect(named({ instructions: [{ type: 'item_reference', id: 'x' }] })).toEqual(['x'])
  expect(named({ items: [{ type: 'item_reference', id: 'x' }] })).toEqual(['x'])
  expect(named('{"conversation":"\\u0063onv_1"}')).toEqual(['conv_1'])
  const tool = { type: 'code_interpreter', container: 'cntr_1' }
  expect(named({ tools: [tool] })).toEqual(['cntr_1'])
  expect(named({ tools: [{ ...tool, container: { type: 'auto' } }] })).toEqual([])
  const shell = { type: 'shell', environment: { container_id: 'cntr_2' } }
  expect(named({ tools: [shell] })).toEqual(['cntr_2'])
  for (const item of [
    { type: 'item_reference', id: 'x' },
    { id: 'x' },
    { type: null, id: 'x' },
    { id: 'x', content: null },
    { type: 'reasoning', id: 'x', summary: [] },
    { type: 'reasoning', id: 'x', encrypted_content: null },
    { type: 'image_generation_call', id: 'x' },
    { type: 'something_new', id: 'x', content: 'hi' },
    { type: 'x'.repeat(5000), id: 'x' },
    { type: 'code_interpreter_call', container_id: 'x' },
    // What a server may ignore beside an id.
    { type: 'item_reference', id: 'x', encrypted_content: 'y', content: 'y' },
    { id: 'x', encrypted_content: 'y' },
    { id: 'x', arguments: '{}', output: 'y' },
    { type: 'message', id: 'x', input: 'y' },
    { type: 'web_search_call', id: 'x', encrypted_content: 'y' },
    { type: 'function_call', id: 'x', content: 'y' },
  ]) {
    expect([item, inInput(item)]).toEqual([item, ['x']])
  }
})

test('nothing for content in the body, null, or the caller’s own schema', () => {
  expect(named({ model: 'm', input: 'resp_1', instructions: 'resp_1' })).toEqual([])
  expect(named({ previous_response_id: null, conversation: null })).toEqual([])
  for (const item of [
    { role: 'user', content: 'hi' },
    { role: 'assistant', id: 'x', content: 'hi' },
    { type: 'message', id: 'x', role: 'assistant', content: [{ type: 'output_text', text: '' }] },
    { type: 'message', id: 'x', role: 'assistant', content: 'x'.repeat(10_000) },
    { type: 'reasoning', id: 'x', encrypted_content: 'g'.repeat(10_000) },
    { type: 'function_call', id: 'x', arguments: '{}' },
    { type: 'function_call_output', id: 'x', output: 'done' },
    { type: 'custom_tool_call', id: 'x', input: 'y' },
    { type: 'shell_call_output', id: 'x', output: [{ stdout: '' }] },
    { type: 'compaction', id: 'x', encrypted_content: 'g' },
  ]) {
    expect([item, inInput(item)]).toEqual([item, []])
  }
  const parameters = { properties: { container_id: { default: 'x' } }, container_id: 'x' }
  expect(named({ tools: [{ type: 'function', name: 'f', parameters }] })).toEqual([])
})

test('attack: an unreadable id belongs to nobody, and an ambiguous body is refused', () => {
  expect(named({ previous_response_id: 'x'.repeat(5000) })).toEqual([''])
  expect(named({ previous_response_id: 7 })).toEqual([''])
  expect(named({ previous_response_id: ['a', { id: 'b' }] })).toEqual(['a', 'b'])
  for (const body of [
    '{"previous_response_id":null,"previous_response_id":"x"}',
    '{"previousResponseId":"x"}',
    '{"Conversation":"x"}',
    '{"conversation":{"id":"a","id":"b"}}',
    '{"input":[{"type":"item_reference","Id":"b"}]}',
    '{"input":[{"type":"message","content":"","type":"item_reference","id":"b"}]}',
    '[{"previous_response_id":"x"}]',
    '{"previous_response_id":"x"',
    '',
  ]) {
    expect([body, named(body)]).toEqual([body, 'ambiguous_body'])
  }
})
