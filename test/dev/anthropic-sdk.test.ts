// The embedded Anthropic with the client that people use: Anthropic's own SDK.

import { until } from '../support/binary.ts'
import { afterAll, beforeAll, expect, test } from 'bun:test'

import SDK from '@anthropic-ai/sdk'

import { startAnthropic, type Anthropic } from '../../src/dev/anthropic.ts'

const API_KEY = 'key-of-the-embedded-one'
const asked = {
  model: 'claude-opus-5-5',
  max_tokens: 100,
  messages: [{ role: 'user' as const, content: 'the canary sings 🐤' }],
}

let anthropic: Anthropic
let sdk: SDK
const clientWith = (apiKey: string) =>
  new SDK({ apiKey, baseURL: anthropic.url, maxRetries: 0, logLevel: 'off' })

beforeAll(async () => {
  anthropic = await startAnthropic({ apiKey: API_KEY, pace: { firstTokenMs: 2, tokenMs: 1 } })
  sdk = clientWith(API_KEY)
})
afterAll(() => anthropic.close())

test('a whole message', async () => {
  const { data: message, request_id: id } = await sdk.messages.create(asked).withResponse()
  expect(textOf(message)).toContain('sings 🐤')
  expect(id).toMatch(/^req_/)
})

test('a streamed message, put together by the SDK, is the whole one', async () => {
  const whole = await sdk.messages.create(asked)
  const stream = sdk.messages.stream(asked)
  const types = new Set<string>()
  for await (const event of stream) types.add(event.type)
  const message = await stream.finalMessage()
  expect(message).toMatchObject({ stop_reason: 'end_turn', usage: whole.usage })
  expect(await stream.finalText()).toBe(textOf(whole))
  expect(types.has('message_stop')).toBe(true)
})

const textOf = (message: SDK.Message) =>
  message.content.map((block) => (block.type === 'text' ? block.text : '')).join('')

test('a stream that the SDK aborts ends the generation', async () => {
  const stream = await sdk.messages.create({ ...asked, stream: true })
  for await (const event of stream) if (event.type === 'content_block_delta') break
  await until(() => anthropic.generating() === 0)
  expect(anthropic.generating()).toBe(0)
})

test('tokens are counted, and models listed over several pages', async () => {
  const { model, messages } = asked
  const counted = await sdk.messages.countTokens({ model, messages })
  expect(counted.input_tokens).toBeGreaterThan(0)
  const ids: string[] = []
  for await (const each of sdk.models.list({ limit: 2 })) ids.push(each.id)
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids).toContain(model)
  expect((await sdk.models.retrieve(model)).display_name).toBe('Claude Opus 5.5')
})

test('refusals are the errors that the SDK knows', async () => {
  const refused = (work: Promise<unknown>) =>
    work.then(
      () => undefined,
      (error: unknown) => error,
    )
  expect(await refused(clientWith('wrong').messages.create(asked))).toBeInstanceOf(
    SDK.AuthenticationError,
  )
  expect(await refused(sdk.messages.create({ ...asked, model: 'gpt-5' }))).toBeInstanceOf(
    SDK.NotFoundError,
  )
  expect(await refused(sdk.messages.create({ ...asked, messages: [] }))).toBeInstanceOf(
    SDK.BadRequestError,
  )
})
