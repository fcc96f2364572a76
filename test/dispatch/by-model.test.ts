// Which upstream a body is for, where models decide.

import { expect, test } from 'bun:test'
import { bodies } from '../../src/dispatch/bodies.ts'
import { pickingByModel } from '../../src/dispatch/by-model.ts'
import type { Served } from '../../src/dispatch/choose.ts'
import type { Exchange } from '../../src/exchange.ts'
import { inspectPlain } from '../../src/upstream/inspected.ts'
import { openAiCost } from '../../src/upstream/reading/openai-cost.ts'
import type { Upstream } from '../../src/upstream/upstream.ts'

const pick = pickingByModel(bodies(() => 1000))

function served(name: string, models?: readonly string[]): Served {
  const inspect: Upstream['inspect'] = (headers, hasBody) => inspectPlain(headers, hasBody, 1000)
  const upstream = { name, inspect, costOf: openAiCost } as Upstream
  return { upstream, breaker: {} as never, callers: [], models, asks: false }
}

async function picked(among: readonly Served[], type: string, body: string | FormData) {
  const path = '/v1/chat/completions'
  const length = typeof body === 'string' ? { 'content-length': String(body.length) } : undefined
  const headers = { ...(type && { 'content-type': type }), ...length }
  const request = new Request(`http://gate.test${path}`, { method: 'POST', body, headers })
  const permitted = { admitted: { identity: 'i' }, reserved: { also() {}, release() {} } } as never
  const inspected = inspectPlain(request.headers, true, 1000)
  if (!inspected.ok) throw new Error(inspected.code)
  const asked = { request, path, inspected: inspected.value, among }
  const found = await pick(permitted, asked, {} as Exchange)
  return found.ok ? [found.value.on.upstream.name, found.value.held?.ok] : [found.code]
}

const few = served('few', ['gpt-*'])
const all = served('all')
const JSON_TYPE = 'application/json'

test('is the first that serves its model, and the body is held', async () => {
  expect(await picked([few, all], JSON_TYPE, '{"model":"gpt-5"}')).toEqual(['few', true])
  expect(await picked([few, all], JSON_TYPE, '{"model":"o9"}')).toEqual(['all', true])
  expect(await picked([few], JSON_TYPE, '{"model":"o9"}')).toEqual(['not_found'])
})

test('serves every other model that is named too', async () => {
  const more = (name: string): string => `{"model":"gpt-5","fallback_model":"${name}"}`
  expect(await picked([few], JSON_TYPE, more('gpt-4'))).toEqual(['few', true])
  expect(await picked([few], JSON_TYPE, more('o9'))).toEqual(['model_not_allowed'])
})

test('of a form is one that serves every model, and of nothing else', async () => {
  const form = new FormData()
  form.set('model', 'gpt-5')
  expect(await picked([few, all], '', form)).toEqual(['all', undefined])
  expect(await picked([few], '', form)).toEqual(['unsupported_body'])
  expect(await picked([few, all], 'text/plain', '{"model":"gpt-5"}')).toEqual(['all', undefined])
})
