// Anthropic's own SDK through the compiled binary, in development mode: the embedded upstream
// answers, and the device that enrolled itself is what its `apiKey` says.

import SDK from '@anthropic-ai/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { anthropicScene, type DeviceScene, type Minted } from '../support/anthropic.ts'
import { type Running, start, until } from '../support/binary.ts'

const question = {
  model: 'claude-opus-5-5',
  max_tokens: 10,
  messages: [{ role: 'user' as const, content: 'Hello!' }],
}

let gate: Running
let token: string
let sdk: SDK
const clientFor = (options: object): SDK =>
  new SDK({
    baseURL: gate.url,
    apiKey: null,
    authToken: null,
    maxRetries: 0,
    logLevel: 'off',
    ...options,
  })
beforeAll(async () => {
  gate = await start({ RATE_LIMIT_RPM: '0' }, { args: ['--dev-mode'] })
  const response = await fetch(`${gate.url}/bootstrap`, {
    method: 'POST',
    body: '{"device_id":"sdk"}',
  })
  token = ((await response.json()) as Minted).wrapper_token
  sdk = clientFor({ apiKey: token })
})
afterAll(() => gate.stop())

const refused = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  )
const textOf = ({ content }: SDK.Message): string =>
  content.map((block) => (block.type === 'text' ? block.text : '')).join('')

test.concurrent('a whole message, by either credential and with the prefix', async () => {
  const clients = [
    sdk,
    clientFor({ authToken: token }),
    clientFor({ apiKey: `sk-ant-proxy-${token}` }),
  ]
  const answers = await Promise.all(
    clients.map((each) => each.messages.create(question).withResponse()),
  )
  for (const { data, request_id: id, response } of answers) {
    expect(data).toMatchObject({ type: 'message', model: question.model })
    expect(textOf(data).length).toBeGreaterThan(0)
    expect(id).toMatch(/^req_/)
    expect(response.headers.has('anthropic-ratelimit-requests-limit')).toBe(false)
  }
})

test.concurrent('a streamed one, put together by the SDK', async () => {
  const stream = sdk.messages.stream(question)
  const types = new Set<string>()
  for await (const event of stream) types.add(event.type)
  const message = await stream.finalMessage()
  expect(message.usage.output_tokens).toBe(10)
  expect(message.stop_reason).toBe('max_tokens')
  expect([...types]).toEqual(expect.arrayContaining(['message_start', 'message_stop']))
})

test.concurrent('one that is aborted midway is the end of it here too', async () => {
  const stream = await sdk.messages.create({ ...question, max_tokens: 1000, stream: true })
  for await (const event of stream) if (event.type === 'content_block_delta') break
  stream.controller.abort()
  const line = await until(() => gate.lines().find(({ end }) => end === 'client_gone'))
  expect(line).toMatchObject({ route: '/v1/messages', upstream: 'anthropic', usage: 'partial' })
})

test.concurrent('count_tokens, the pages of the models, and one of them', async () => {
  const { model, messages } = question
  expect((await sdk.messages.countTokens({ model, messages })).input_tokens).toBeGreaterThan(0)
  const ids: string[] = []
  for await (const each of sdk.models.list({ limit: 2 })) ids.push(each.id)
  expect(ids).toContain(question.model)
  expect(new Set(ids).size).toBe(ids.length)
  expect((await sdk.models.retrieve(question.model)).id).toBe(question.model)
})

test.concurrent("the upstream's errors are the SDK's", async () => {
  expect(await refused(sdk.messages.create({ ...question, model: 'gpt-5' }))).toBeInstanceOf(
    SDK.NotFoundError,
  )
  expect(await refused(sdk.messages.create({ ...question, messages: [] }))).toBeInstanceOf(
    SDK.BadRequestError,
  )
})

describe("ours are the SDK's too", () => {
  let on: DeviceScene
  const clientOf = (apiKey: string): SDK =>
    clientFor({ baseURL: on.gate.url, apiKey, defaultHeaders: { 'x-request-id': 'asked-1' } })
  beforeAll(async () => {
    on = await anthropicScene()
  })
  afterAll(() => on.close())

  test('a wrong token, a wrong model, too many requests, a cap', async () => {
    const unknown = await refused(clientOf('a.b.c').messages.create(question))
    expect(unknown).toBeInstanceOf(SDK.AuthenticationError)
    expect(unknown).toMatchObject({
      status: 401,
      error: { type: 'error', error: { type: 'authentication_error' }, request_id: 'asked-1' },
    })
    const listed = clientOf(await on.device('--models', 'claude-haiku-*'))
    const forbidden = await refused(listed.messages.create(question))
    expect(forbidden).toBeInstanceOf(SDK.NotFoundError)
    expect(forbidden).toHaveProperty(
      'message',
      expect.stringContaining(`model: ${question.model} (this token may use claude-haiku-*)`),
    )
    const slow = clientOf(await on.device('--rate-limit', '1'))
    await slow.messages.create(question)
    expect(await refused(slow.messages.create(question))).toBeInstanceOf(SDK.RateLimitError)
    const poor = clientOf(await on.device('--spend-cap', '0.000001'))
    expect(await refused(poor.messages.create(question))).toMatchObject({
      status: 429,
      error: { error: { type: 'billing_error' } },
    })
  })

  test('a cap is not tried again, whatever the SDK would do on a 429', async () => {
    const poor = await on.device('--spend-cap', '0.000001')
    const about = await fetch(`${on.gate.url}/device`, { headers: { 'x-api-key': poor } })
    const { identity } = (await about.json()) as { identity: string }
    const client = new SDK({ baseURL: on.gate.url, apiKey: poor, maxRetries: 3, logLevel: 'off' })
    expect(await refused(client.messages.create(question))).toMatchObject({ status: 429 })
    const refusals = () =>
      on.gate.lines().filter((line) => line['status'] === 429 && line['identity'] === identity)
    await until(() => refusals().length > 0)
    expect(refusals()).toHaveLength(1)
  })
})
