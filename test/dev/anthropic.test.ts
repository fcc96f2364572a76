// The embedded Anthropic over real sockets: the shapes that its clients rely on, and requests that
// no honest client makes.

import { cpuMs } from '../support/cost.ts'
import { until } from '../support/binary.ts'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import net from 'node:net'

import { startAnthropic, type Anthropic } from '../../src/dev/anthropic.ts'
import { anthropicUsageMeter } from '../../src/upstream/anthropic/usage.ts'

const API_KEY = 'key-of-the-embedded-one'
const MODEL = 'claude-opus-5-5'
const messages = [{ role: 'user', content: 'the canary sings 🐤' }]
const asked = (more: object = {}) => ({ model: MODEL, max_tokens: 100, messages, ...more })

let anthropic: Anthropic
beforeAll(async () => {
  anthropic = await startAnthropic({ apiKey: API_KEY, pace: { firstTokenMs: 2, tokenMs: 1 } })
})
afterAll(() => anthropic.close())

const HEADERS = { 'x-api-key': API_KEY, 'anthropic-version': '2023-06-01' }

function ask(path: string, body?: object | string, init: RequestInit = {}) {
  const text = typeof body === 'object' ? JSON.stringify(body) : body
  return fetch(`${anthropic.url}${path}`, {
    method: text === undefined ? 'GET' : 'POST',
    ...(text === undefined ? {} : { body: text }),
    headers: HEADERS,
    ...init,
  })
}

async function refusalOf(response: Promise<Response>) {
  const { status, headers, body: stream } = await response
  const body: any = await new Response(stream).json()
  expect(body).toEqual({
    type: 'error',
    error: { type: expect.any(String), message: expect.any(String) },
    request_id: headers.get('request-id'),
  })
  return [status, body.error.type, body.error.message]
}

async function eventsOf(response: Promise<Response>) {
  const text = await (await response).text()
  return text
    .split('\n\n')
    .slice(0, -1)
    .map((event) => {
      const [, name, data] = /^event: (\w+)\ndata: (.+)$/.exec(event) ?? []
      const parsed = JSON.parse(data ?? '')
      expect(parsed.type).toBe(name)
      return parsed
    })
}

describe('messages', () => {
  test('a whole one', async () => {
    const response = await ask('/v1/messages?beta=true', asked())
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('application/json')
    const body: any = await response.json()
    expect(body).toMatchObject({
      type: 'message',
      role: 'assistant',
      model: MODEL,
      stop_reason: 'end_turn',
      stop_sequence: null,
    })
    expect(body.id).toMatch(/^msg_\w+$/)
    expect(body.content).toEqual([{ type: 'text', text: expect.stringContaining('sings 🐤') }])
    expect(body.usage.input_tokens).toBeGreaterThan(0)
    expect(body.usage.output_tokens).toBeGreaterThan(10)
  })

  test('a streamed one says the same, event by event, and its usage', async () => {
    const whole: any = await (await ask('/v1/messages', asked())).json()
    const response = ask('/v1/messages', asked({ stream: true }))
    expect((await response).headers.get('content-type')).toMatch(/^text\/event-stream/)
    const events = await eventsOf(response)
    const deltas = events.filter(({ type }) => type === 'content_block_delta')
    expect(events.map(({ type }) => type)).toEqual([
      'message_start',
      'content_block_start',
      'ping',
      ...deltas.map(() => 'content_block_delta'),
      'content_block_stop',
      'message_delta',
      'message_stop',
    ])
    expect(deltas.map(({ delta }) => delta.text).join('')).toBe(whole.content[0].text)
    expect(deltas).toHaveLength(whole.usage.output_tokens)
    const [start] = events
    expect(start.message).toMatchObject({ content: [], stop_reason: null, model: MODEL })
    expect(start.message.usage).toEqual({ ...whole.usage, output_tokens: 1 })
    const end = events.at(-2)
    expect(end.delta).toEqual({ stop_reason: 'end_turn', stop_sequence: null })
    expect(end.usage).toEqual(whole.usage)
  })

  test('max_tokens ends both after as many tokens', async () => {
    const whole: any = await (await ask('/v1/messages', asked({ max_tokens: 3 }))).json()
    expect(whole).toMatchObject({ stop_reason: 'max_tokens', usage: { output_tokens: 3 } })
    const events = await eventsOf(ask('/v1/messages', asked({ max_tokens: 3, stream: true })))
    expect(events.filter(({ type }) => type === 'content_block_delta')).toHaveLength(3)
    expect(events.at(-2).delta.stop_reason).toBe('max_tokens')
  })

  test('the meter of the road reads both exactly', async () => {
    for (const stream of [false, true]) {
      const response = await ask('/v1/messages', asked({ stream }))
      const meter = anthropicUsageMeter(response.headers.get('content-type') ?? '', undefined)
      for await (const chunk of response.body ?? []) meter.push(chunk, 0)
      const { input_tokens }: any = await (await ask('/v1/messages/count_tokens', asked())).json()
      expect(meter.end()).toMatchObject({ state: 'exact', model: MODEL, inputTokens: input_tokens })
    }
  })

  test('fast mode and a region are answered as they were asked for', async () => {
    for (const stream of [false, true]) {
      const more = { stream, speed: 'fast', inference_geo: 'us' }
      const response = await ask('/v1/messages', asked(more))
      const meter = anthropicUsageMeter(response.headers.get('content-type') ?? '', undefined)
      for await (const chunk of response.body ?? []) meter.push(chunk, 0)
      expect(meter.end().priceClasses).toEqual(['speed:fast', 'inference_geo:us'])
    }
  })

  test('tools, thinking, system blocks and fields of tomorrow are tolerated, and counted', async () => {
    const plain: any = await (await ask('/v1/messages', asked())).json()
    const tools = [{ name: 'get_weather', input_schema: { type: 'object' } }]
    const more = { tools, thinking: { type: 'adaptive' }, context_management: {}, tomorrow: 1 }
    const system = [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }]
    const rich: any = await (await ask('/v1/messages', asked({ ...more, system }))).json()
    expect(rich.content).toEqual(plain.content)
    expect(rich.usage.input_tokens).toBeGreaterThan(plain.usage.input_tokens)
  })

  test('the last text block counts, not the reminders before it', async () => {
    const content = ['<system-reminder>', 'say hi'].map((text) => ({ type: 'text', text }))
    const body = asked({ messages: [{ role: 'user', content }] })
    const { content: answer }: any = await (await ask('/v1/messages', body)).json()
    expect(answer[0].text).toEndWith('You said: say hi')
  })

  test('count_tokens equals the input of the message', async () => {
    const whole: any = await (await ask('/v1/messages', asked())).json()
    const counted = await (
      await ask('/v1/messages/count_tokens', { model: MODEL, messages })
    ).json()
    expect(counted).toEqual({ input_tokens: whole.usage.input_tokens })
  })

  test('a client that leaves ends the generation at once', async () => {
    const slow = await startAnthropic({ apiKey: API_KEY, pace: { firstTokenMs: 5, tokenMs: 5000 } })
    const leaving = new AbortController()
    const body = JSON.stringify(asked({ stream: true }))
    const init = { method: 'POST', headers: HEADERS, body, signal: leaving.signal }
    const response = await fetch(`${slow.url}/v1/messages`, init)
    await response.body?.getReader().read()
    expect(slow.generating()).toBe(1)
    leaving.abort()
    await until(() => slow.generating() === 0)
    expect(slow.generating()).toBe(0)
    await slow.close()
  })
})

describe('the older complete', () => {
  const prompt = '\n\nHuman: say hey\n\nAssistant:'
  const old = (more: object = {}) => ({
    model: 'claude-2.1',
    prompt,
    max_tokens_to_sample: 100,
    ...more,
  })

  test('whole and streamed, with no usage anywhere', async () => {
    const whole: any = await (await ask('/v1/complete', old())).json()
    expect(whole).toMatchObject({ type: 'completion', stop_reason: 'stop_sequence' })
    expect(whole.completion).toEndWith('You said: say hey')
    const response = ask('/v1/complete', old({ stream: true, max_tokens_to_sample: 3 }))
    const events = await eventsOf(response)
    const parts = events.filter(({ type }) => type === 'completion')
    expect(whole.completion).toStartWith(parts.map(({ completion }) => completion).join(''))
    expect(parts.map(({ stop_reason }) => stop_reason)).toEqual([null, null, null, 'max_tokens'])
    expect(JSON.stringify([whole, events])).not.toContain('usage')
  })

  test('a prompt that would be slow to search is not', async () => {
    const slow = old({ prompt: '\n\nHuman:'.repeat(300_000) })
    expect(await cpuMs(() => ask('/v1/complete', slow))).toBeLessThan(1500)
  })
})

describe('models', () => {
  const list = async (query = '') => {
    const page: any = await (await ask(`/v1/models${query}`)).json()
    return { ...page, ids: page.data.map(({ id }: { id: string }) => id) }
  }

  test("are listed newest first, in Anthropic's shape", async () => {
    const { data, first_id, last_id, has_more } = await list('?limit=1000')
    for (const each of data) {
      expect(each).toEqual({
        type: 'model',
        id: expect.stringMatching(/^claude-/),
        display_name: expect.stringMatching(/^Claude /),
        created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT00:00:00Z$/),
      })
    }
    expect([first_id, last_id, has_more]).toEqual([data[0].id, data.at(-1).id, false])
  })

  test('can be walked in pages, forth and back', async () => {
    const all = (await list()).ids
    const forth: string[] = []
    let page = await list('?limit=2')
    for (let pages = 0; pages < all.length; pages += 1) {
      forth.push(...page.ids)
      if (!page.has_more) break
      page = await list(`?limit=2&after_id=${page.last_id}`)
    }
    expect(forth).toEqual(all)
    expect((await list(`?limit=2&before_id=${all[3]}`)).ids).toEqual(all.slice(1, 3))
    expect(await list(`?before_id=${all[0]}`)).toMatchObject({ data: [], first_id: null })
  })

  test('one is found by its id, and any name of a family', async () => {
    const [first] = (await list()).data
    expect(await (await ask(`/v1/models/${first.id}`)).json()).toEqual(first)
    for (const id of ['claude-opus-9-20300101', 'claude-3-5-haiku-latest', 'claude-sonnet-4-0']) {
      expect(await (await ask(`/v1/models/${id}`)).json()).toMatchObject({ type: 'model', id })
    }
  })

  test('a page of none, of too many, between two, and after nothing are refused', async () => {
    for (const query of [
      'limit=0',
      'limit=1001',
      'limit=x',
      'after_id=no',
      'before_id=a&after_id=b',
    ]) {
      const refusal = await refusalOf(ask(`/v1/models?${query}`))
      expect(refusal.slice(0, 2)).toEqual([400, 'invalid_request_error'])
    }
  })
})

describe("refuses, always in Anthropic's shape", () => {
  test('a request without its key, or with another one', async () => {
    for (const key of [undefined, '', 'wrong', `${API_KEY}x`, API_KEY.slice(1)]) {
      const headers = { ...HEADERS, 'x-api-key': key ?? '' }
      const { 'x-api-key': _, ...none } = headers
      const refusal = refusalOf(
        ask('/v1/messages', asked(), { headers: key === undefined ? none : headers }),
      )
      expect((await refusal).slice(0, 2)).toEqual([401, 'authentication_error'])
    }
    const bearer = { authorization: `Bearer ${API_KEY}`, 'anthropic-version': '2023-06-01' }
    expect((await ask('/v1/models', undefined, { headers: bearer })).status).toBe(200)
    const both = { ...bearer, 'x-api-key': 'wrong' }
    expect((await ask('/v1/models', undefined, { headers: both })).status).toBe(401)
  })

  test('a request without a version', async () => {
    for (const version of ['', 'latest']) {
      const headers = { ...HEADERS, 'anthropic-version': version }
      const refusal = await refusalOf(ask('/v1/messages', asked(), { headers }))
      expect(refusal).toEqual([
        400,
        'invalid_request_error',
        'anthropic-version: header is required',
      ])
    }
  })

  const bad: [name: string, path: string, body: object | string, refusal: unknown[]][] = [
    ['no JSON', '/v1/messages', '{', [400, 'invalid_request_error']],
    ['no object', '/v1/messages', '[]', [400, 'invalid_request_error']],
    [
      'no model',
      '/v1/messages',
      { messages },
      [400, 'invalid_request_error', 'model: Field required'],
    ],
    [
      'no max_tokens',
      '/v1/messages',
      { model: MODEL, messages },
      [400, 'invalid_request_error', 'max_tokens: Field required'],
    ],
    ['max_tokens 0', '/v1/messages', asked({ max_tokens: 0 }), [400, 'invalid_request_error']],
    ['no messages', '/v1/messages', asked({ messages: [] }), [400, 'invalid_request_error']],
    [
      'a model of others',
      '/v1/messages',
      asked({ model: 'gpt-5' }),
      [404, 'not_found_error', 'model: not found'],
    ],
    [
      'the same, counted',
      '/v1/messages/count_tokens',
      asked({ model: 'gpt-5' }),
      [404, 'not_found_error'],
    ],
    [
      'an old model under messages',
      '/v1/messages',
      asked({ model: 'claude-2.1' }),
      [404, 'not_found_error'],
    ],
    [
      'no prompt',
      '/v1/complete',
      { model: 'claude-2.1' },
      [400, 'invalid_request_error', 'prompt: Field required'],
    ],
    ['no path', '/v1/nothing', {}, [404, 'not_found_error']],
    ['a wrong method', '/v1/models', {}, [405, 'invalid_request_error']],
    ['a wrong method for one model', '/v1/models/x', {}, [405, 'invalid_request_error']],
  ]
  for (const [name, path, body, refusal] of bad) {
    test(name, async () => {
      const seen = await refusalOf(ask(path, body))
      expect(seen.slice(0, refusal.length)).toEqual(refusal)
    })
  }

  test('an unknown model is 404, and its name is not repeated', async () => {
    const [status, type, message] = await refusalOf(ask('/v1/models/gpt-canary'))
    expect([status, type]).toEqual([404, 'not_found_error'])
    expect(message).not.toContain('canary')
    expect((await ask('/v1/messages', undefined)).headers.get('allow')).toBe('POST')
  })

  test('more than 32 MB, by its length or by its bytes', async () => {
    const { hostname, port } = new URL(anthropic.url)
    const head = `POST /v1/messages HTTP/1.1\r\nHost: ${hostname}\r\n`
    const megabyte = Buffer.alloc(1 << 20, 0x20)
    for (const framing of [
      `Content-Length: ${2 ** 25 + 1}\r\n\r\n`,
      'Transfer-Encoding: chunked\r\n\r\n',
    ]) {
      const answer = await new Promise<string>((resolve) => {
        const socket = net.connect(Number(port), hostname)
        let text = ''
        socket.on('data', (chunk) => (text += chunk.toString()))
        socket.on('error', () => {})
        socket.on('close', () => resolve(text))
        socket.write(head + framing)
        if (!framing.startsWith('Transfer')) return
        for (let i = 0; i < 33; i += 1) {
          socket.write(`${megabyte.length.toString(16)}\r\n`)
          socket.write(megabyte)
          socket.write('\r\n')
        }
      })
      expect(answer).toStartWith('HTTP/1.1 413')
      expect(answer).toContain('"request_too_large"')
    }
  })
})

test("every answer has an id of its own, and the limits of an account that is not the caller's", async () => {
  const seen = await Promise.all([ask('/v1/models'), ask('/v1/messages', asked({ stream: true }))])
  const ids = seen.map(({ headers }) => headers.get('request-id'))
  expect(new Set(ids).size).toBe(2)
  for (const { headers, body } of seen) {
    for (const kind of ['requests', 'tokens', 'input-tokens', 'output-tokens']) {
      for (const what of ['limit', 'remaining']) {
        expect(headers.get(`anthropic-ratelimit-${kind}-${what}`)).toMatch(/^\d+$/)
      }
      expect(Date.parse(headers.get(`anthropic-ratelimit-${kind}-reset`) ?? '')).toBeGreaterThan(0)
    }
    await body?.cancel()
  }
})
