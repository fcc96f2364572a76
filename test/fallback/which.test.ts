// Which upstream may stand in for another: one that knows the model by the same name, and none for what
// another one keeps; in Anthropic's dialect too.

import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import { VERSION } from '../support/anthropic.ts'
import { CHAT, type FallbackScene, fallbackScene, KEYS } from './scene.ts'
import { answer, OK, type Said } from './scripted-upstream.ts'

const CIRCUIT = 'limits: { circuit: { failures: 1000 } }'
const plan = (routes: string): string => `fallback: [{ routes: [${routes}], from: [one, two] }]`
const BUSY = answer(429, '{"error":{"message":"busy"}}')

const entry = (name: 'one' | 'two', more: string) => (url: string) =>
  `kind: openai, name: ${name}, base_url: "${url}/v1", api_key: "\${KEY_${name.toUpperCase()}}", callers: [key], ${more}`
const claude = (name: 'one' | 'two') => (url: string) =>
  `kind: anthropic, name: ${name}, base_url: "${url}", api_key: "\${KEY_${name.toUpperCase()}}", callers: [key]`

let byModel: FallbackScene
let messages: FallbackScene
beforeAll(async () => {
  ;[byModel, messages] = await Promise.all([
    fallbackScene(`${plan('chat, responses')}\n${CIRCUIT}`, {
      oneEntry: entry('one', 'models: [gpt-*]'),
      twoEntry: entry('two', 'models: [gpt-4o*]'),
    }),
    fallbackScene(`${plan('messages')}\n${CIRCUIT}`, {
      oneEntry: claude('one'),
      twoEntry: claude('two'),
      env: { JWT_SECRET: 'device-secret-canary-device-secret-00' },
      warmUp: { path: '/v1/messages', headers: VERSION },
    }),
  ])
})
afterAll(() => Promise.all([byModel.close(), messages.close()]))
beforeEach(() => {
  for (const at of [byModel, messages]) {
    at.one.say(OK)
    at.two.say(OK)
    at.reached()
  }
})

test('one that does not serve the model is not asked', async () => {
  byModel.one.say(BUSY)
  expect((await byModel.ask({ ...CHAT, model: 'gpt-4.1' })).status).toBe(429)
  expect(byModel.reached()).toEqual([1, 0])
  expect((await byModel.ask({ ...CHAT, model: 'gpt-4o' })).status).toBe(200)
  expect(byModel.reached()).toEqual([1, 1])
})

test('what one upstream keeps is asked of no other', async () => {
  const body = { model: 'gpt-4o', input: 'hi' }
  const made: Said = answer(
    200,
    '{"id":"resp_0123456789abcdef","object":"response","status":"completed"}',
  )
  byModel.one.say(made)
  expect((await byModel.ask(body, { path: '/v1/responses' })).status).toBe(200)
  byModel.one.say(BUSY)
  byModel.reached()
  const more = { ...body, previous_response_id: 'resp_0123456789abcdef' }
  expect((await byModel.ask(more, { path: '/v1/responses' })).status).toBe(429)
  expect(byModel.reached()).toEqual([1, 0])
})

test("in Anthropic's dialect too, each with its own key", async () => {
  const body = { model: 'claude-haiku-4-5', max_tokens: 5, messages: CHAT.messages }
  const options = { path: '/v1/messages', headers: VERSION }
  messages.one.say(
    answer(529, '{"type":"error","error":{"type":"overloaded_error","message":"x"}}'),
  )
  const { status, id } = await messages.ask(body, options)
  expect(status).toBe(200)
  expect(messages.one.taken[0]?.head).toContain(`x-api-key: ${KEYS.one}`)
  expect(messages.two.taken[0]?.head).toContain(`x-api-key: ${KEYS.two}`)
  expect(messages.two.taken[0]?.body).toBe(JSON.stringify(body))
  expect(messages.reached()).toEqual([1, 1])
  expect((await messages.rows(id)).map(({ upstream, end_reason: end }) => [upstream, end])).toEqual(
    [
      ['one', 'retried'],
      ['two', 'complete'],
    ],
  )
  await messages.one.down()
  await messages.two.down()
  const none = await messages.ask(body, options)
  expect([none.status, JSON.parse(none.body).type]).toEqual([502, 'error'])
})
