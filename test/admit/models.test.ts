import { describe, expect, test } from 'bun:test'
import { allowedModel, isModelPattern } from '../../src/token/model-pattern.ts'
import { readRequestFields } from '../../src/upstream/anthropic/request-fields.ts'

const HAIKU = ['claude-haiku-4-5', 'claude-3-haiku*']

describe('allows', () => {
  for (const [model, patterns] of [
    ['claude-haiku-4-5', HAIKU],
    ['claude-3-haiku-20240307', HAIKU],
    ['claude-3-haiku', HAIKU],
    ['anything', undefined],
    ['', undefined],
    ['anything', ['*']],
    ['b', ['a', 'b']],
    ['claude-3-haiku*', HAIKU],
    ['__proto__', ['__proto__']],
  ] as const) {
    test(`${model} by [${patterns}]`, () => expect(allowedModel(model, patterns)).toBeTrue())
  }
})

describe('refuses', () => {
  for (const [model, patterns] of [
    ['claude-opus-4-5', HAIKU],
    // An exact name is no beginning of another, and no end.
    ['claude-haiku-4-5-20251001', HAIKU],
    ['claude-haiku-4', HAIKU],
    ['x-claude-haiku-4-5', HAIKU],
    ['xclaude-3-haiku', HAIKU],
    // Neither case nor blanks are made fit.
    ['Claude-Haiku-4-5', HAIKU],
    ['CLAUDE-3-HAIKU', HAIKU],
    [' claude-haiku-4-5', HAIKU],
    ['claude-haiku-4-5 ', HAIKU],
    ['claude-haiku-4-5\0', HAIKU],
    ['', HAIKU],
    ['anything', []],
    ['', []],
    ['', ['a']],
    // A star means something at the end alone, and a pattern is no regular expression.
    ['claude-opus-4-5', ['claude-*-4-5']],
    ['claude-*-4-9', ['claude-*-4-5']],
    ['claude-opus-4-5', ['*-4-5']],
    ['claude-opus', ['claude-?pus', 'claude.opus', 'claude-[a-z]*$', '.*', '^claude']],
    ['claude-opus', ['**']],
    ['constructor', ['a']],
    ['length', ['a']],
  ] as const) {
    test(`${JSON.stringify(model)} by [${patterns}]`, () => {
      expect(allowedModel(model, patterns)).toBeFalse()
    })
  }
})

test('a pattern is an exact name, or a beginning and a star', () => {
  for (const good of ['claude-haiku-4-5', 'claude-*', '*', 'anthropic.claude-v2:1', 'a@b/c*']) {
    expect(isModelPattern(good)).toBeTrue()
  }
  for (const bad of ['', 'a*b', '**', '*a', 'a b', 'é', 'a\n', '\0', 'a'.repeat(257)]) {
    expect(isModelPattern(bad)).toBeFalse()
  }
  expect(isModelPattern(`${'a'.repeat(255)}*`)).toBeTrue()
})

test("system C skipped its list on /v1/*: the body's model decides, however it is spelled", () => {
  const list = ['claude-haiku-4-5']
  for (const body of [
    '{"model":"claude-opus-4-5"}',
    '{"mod\\u0065l":"claude-opus-4-5"}',
    '{"model":"claude-opus\\u002d4-5"}',
    '{"model":"claude-haiku-4-5","model":"claude-opus-4-5"}',
    '{"model":"claude-opus-4-5","model":"claude-haiku-4-5"}',
    '{"model":"claude-haiku-4-5","mod\\u0065l":"claude-opus-4-5"}',
    '{"model":"claude-haiku-4-5","Model":"claude-opus-4-5"}',
    '{"model":["claude-haiku-4-5"]}',
    '{"metadata":{"model":"claude-haiku-4-5"}}',
  ]) {
    const read = readRequestFields(Buffer.from(body))
    expect(read.ok && allowedModel(read.value.model, list)).toBeFalse()
  }
  const read = readRequestFields(Buffer.from('{"mod\\u0065l":"claude-h\\u0061iku-4-5"}'))
  expect(read.ok && allowedModel(read.value.model, list)).toBeTrue()
})
