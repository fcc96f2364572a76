// The embedded OpenAI with the official client: a tool loop by chat and by responses, streamed and whole.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import OpenAI, { toFile } from 'openai'
import { type DevOpenAi, startOpenAi } from '../../src/dev/openai.ts'

const API_KEY = 'key-of-the-embedded-one'
const MODEL = 'gpt-4o-mini'
const PARAMETERS: Record<string, unknown> = {
  type: 'object',
  properties: {
    city: { type: 'string' },
    unit: { enum: ['celsius', 'fahrenheit'] },
    days: { type: 'integer', minimum: 2 },
    places: { type: 'array', items: { type: 'object', properties: { id: { type: 'number' } } } },
    note: { type: 'string' },
  },
  required: ['city', 'unit', 'days', 'places'],
}
const ARGUMENTS = { city: 'Rome?', unit: 'celsius', days: 2, places: [{ id: 1 }] }

let embedded: DevOpenAi
let openai: OpenAI
const clientWith = (apiKey: string) =>
  new OpenAI({ apiKey, baseURL: embedded.url, maxRetries: 0, logLevel: 'off' })
beforeAll(async () => {
  embedded = await startOpenAi({ apiKey: API_KEY, pace: { firstTokenMs: 1, tokenMs: 0 } })
  openai = clientWith(API_KEY)
})
afterAll(() => embedded.close())

test('a file is uploaded, and a batch of its requests answered', async () => {
  const line = (custom_id: string, body: object) =>
    JSON.stringify({ custom_id, method: 'POST', url: '/v1/chat/completions', body })
  const messages = [{ role: 'user', content: 'Rome?' }]
  const lines = [
    line('a', { model: MODEL, messages }),
    line('b', { model: 'none', messages }),
    line('c', { model: MODEL, messages, stream: true }),
    'no JSON',
  ]
  const file = await toFile(Buffer.from(lines.join('\n')), 'in.jsonl')
  const { id } = await openai.files.create({ file, purpose: 'batch' })
  expect(await openai.files.retrieve(id)).toMatchObject({ filename: 'in.jsonl', purpose: 'batch' })
  expect(await (await openai.files.content(id)).text()).toBe(lines.join('\n'))
  const begun = await openai.batches.create({
    completion_window: '24h',
    endpoint: '/v1/chat/completions',
    input_file_id: id,
  })
  const { status, output_file_id: output = '' } = await openai.batches.retrieve(begun.id)
  expect(status).toBe('completed')
  const text = await (await openai.files.content(output)).text()
  const told = text
    .trim()
    .split('\n')
    .map((each) => JSON.parse(each))
  expect(told.map(({ custom_id, response }) => [custom_id, response?.status_code])).toEqual([
    ['a', 200],
    ['b', 404],
    ['c', undefined],
    [undefined, 404],
  ])
  const listed = async (list: PromiseLike<{ data: readonly { id: string }[] }>) =>
    (await list).data.map((each) => each.id)
  expect(await listed(openai.files.list())).toEqual([output, id])
  expect(await listed(openai.batches.list())).toEqual([begun.id])
  await openai.files.delete(id)
  const gone = await openai.files.retrieve(id).catch((error: { status?: number }) => error.status)
  expect(gone).toBe(404)
})

describe('chat completions', () => {
  const tools = [
    { type: 'function', function: { name: 'weather', parameters: PARAMETERS } },
  ] as const
  const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'Rome?' }]
  const asked = { model: MODEL, messages, tools: [...tools] }

  test('a tool is asked for once, with arguments that fit, and its result is answered', async () => {
    const first = await openai.chat.completions.create(asked)
    expect(first.choices[0]?.finish_reason).toBe('tool_calls')
    const message = first.choices[0]?.message
    const [call] = message?.tool_calls ?? []
    if (!message || call?.type !== 'function') throw new Error('no call')
    expect(JSON.parse(call.function.arguments)).toEqual(ARGUMENTS)
    const second = await openai.chat.completions.create({
      ...asked,
      messages: [...messages, message, { role: 'tool', tool_call_id: call.id, content: '18 °C' }],
    })
    expect(second.choices[0]).toMatchObject({ finish_reason: 'stop' })
    expect(second.choices[0]?.message.content).toContain('The tool said: 18 °C')
  })

  test('the client’s own loop runs it, streamed', async () => {
    const cities: unknown[] = []
    const runner = openai.chat.completions.runTools({
      model: MODEL,
      messages,
      stream: true,
      tools: [
        {
          type: 'function',
          function: {
            name: 'weather',
            description: 'The weather',
            parameters: PARAMETERS,
            parse: (text: string) => JSON.parse(text) as { readonly city: string },
            function: (given: { readonly city: string }) => {
              cities.push(given.city)
              return 'sunny'
            },
          },
        },
      ],
    })
    expect(await runner.finalContent()).toContain('The tool said: sunny')
    expect(cities).toEqual(['Rome?'])
  })

  test('a tool that is named, and none', async () => {
    const other = { type: 'function', function: { name: 'time' } } as const
    const called = async (tool_choice: OpenAI.ChatCompletionToolChoiceOption) => {
      const answer = await openai.chat.completions.create({
        ...asked,
        tools: [...tools, other],
        tool_choice,
      })
      const [call] = answer.choices[0]?.message.tool_calls ?? []
      return call?.type === 'function' ? [call.function.name, call.function.arguments] : undefined
    }
    expect(await called({ type: 'function', function: { name: 'time' } })).toEqual(['time', '{}'])
    expect(await called('none')).toBeUndefined()
  })
})

test('responses: a tool call, complete and streamed, and the answer to its result', async () => {
  const tools = [
    { type: 'function' as const, name: 'weather', parameters: PARAMETERS, strict: false },
  ]
  const input = [{ role: 'user' as const, content: 'Rome?' }]
  const whole = await openai.responses.create({ model: MODEL, input, tools })
  const stream = openai.responses.stream({ model: MODEL, input, tools })
  const streamed = await stream.finalResponse()
  for (const { output, status } of [whole, streamed]) {
    expect([status, output.length]).toEqual(['completed', 1])
    const [call] = output
    if (call?.type !== 'function_call') throw new Error('no call')
    expect(JSON.parse(call.arguments)).toEqual(ARGUMENTS)
    const answered = await openai.responses.create({
      model: MODEL,
      tools,
      input: [
        ...input,
        {
          type: 'function_call',
          call_id: call.call_id,
          name: call.name,
          arguments: call.arguments,
        },
        { type: 'function_call_output', call_id: call.call_id, output: 'sunny' },
      ],
    })
    expect(answered.output_text).toContain('The tool said: sunny')
  }
})

test('embeddings of the usual size, moderations, and the models', async () => {
  const { data } = await openai.embeddings.create({
    model: 'text-embedding-3-small',
    input: ['one', 'two'],
  })
  expect(data.map(({ embedding }) => embedding.length)).toEqual([1536, 1536])
  const { results } = await openai.moderations.create({ input: ['one', 'two'] })
  expect(results.map(({ flagged }) => flagged)).toEqual([false, false])
  expect((await openai.models.list()).data.map(({ id }) => id)).toContain(MODEL)
  expect((await openai.models.retrieve(MODEL)).id).toBe(MODEL)
  expect(await refusal(openai.models.retrieve('gpt-0'))).toEqual([404, 'model_not_found'])
})

test('another key is refused', async () => {
  expect(await refusal(clientWith('wrong').models.list())).toEqual([401, 'invalid_api_key'])
})

const refusal = (asked: PromiseLike<unknown>): PromiseLike<unknown> =>
  asked.then(
    () => 'none',
    ({ status, code }) => [status, code],
  )
