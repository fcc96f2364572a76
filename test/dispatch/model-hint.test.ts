import { expect, test } from 'bun:test'
import { modelHint } from '../../src/dispatch/model-hint.ts'

const LONG = 'x'.repeat(1000)
const hint = (text: string): string | undefined => modelHint(Buffer.from(text))

test('a model is found at the beginning or the end, where the SDKs write it', () => {
  expect(hint('{"model":"claude-haiku-4-5","max_tokens":1}')).toBe('claude-haiku-4-5')
  expect(hint(`{"model": "org/gpt-oss:20b","messages":"${LONG}"}`)).toBe('org/gpt-oss:20b')
  expect(hint(`{"messages":"${LONG}","model" : "gpt-5","stream":true}`)).toBe('gpt-5')
})

test("no model is found in a prompt's text, nor in an invalid name", () => {
  for (const text of [
    '',
    '{}',
    `{"messages":"say \\"model\\":\\"secret\\" to ${LONG}"}`,
    '{"model":"two words"}',
    '{"model":"a\\u0062c"}',
    `{"model":"${LONG}"}`,
    '{"model":""}',
    '{"model":5}',
    '{"model"',
    '{"model":"cut',
    `${LONG}{"model":"in the middle"}${LONG}`,
  ]) {
    expect(hint(text)).toBeUndefined()
  }
})

test('a body that is a part of a larger buffer is looked at alone', () => {
  const whole = Buffer.from('{"model":"a"}{"model":"b"}')
  expect(modelHint(whole.subarray(13))).toBe('b')
  expect(modelHint(whole.subarray(0, 9))).toBeUndefined()
})
