// What is read of a client's event, and what nobody may hide in one.

import { describe, expect, test } from 'bun:test'
import { readClientEvent } from '../../src/realtime/client-events.ts'

const update = (session: string): string => `{"type":"session.update","session":${session}}`

describe('attack: no spelling hides a model', () => {
  test.each([
    ['a second name of another case', update('{"model":"a","Model":"b"}')],
    ['before the first', update('{"MODEL":"b","model":"a"}')],
    ['a session by the Latin long s', '{"type":"session.update","session":{},"\u017fession":{}}'],
    ['two sessions', '{"type":"session.update","session":{},"Session":{"model":"b"}}'],
    ['a name that repeats', update('{"model":"a","model":"b"}')],
    ['a list of models', update('{"model":["a"]}')],
    ['two types', '{"type":"response.cancel","Type":"response.create"}'],
  ])('%s', (_, text) => {
    expect(readClientEvent(text)).toBeUndefined()
  })

  test.each([
    update('{"audio":{"output":{"model":"b"}}}'),
    update('{"audio":{"input":{"transcription":{"Model":"b"}}}}'),
    '{"type":"response.create","response":{"output":{"speech_model":"b"}}}',
    '{"type":"conversation.item.create","item":{"content":[{"type":"x","model":"b"}]}}',
  ])('%s', (text) => {
    expect(readClientEvent(text)?.models).toEqual(['b'])
  })
})

test('the session’s model and the schemas of the caller’s tools are no other models', () => {
  const text =
    '{"type":"session.update","event_id":"e","session":{"model":"a","instructions":"model",' +
    '"tools":[{"type":"function","name":"f","parameters":{"properties":{"model":{"type":"string"}}}}]}}'
  expect(readClientEvent(text)).toEqual({
    type: 'session.update',
    eventId: 'e',
    sessionModel: 'a',
    models: [],
    unknown: undefined,
  })
})
