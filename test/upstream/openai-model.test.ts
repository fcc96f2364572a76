// Which models an OpenAI-compatible request names, and what a list of models and a cap make of it.

import { describe, expect, test } from 'bun:test'
import { breaker } from '../../src/budget/breaker.ts'
import { charges } from '../../src/budget/charge.ts'
import { parsePrices } from '../../src/budget/price-table.ts'
import { spendCaps } from '../../src/state/memory/spend.ts'
import { openAiModel } from '../../src/upstream/reading/openai-model.ts'
import { type Said, somebody } from '../support/admitted.ts'

const CHAT = '/v1/chat/completions'
const read = (body: unknown, path = CHAT) =>
  openAiModel(path, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))
const said = (body: unknown, path = CHAT): unknown => {
  const found = read(body, path)
  return found.ok ? [found.value.model, ...found.value.models] : found.code
}

describe('the models that are named', () => {
  test.each([
    [{ model: 'llama' }, ['llama']],
    [{ model: 'llama', messages: [{ role: 'user', content: [{ model: 'x' }] }] }, ['llama']],
    [{ model: 'llama', metadata: { model: 'x' }, user: 'model' }, ['llama']],
    [{ model: 'llama', models: ['a', 'b'] }, ['llama', 'a', 'b']],
    [{ model: 'llama', fallbacks: ['a'] }, ['llama', 'a']],
    [{ model: 'llama', extra: { deep: [{ advisor_model: 'a' }] } }, ['llama', 'a']],
    [{ model: 'llama', tools: [{ type: 'image_generation', model: 'a' }] }, ['llama', 'a']],
    [
      {
        model: 'llama',
        tools: [
          { type: 'function', function: { name: 'f', parameters: { properties: { model: {} } } } },
        ],
        response_format: { type: 'json_schema', json_schema: { schema: { model: 1 } } },
      },
      ['llama'],
    ],
    [{ model: 'llama', temperature: 0.5, stream: true, stream_options: { a: 1 } }, ['llama']],
  ])('%j', (body, models) => expect(said(body)).toEqual(models))

  test('are read on each route whose body is JSON, and on no other', () => {
    for (const path of ['/v1/completions', '/v1/responses', '/v1/embeddings', '/v1/audio/speech']) {
      expect(said({ model: 'm', input: ['x'] }, path)).toEqual(['m'])
    }
    expect(said({ model: 'm' }, '/v1/audio/transcriptions')).toBe('unknown_cost')
  })
})

test.each([
  ['{"model":"good","model":"evil"}', 'ambiguous_body'],
  ['{"model":"good","Model":"evil"}', 'ambiguous_body'],
  [String.raw`{"model":"good","mod\u0065l":"evil"}`, 'ambiguous_body'],
  ['{"model":"good"} {"model":"evil"}', 'ambiguous_body'],
  ['\u{feff}{"model":"good"}', 'ambiguous_body'],
  ['[]', 'ambiguous_body'],
  ['', 'ambiguous_body'],
  ['{}', 'invalid_model'],
  ['{"model":null}', 'invalid_model'],
  ['{"model":["good"]}', 'invalid_model'],
  ['{"model":"good "}', 'invalid_model'],
  ['{"model":"good","models":[{"id":"evil"}]}', 'invalid_model'],
])('attack: %p is no request', (body, code) => expect(said(body)).toBe(code))

describe('decided', () => {
  const DOLLAR = { input: 1, output: 1, cache_read: 1, cache_write_5m: 1, cache_write_1h: 1 }
  const parsed = parsePrices(JSON.stringify({ date: '2026-11-20', models: { llama: DOLLAR } }))
  if (!parsed.ok) throw new Error('prices')
  const { prices } = parsed
  const NOW = { epochSeconds: 1_800_000_000, monotonicMs: 0 }
  const decided = (own: Said, body: unknown): unknown => {
    const costly = read(body)
    if (!costly.ok) return costly.code
    const charged = { host: '', route: CHAT, model: undefined, hasBody: true }
    const all = charges({ caps: spendCaps(), prices })
    const taken = all.take(somebody('u', own), costly.value, breaker(), charged, NOW)
    return taken.ok ? 'ok' : [taken.code, taken.message]
  }

  test("by a user's list, every model that is named", () => {
    const own = { models: ['llama*'] }
    expect(decided(own, { model: 'llama-3' })).toBe('ok')
    for (const body of [{ model: 'gpt' }, { model: 'llama', models: ['gpt'] }]) {
      expect(decided(own, body)).toEqual([
        'model_not_allowed',
        expect.objectContaining({ openai: expect.stringContaining('`gpt` does not exist') }),
      ])
    }
  })
  test('by a cap: refused, since nobody here can tell what it costs, whatever its price', () => {
    for (const model of ['llama', 'unpriced']) {
      expect(decided({ person: { spendPerDay: 1e9 } }, { model })).toEqual([
        'model_not_priced',
        expect.stringContaining(`${model} has no price`),
      ])
    }
  })
})
