// What a batch of messages may run and cost: each of its requests, as that request by itself.

import { describe, expect, test } from 'bun:test'
import { charges } from '../../src/budget/charge.ts'
import { bundledPrices } from '../../src/budget/price-table.ts'
import { breaker } from '../../src/budget/breaker.ts'
import { policy } from '../../src/policy/policy.ts'
import { spendCaps } from '../../src/state/memory/spend.ts'
import { anthropicCost, foreignCost } from '../../src/upstream/anthropic/cost.ts'
import { somebody } from '../support/admitted.ts'

const BATCHES = '/v1/messages/batches'
const NOW = { epochSeconds: Date.UTC(2026, 10, 29, 12) / 1000, monotonicMs: 0 }
const MODEL = 'claude-sonnet-4-5'

const one = (params: object) => ({ custom_id: 'a', params })
const params = (over: object = {}) => ({
  model: MODEL,
  max_tokens: 100,
  messages: [{ role: 'user', content: 'x'.repeat(200) }],
  ...over,
})
const read = (...requests: object[]) =>
  anthropicCost(BATCHES, Buffer.from(JSON.stringify({ requests })))

function decided(body: object, limits: object) {
  const all = charges({ caps: spendCaps(), prices: bundledPrices() })
  const who = { ...somebody('x'), policy: policy({ name: 'p', ...limits }) }
  const costly = anthropicCost(BATCHES, Buffer.from(JSON.stringify(body)))
  if (!costly.ok) return costly.code
  const asking = { host: '', route: `POST ${BATCHES}`, model: '', hasBody: true, sealed: false }
  const taken = all.take(who, costly.value, breaker(), asking, NOW)
  return taken.ok ? taken.value.reservation?.amountMicroUsd : taken.code
}
const cap = (spendPerDay: number) => ({
  person: { rate: undefined, concurrency: undefined, spendPerDay, spendPerMonth: undefined },
})

test('each request is read by itself, in the tier of batches', () => {
  const found = read(
    one(params()),
    one(params({ model: 'b', max_tokens: 7, service_tier: 'auto' })),
  )
  if (!found.ok) throw new Error(found.code)
  const [first, second] = found.value.requests ?? []
  expect([first?.model, first?.maxTokens, second?.model, second?.maxTokens]).toEqual([
    MODEL,
    100,
    'b',
    7,
  ])
  expect(first?.textBytes).toBe(Buffer.byteLength(JSON.stringify(params())))
  for (const each of [first, second]) expect(each?.priceClasses).toEqual(['service_tier:batch'])
})

test("no request has another's members", () => {
  const image = { type: 'image', source: { type: 'base64', data: 'AAAA' } }
  const found = read(
    one(
      params({
        messages: [{ role: 'user', content: [image] }],
        tools: [{ type: 'web_search_20260318' }],
      }),
    ),
    one(params()),
  )
  const requests = (found.ok && found.value.requests) || []
  expect(requests.map(({ images, refers }) => [images, refers])).toEqual([
    [1, true],
    [0, false],
  ])
})

describe('attack:', () => {
  test('a model of any request is held to a list', () => {
    const allowed = { models: [MODEL] }
    const bad = [params({ model: 'other' }), params({ fallbacks: [{ model: 'other' }] })]
    expect(decided({ requests: [one(params()), one(params())] }, allowed)).toBeUndefined()
    for (const each of bad) {
      expect(decided({ requests: [one(params()), one(each)] }, allowed)).toBe('model_not_allowed')
    }
  })

  test('nothing is hidden outside of the requests, or in one that two parsers read differently', () => {
    const text = (inner: string) => anthropicCost(BATCHES, Buffer.from(inner))
    const json = JSON.stringify(params())
    for (const body of [
      `{"requests":[]}`,
      `{}`,
      `{"requests":[{"params":${json}}],"model":"other"}`,
      `{"requests":[{"params":${json},"model":"other"}]}`,
      `{"requests":[{"params":${json},"params":${json}}]}`,
      `{"requests":[{"Params":${json}}]}`,
      `{"requests":[{"params":{"model":"a","model":"b","max_tokens":1}}]}`,
      `{"requests":[{"params":{"Model":"a","max_tokens":1}}]}`,
      `{"requests":[],"requests":[{"params":${json}}]}`,
      `{"requests":[{"params":{"max_tokens":1}}]}`,
    ]) {
      const found = text(body)
      expect([body, found.ok || found.code]).toEqual([
        body,
        expect.stringMatching(/^(?:ambiguous_body|invalid_model)$/),
      ])
    }
    // Read before, it is one of the first request's.
    const before = { model: 'other', requests: [one(params())] }
    expect(decided(before, { models: [MODEL] })).toBe('model_not_allowed')
  })

  test('a cap holds the sum of all of them, each at its own length', () => {
    const [single, ten] = [1, 10].map((count) =>
      decided({ requests: Array.from({ length: count }, () => one(params())) }, cap(10_000_000)),
    )
    expect(single).toBeGreaterThan(0)
    expect(ten).toBe(Number(single) * 10)
    const dear = { requests: Array.from({ length: 10 }, () => one(params())) }
    expect(decided(dear, cap(Number(single) * 9))).toBe('spend_cap_reached')
    expect(decided({ requests: [one(params({ max_tokens: undefined }))] }, cap(10))).toBe(
      'max_tokens_required',
    )
    expect(
      decided({ requests: [one(params()), one(params({ model: 'unpriced' }))] }, cap(10)),
    ).toBe('model_not_priced')
  })
})

test('at other servers 0 tokens may be no bound', () => {
  const body = Buffer.from(JSON.stringify({ requests: [one(params({ max_tokens: 0 }))] }))
  const found = foreignCost(BATCHES, body)
  expect(found.ok && found.value.requests?.[0]?.maxTokens).toBeUndefined()
})
