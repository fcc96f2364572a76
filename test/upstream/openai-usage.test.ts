// The usage of answers in OpenAI's dialect, read as their bytes pass: chat chunks, the Responses API,
// whole bodies, and streams that are cut.

import { describe, expect, test } from 'bun:test'
import zlib from 'node:zlib'
import { openAiUsageMeter } from '../../src/upstream/reading/openai-usage.ts'
import type { MeteredUsage } from '../../src/upstream/reading/tally.ts'
import { type Random, seeded } from '../support/random.ts'
import { piecesOf } from './pieces.ts'
import { howMany } from '../support/long.ts'

const SSE = 'text/event-stream'
const COUNTS = {
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheCreationTokens: 0,
  cacheCreation1hTokens: 0,
}
const exact = (counts: Partial<MeteredUsage>): MeteredUsage => ({
  ...COUNTS,
  state: 'exact',
  ...counts,
})

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

function meter(
  chunks: Iterable<Uint8Array>,
  {
    isComplete = false,
    type = SSE,
    coding = undefined as string | undefined,
    keeps = (_id: string): void => undefined,
  } = {},
): MeteredUsage {
  const metering = openAiUsageMeter(type, coding, true, { keeps })
  if (!metering) throw new Error('no meter')
  for (const chunk of chunks) metering.push(chunk, 0)
  return metering.end({}, isComplete)
}

/** Millions of bytes in pieces of one or two would take a minute; its end is cut as finely as ever. */
function largePiecesOf(bytes: Uint8Array, random: Random): Uint8Array[] {
  const pieces: Uint8Array[] = []
  let at = 0
  while (at < bytes.length - 5000) {
    const end = Math.min(bytes.length - 5000, at + 1 + random.int(65_536))
    pieces.push(bytes.subarray(at, end))
    at = end
  }
  return [...pieces, ...piecesOf(bytes.subarray(at), random)]
}

const shape = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'llama-4' }
const data = (json: object): string => `data: ${JSON.stringify(json)}\n\n`
const chunk = (text: string, more: object = {}): string =>
  data({
    ...shape,
    choices: [{ index: 0, delta: { content: text }, finish_reason: null }],
    ...more,
  })
const usage = (prompt: number, completion: number, cached?: number) => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  total_tokens: prompt + completion,
  ...(cached === undefined ? {} : { prompt_tokens_details: { cached_tokens: cached } }),
})
const DONE = 'data: [DONE]\n\n'
const finish = (more: object = {}) =>
  data({ ...shape, choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], ...more })
const decoy = chunk('say "usage":{"prompt_tokens":9} and "error":{} é日🐤')
const named = (name: string, more: object): string =>
  `event: ${name}\ndata: ${JSON.stringify({ type: name, ...more })}\n\n`
const response = (status: string, more: object = {}) => ({
  response: { id: 'resp_1', object: 'response', model: 'gpt-oss', status, error: null, ...more },
})
const responseUsage = {
  input_tokens: 50,
  input_tokens_details: { cached_tokens: 20 },
  output_tokens: 7,
  output_tokens_details: { reasoning_tokens: 3 },
  total_tokens: 57,
}

const PARTS = {
  reasoningTokens: 0,
  audioInputTokens: 0,
  imageInputTokens: 0,
  audioOutputTokens: 0,
  imageOutputTokens: 0,
}
const REASONED = { parts: { ...PARTS, reasoningTokens: 3 } }
const RESPONDED = { inputTokens: 30, outputTokens: 7, cacheReadTokens: 20, ...REASONED }

const STREAMS: Readonly<Record<string, readonly [text: string, expected: MeteredUsage]>> = {
  'usage in a chunk of its own, null before': [
    chunk('a', { usage: null }) +
      decoy +
      finish({ usage: null }) +
      data({ ...shape, choices: [], usage: usage(67, 42, 60) }) +
      DONE,
    exact({ model: 'llama-4', inputTokens: 7, outputTokens: 42, cacheReadTokens: 60 }),
  ],
  'usage in the last chunk, without an end': [
    chunk('a') + finish({ usage: usage(10, 5) }),
    exact({ model: 'llama-4', inputTokens: 10, outputTokens: 5 }),
  ],
  'usage in each chunk, cumulative, zeros at the end': [
    chunk('a', { usage: usage(10, 1) }) +
      chunk('b', { usage: usage(10, 2) }) +
      finish({ usage: usage(10, 3) }) +
      data({ ...shape, choices: [], usage: usage(0, 0) }) +
      DONE,
    exact({ model: 'llama-4', inputTokens: 10, outputTokens: 3 }),
  ],
  'the Responses API, by names': [
    named('response.created', response('in_progress', { usage: null })) +
      named('response.output_text.delta', {
        item_id: 'msg_1',
        delta: 'Hello',
        obfuscation: 'xyz',
      }) +
      named('response.completed', response('completed', { usage: responseUsage })),
    exact({ model: 'gpt-oss', ...RESPONDED }),
  ],
  'the Responses API, without names': [
    data({ type: 'response.output_text.delta', delta: 'Hello' }) +
      data({ type: 'response.incomplete', ...response('incomplete', { usage: responseUsage }) }),
    exact({ model: 'gpt-oss', ...RESPONDED }),
  ],
  "Groq's chunk of its own kind": [
    chunk('a') + finish({ x_groq: { id: 'req_1', usage: usage(10, 5) } }) + DONE,
    exact({ model: 'llama-4', inputTokens: 10, outputTokens: 5 }),
  ],
  'written to a cache for half an hour and for half a day, in a dearer tier': [
    chunk('a', { service_tier: 'priority', usage: null }) +
      data({
        ...shape,
        service_tier: 'priority',
        choices: [],
        usage: {
          ...usage(100, 5),
          prompt_tokens_details: {
            cached_tokens: 20,
            cache_write_tokens: 50,
            cache_write_tokens_details: { ttl_30m_tokens: 40, ttl_12h_tokens: 10 },
          },
        },
      }) +
      DONE,
    exact({
      model: 'llama-4',
      inputTokens: 30,
      outputTokens: 5,
      cacheReadTokens: 20,
      cacheCreationTokens: 50,
      cacheCreation1hTokens: 10,
      priceClasses: ['service_tier:priority'],
    }),
  ],
  'a transcript': [
    data({ type: 'transcript.text.delta', delta: 'I' }) +
      data({
        type: 'transcript.text.done',
        text: 'I see',
        usage: {
          type: 'tokens',
          input_tokens: 14,
          input_token_details: { text_tokens: 0, audio_tokens: 14 },
          output_tokens: 4,
        },
      }),
    exact({ inputTokens: 14, outputTokens: 4, parts: { ...PARTS, audioInputTokens: 14 } }),
  ],
  'JSON over several lines': [
    `data: {"model":"llama-4",\ndata: "choices":[],\ndata: "usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n${DONE}`,
    exact({ model: 'llama-4', inputTokens: 3, outputTokens: 4 }),
  ],
  'JSON over several lines, of which some look like JSON of their own': [
    `data: {"model":"llama-4",\ndata: "usage":{"prompt_tokens":3,\ndata: "completion_tokens":4}\ndata: }\n\n${DONE}`,
    exact({ model: 'llama-4', inputTokens: 3, outputTokens: 4 }),
  ],
  'thoughts that only the total has': [
    chunk('a') +
      data({
        ...shape,
        choices: [],
        usage: {
          prompt_tokens: 32,
          completion_tokens: 9,
          total_tokens: 135,
          completion_tokens_details: { reasoning_tokens: 94 },
        },
      }) +
      DONE,
    exact({
      model: 'llama-4',
      inputTokens: 32,
      outputTokens: 103,
      parts: { ...PARTS, reasoningTokens: 94 },
    }),
  ],
}

describe('streams', () => {
  for (const [name, [text, expected]] of Object.entries(STREAMS)) {
    test(
      `${name}: exact in any chunks, with any line ends, in any coding`,
      seeded((random) => {
        for (const end of ['\n', '\r\n']) {
          const bytes = bytesOf(text.replaceAll('\n', end))
          for (let round = 0; round < howMany(15, 200); round += 1) {
            expect(meter(piecesOf(bytes, random), { isComplete: true })).toEqual(expected)
          }
        }
        for (const [coding, encode] of [
          ['gzip', zlib.gzipSync],
          ['br', zlib.brotliCompressSync],
          ['zstd', zlib.zstdCompressSync],
        ] as const) {
          const pieces = piecesOf(new Uint8Array(encode(bytesOf(text))), random)
          expect(meter(pieces, { isComplete: true, coding })).toEqual(expected)
        }
      }),
    )

    test(`${name}: cut at any byte, no count goes down and none is more than was said`, () => {
      const bytes = bytesOf(text)
      let before: MeteredUsage = { state: 'unknown', ...COUNTS }
      for (let cut = 0; cut < bytes.length; cut += 1) {
        const now = meter([bytes.subarray(0, cut)])
        expect(now.outputTokens).toBeGreaterThanOrEqual(before.outputTokens)
        expect(now.outputTokens).toBeLessThanOrEqual(expected.outputTokens)
        before = now
      }
    })
  }

  test('a stream that is cut after a count: the output since, and a remainder', () => {
    const text = chunk('a', { usage: usage(10, 1) }) + chunk('some words!') + chunk('abc')
    expect(meter([bytesOf(text)])).toEqual({
      ...exact({ model: 'llama-4', inputTokens: 10, outputTokens: 1 }),
      state: 'partial',
      since: { outputTokens: 5, inputTokens: 0, spokenMs: 0, isUnfinished: true },
    })
  })

  test('a stream that ends without usage is unknown, with the text of its chunks', () => {
    const text = chunk('some words!') + finish() + DONE
    expect(meter([bytesOf(text)], { isComplete: true })).toMatchObject({
      state: 'unknown',
      since: { outputTokens: 4, isUnfinished: false },
    })
  })

  test('text in single chunks is estimated by its length, at least a token each', () => {
    const words = ['a', 'b', ' long', ' longer words', 'c']
    const since = meter(words.map((word) => bytesOf(chunk(word)))).since?.outputTokens ?? 0
    expect(since).toBeWithin(words.length, 2 * words.length + words.join('').length / 3)
  })

  test('attack: tokens of one byte are a token each, however their events come', () => {
    const digits = Array.from({ length: 90 }, (_, at) => chunk(String(at % 10))).join('')
    const deltas = named('response.output_text.delta', { delta: '7' }).repeat(90)
    for (const text of [digits, digits.replaceAll('\n', '\r\n'), deltas]) {
      const bytes = bytesOf(text)
      for (const pieces of [[bytes], [bytes.subarray(0, 7), bytes.subarray(7)]]) {
        expect(meter(pieces).since?.outputTokens).toBeGreaterThanOrEqual(90)
      }
    }
    const zipped = [new Uint8Array(zlib.gzipSync(digits))]
    expect(meter(zipped, { coding: 'gzip' }).since?.outputTokens).toBeGreaterThanOrEqual(90)
  })

  test('complete chunks are read only if they may contain usage', () => {
    const nothing = [chunk('a'), chunk('b', { usage: null }), chunk('"usage" and error')]
    const told = chunk('c', { usage: usage(10, 5) })
    for (const pieces of [
      [...nothing, told],
      [...nothing, chunk('x') + told],
      [chunk('"usage":{'), told],
    ])
      expect(meter(pieces.map((each) => bytesOf(each)))).toMatchObject({ outputTokens: 5 })
    const failed = data({ error: { message: 'm', type: 'server_error' } })
    const pieces = [...nothing, chunk('x') + failed].map((each) => bytesOf(each))
    expect(meter(pieces, { isComplete: true }).sawError).toBe('server_error')
  })

  test('padding and ids of the Responses API are no text', () => {
    const more = { item_id: 'msg_0123456789', sequence_number: 7, obfuscation: 'x'.repeat(20) }
    const text = named('response.output_text.delta', { ...more, delta: 'Hello' }).repeat(10)
    expect(meter([bytesOf(text)]).since?.outputTokens).toBeLessThanOrEqual(20)
  })

  test('errors: in a chunk, in an event of that name, in a response that failed', () => {
    const seen = (text: string) => meter([bytesOf(text)], { isComplete: true }).sawError
    const error = { message: 'secret', type: 'server_error', code: 500 }
    expect(seen(chunk('a') + data({ error }))).toBe('server_error')
    expect(seen(`event: error\n${data({ error })}`)).toBe('server_error')
    expect(seen(named('error', { code: 'rate_limit_exceeded', message: 'secret' }))).toBe(
      'rate_limit_exceeded',
    )
    const failed = response('failed', { error: { code: 'server_error', message: 'secret' } })
    expect(seen(named('response.failed', failed))).toBe('server_error')
    expect(seen(data({ error: 'out of memory: secret' }))).toBe('unknown_error')
    const bad = { message: 'secret', type: 'BadRequestError', code: 400 }
    expect(seen(data({ error: bad }))).toBe('invalid_request_error')
    expect(seen(data({ error: { ...bad, code: 429 } }))).toBe('rate_limit_error')
    expect(seen(data({ error: { ...bad, type: 'EngineDeadError', code: 500 } }))).toBe(
      'unknown_error',
    )
    expect(seen(decoy + DONE)).toBeUndefined()
  })

  test('invalid counts and broken JSON are never exact', () => {
    for (const bad of [-1, 1.5, '7', {}, 2 ** 60]) {
      const text = data({ ...shape, usage: { prompt_tokens: 5, completion_tokens: bad } }) + DONE
      expect(meter([bytesOf(text)], { isComplete: true }).state).not.toBe('exact')
    }
    const broken = `${data({ ...shape, usage: usage(1, 1) })}data: {"usage":{\n\n${DONE}`
    expect(meter([bytesOf(broken)], { isComplete: true }).state).toBe('partial')
  })

  test('a long line of anything is measured in linear time', () => {
    const line = `data: ${'"content":"'.repeat(90_000)}\n\n`
    const start = Bun.nanoseconds()
    meter([bytesOf(line)], { isComplete: true })
    const half = Bun.nanoseconds() - start
    meter([bytesOf(line + line)], { isComplete: true })
    // Not a limit of time: a quadratic reader takes minutes.
    expect(Bun.nanoseconds() - start - half).toBeLessThan(1000 * (half + 1e6))
  })
})

describe('whole bodies', () => {
  const whole = (body: unknown, coding?: string) => {
    const bytes = bytesOf(JSON.stringify(body))
    const encoded = coding === 'gzip' ? new Uint8Array(zlib.gzipSync(bytes)) : bytes
    return meter([encoded], { isComplete: true, type: 'application/json', coding })
  }
  test('a completion, a response, embeddings, a compressed one', () => {
    const chat = { model: 'llama-4', choices: [], usage: usage(67, 42, 60) }
    const counted = { model: 'llama-4', inputTokens: 7, outputTokens: 42, cacheReadTokens: 60 }
    expect(whole(chat)).toEqual(exact(counted))
    expect(whole(chat, 'gzip')).toEqual(exact(counted))
    expect(whole({ object: 'response', model: 'gpt-oss', usage: responseUsage })).toEqual(
      exact({ model: 'gpt-oss', ...RESPONDED }),
    )
    const embeddings = { model: 'e', data: [], usage: { prompt_tokens: 8, total_tokens: 8 } }
    expect(whole(embeddings)).toEqual(exact({ model: 'e', inputTokens: 8 }))
  })
  test('pictures, sound in and out, a transcript that is billed by its length', () => {
    const pictures = {
      created: 1,
      data: [{ b64_json: 'aGk=' }],
      usage: {
        input_tokens: 50,
        input_tokens_details: { text_tokens: 10, image_tokens: 40 },
        output_tokens: 1056,
        total_tokens: 1106,
      },
    }
    const image = { inputTokens: 50, outputTokens: 1056, parts: { ...PARTS, imageInputTokens: 40 } }
    expect(whole(pictures)).toEqual(exact(image))
    const spoken = {
      model: 'gpt-audio',
      usage: {
        ...usage(30, 20),
        prompt_tokens_details: { cached_tokens: 0, audio_tokens: 12 },
        completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 15 },
      },
    }
    expect(whole(spoken)).toMatchObject({
      state: 'exact',
      parts: { ...PARTS, audioInputTokens: 12, audioOutputTokens: 15 },
    })
    expect(whole({ text: 'hi', usage: { type: 'duration', seconds: 9 } }).state).toBe('unknown')
  })
  test('tools that the API ran are counted by their calls, searches as it counts them itself', () => {
    const call = (type: string) => ({ type, id: 'x', status: 'completed' })
    const output = ['web_search_call', 'web_search_call', 'file_search_call', 'function_call']
    const tools = (more: object) =>
      whole({ model: 'm', output: output.map(call), usage: responseUsage, ...more }).serverTools
    expect(tools({})).toEqual({ web_search_requests: 2, file_search_requests: 1 })
    expect(tools({ tool_usage: { web_search: { num_requests: 1 } } })).toEqual({
      web_search_requests: 1,
      file_search_requests: 1,
    })
    expect(whole({ model: 'm', output: [], usage: responseUsage }).serverTools).toBeUndefined()
  })
  test(
    'the usage at the end of a body that is too large to be held is read',
    seeded((random) => {
      const large = 'x'.repeat(3_000_000)
      const say = (body: object, isComplete = true) =>
        meter(largePiecesOf(bytesOf(JSON.stringify(body)), random), {
          isComplete,
          type: 'application/json',
        })
      const embeddings = { data: [large], model: 'e', usage: { prompt_tokens: 8, total_tokens: 8 } }
      expect(say(embeddings)).toEqual(exact({ model: 'e', inputTokens: 8 }))
      expect(say(embeddings, false).state).toBe('unknown')
      expect(say({ usage: { prompt_tokens: 8 }, data: [large] }).state).toBe('unknown')
      const decoy = { data: [large, '"usage":{"prompt_tokens":9}'] }
      expect(say(decoy).state).toBe('unknown')
      expect(say({ ...decoy, ...embeddings, data: [large] })).toMatchObject({ inputTokens: 8 })
      // A tool's schema is the caller's, and comes back in the answer.
      const tools = [
        { type: 'function', parameters: { model: 'cheap', usage: { input_tokens: 1 } } },
      ]
      const echo = { model: 'dear', output: [large], tools, top_p: 1, usage: usage(900, 5) }
      expect(say(echo)).toEqual(exact({ inputTokens: 900, outputTokens: 5 }))
    }),
  )
  test('one that was cut, one without usage, an error under a 200', () => {
    const text = JSON.stringify({ model: 'llama-4', usage: usage(1, 1) }).slice(0, -1)
    expect(meter([bytesOf(text)], { type: 'application/json' }).state).toBe('unknown')
    expect(whole({ model: 'x' }).state).toBe('unknown')
    expect(whole({ model: 'x', usage: usage(0, 0) }).state).toBe('unknown')
    // The prompt alone is all that embeddings use, and not what an answer does.
    for (const written of ['choices', 'output']) {
      expect(whole({ model: 'x', [written]: [], usage: { prompt_tokens: 5 } }).state).toBe(
        'partial',
      )
    }
    expect(whole({ model: 'x', data: [], usage: { prompt_tokens: 5 } }).state).toBe('exact')
    expect(whole({ model: 'x', usage: { total_tokens: 8 } }).state).toBe('unknown')
    // Made in the background, after it was answered.
    const queued = {
      id: 'resp_0123',
      object: 'response',
      status: 'queued',
      model: 'x',
      usage: null,
    }
    const ids: string[] = []
    const told = (body: object) => {
      ids.length = 0
      const type = 'application/json'
      const keeps = (id: string) => void ids.push(id)
      return meter([bytesOf(JSON.stringify(body))], { type, keeps })
    }
    expect(told(queued)).toMatchObject({ state: 'unknown' })
    expect(ids).toEqual(['resp_0123'])
    const output = [
      { id: 'msg_0123' },
      { id: '../x' },
      { id: 'ci_01234', container_id: 'cntr_0123' },
    ]
    told({ ...queued, store: false, output })
    expect(ids).toEqual(['msg_0123', 'ci_01234', 'cntr_0123'])
    told({ ...queued, object: 'else' })
    expect(ids).toEqual([])
    const picture = { id: 'ig_01234', result: 'x'.repeat(3_000_000) }
    told({ ...queued, output: [picture] })
    expect(ids).toEqual(['resp_0123'])
    told({ metadata: { id: 'resp_other', object: 'response' }, output: [picture] })
    expect(ids).toEqual([])
    ids.length = 0
    const keeps = (id: string) => void ids.push(id)
    const added = named('response.output_item.added', { item: { id: 'ig_01234' } })
    const broken = 'event: response.output_item.added\ndata: {"item":\n\n'
    expect(meter([bytesOf(added + broken + DONE)], { keeps, isComplete: true }).sawError).toBe(
      undefined,
    )
    expect(ids).toEqual(['ig_01234'])
    expect(whole({ error: { type: 'server_error' } })).toMatchObject({
      state: 'unknown',
      sawError: 'server_error',
    })
  })
  test('other types say nothing', () => {
    expect(openAiUsageMeter('audio/mpeg', undefined)).toBeUndefined()
    expect(openAiUsageMeter(undefined, undefined)).toBeUndefined()
  })
})
