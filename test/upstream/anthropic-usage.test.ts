// The usage of Anthropic's answers, read as their bytes pass: from streams written down by hand in
// test/vectors/anthropic, from whole bodies, encoded ones, and from what no honest upstream sends.

import { cpuMs } from '../support/cost.ts'
import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import zlib from 'node:zlib'

import { anthropicUsageMeter } from '../../src/upstream/anthropic/usage.ts'
import { MAX_DECODED_BYTES } from '../../src/http1/decoding.ts'
import type { MeteredUsage } from '../../src/upstream/reading/tally.ts'
import { NO_PARTS } from '../../src/upstream/reading/token-parts.ts'
import { MAX_WHOLE_BYTES } from '../../src/upstream/reading/whole-body.ts'
import { seeded } from '../support/random.ts'
import { piecesOf } from './pieces.ts'
import { howMany } from '../support/long.ts'

const SSE = 'text/event-stream; charset=utf-8'
const JSON_TYPE = 'application/json'
const COUNTS = {
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheCreationTokens: 0,
  cacheCreation1hTokens: 0,
}
const NOTHING: MeteredUsage = { state: 'unknown', ...COUNTS }

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const vector = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../vectors/anthropic/${name}.sse`, import.meta.url)))

function meter(chunks: Iterable<Uint8Array>, contentType = SSE, contentEncoding?: string) {
  const metering = anthropicUsageMeter(contentType, contentEncoding)
  for (const chunk of chunks) metering.push(chunk, 0)
  return metering.end()
}

const exact = (model: string, counts: Partial<MeteredUsage>): MeteredUsage => ({
  ...NOTHING,
  state: 'exact',
  model,
  ...counts,
})

const STREAMS: Readonly<Record<string, MeteredUsage>> = {
  plain: exact('claude-opus-4-1-20250805', { inputTokens: 25, outputTokens: 15 }),
  // The second message_delta restates the input: a server tool's results were added to it.
  'tool-use': exact('claude-sonnet-4-5-20250929', {
    inputTokens: 10_682,
    outputTokens: 89,
    serverTools: { web_search_requests: 1 },
  }),
  cached: exact('claude-opus-5-5', {
    inputTokens: 4,
    outputTokens: 7,
    cacheReadTokens: 18_042,
    cacheCreationTokens: 1536,
    cacheCreation1hTokens: 1024,
  }),
  thinking: exact('claude-sonnet-5-5', {
    inputTokens: 43,
    outputTokens: 282,
    parts: { ...NO_PARTS, reasoningTokens: 270 },
  }),
  multibyte: exact('claude-haiku-5-5', { inputTokens: 61, outputTokens: 77 }),
  decoy: exact('claude-opus-4-6', { inputTokens: 12, outputTokens: 33 }),
  compaction: exact('claude-opus-5-5', {
    inputTokens: 203_000,
    outputTokens: 4500,
    cacheReadTokens: 50,
    cacheCreationTokens: 7,
    cacheCreation1hTokens: 7,
  }),
  classes: exact('claude-opus-5-5', {
    inputTokens: 120,
    outputTokens: 11,
    cacheCreationTokens: 64,
    cacheCreation1hTokens: 64,
    priceClasses: ['speed:fast', 'inference_geo:us'],
  }),
  // The last message_delta is of zeros: of each class the largest count stands.
  zeros: exact('claude-haiku-4-5-20251001', {
    inputTokens: 25,
    outputTokens: 15,
    cacheReadTokens: 300,
    cacheCreationTokens: 7,
  }),
  // What an advisor used is in no count above it.
  advisor: exact('claude-sonnet-5-5', {
    inputTokens: 100,
    outputTokens: 40,
    others: [
      {
        ...COUNTS,
        model: 'claude-fable-5-2',
        inputTokens: 900,
        outputTokens: 30,
        cacheReadTokens: 10,
      },
    ],
  }),
  // The counts above hold the samplings of both models.
  fallback: exact('claude-fable-5-2', {
    inputTokens: 500,
    outputTokens: 1,
    others: [{ ...COUNTS, model: 'claude-opus-5-5', inputTokens: 600, outputTokens: 30 }],
  }),
  'hidden-thinking': exact('claude-opus-5-5', { inputTokens: 43, outputTokens: 182 }),
  search: exact('claude-opus-5-5', {
    inputTokens: 3400,
    outputTokens: 95,
    cacheReadTokens: 6000,
    serverTools: { web_search_requests: 1 },
    codeRuns: 1,
  }),
  'error-midway': {
    ...exact('claude-opus-4-6', { inputTokens: 31, outputTokens: 1, cacheReadTokens: 900 }),
    state: 'partial',
    sawError: 'overloaded_error',
    // 'I was about to', at three bytes a token.
    since: { outputTokens: 5, inputTokens: 0, isUnfinished: true },
  },
}

describe('recorded streams', () => {
  for (const [name, expected] of Object.entries(STREAMS)) {
    const stream = vector(name)

    test(
      `${name}: the same under 1,000 random chunkings, and the bytes untouched`,
      seeded((random) => {
        const passing = stream.slice()
        expect(meter([passing])).toEqual(expected)
        for (let round = 0; round < howMany(100, 1000); round += 1) {
          const pieces = piecesOf(passing, random)
          expect(meter(pieces)).toEqual(expected)
          if (round % 100 === 0) expect(Buffer.concat(pieces).equals(stream)).toBe(true)
        }
        expect(Buffer.compare(passing, stream)).toBe(0)
      }),
    )

    test(`${name}: with CRLF, and with CR alone`, () => {
      const text = new TextDecoder().decode(stream)
      for (const end of ['\r\n', '\r']) {
        expect(meter([bytesOf(text.replaceAll('\n', end))])).toEqual(expected)
      }
    })

    test(`${name}: cut at any byte it is never exact, and never says more than it said`, () => {
      let before = NOTHING
      for (let cut = 0; cut < stream.length; cut += 1) {
        const now = meter([stream.subarray(0, cut)])
        expect(now.state).toBe(before.state === 'partial' ? 'partial' : now.state)
        expect(now.state).not.toBe('exact')
        for (const count of ['inputTokens', 'outputTokens', 'cacheReadTokens'] as const) {
          expect(now[count]).toBeGreaterThanOrEqual(before[count])
          expect(now[count]).toBeLessThanOrEqual(expected[count])
        }
        before = now
      }
    })
  }

  test('usage is partial from the very byte that ends its first event', () => {
    const stream = vector('plain')
    const states = Array.from(stream, (_, cut) => meter([stream.subarray(0, cut)]).state)
    const firstPartial = states.indexOf('partial')
    const startEnds = new TextDecoder().decode(stream).indexOf('\n\n') + 2
    expect(firstPartial).toBe(startEnds)
  })

  test('only the type of an error is kept', () => {
    expect(JSON.stringify(meter([vector('error-midway')]))).not.toContain('secret of the account')
  })
})

const CODINGS: readonly (readonly [name: string, encode: (bytes: Uint8Array) => Uint8Array])[] = [
  ['gzip', zlib.gzipSync],
  ['GZip ', zlib.gzipSync],
  ['x-gzip', zlib.gzipSync],
  ['deflate', zlib.deflateSync],
  ['deflate', zlib.deflateRawSync],
  ['br', zlib.brotliCompressSync],
  ['zstd', zlib.zstdCompressSync],
  ['identity', (bytes) => bytes],
  ['', (bytes) => bytes],
]

describe('encoded answers', () => {
  for (const [coding, encode] of CODINGS) {
    test(
      `"${coding}" by ${encode.name || 'nothing'}: exact in any chunks, bytes untouched`,
      seeded((random) => {
        for (const [name, expected] of Object.entries(STREAMS)) {
          const encoded = new Uint8Array(encode(vector(name)))
          const passing = encoded.slice()
          for (let round = 0; round < 30; round += 1) {
            expect(meter(piecesOf(passing, random), SSE, coding)).toEqual(expected)
          }
          expect(Buffer.compare(passing, encoded)).toBe(0)
        }
      }),
    )
  }

  test('events are seen as they arrive, not when the coding ends', async () => {
    const stream = vector('plain')
    const metering = anthropicUsageMeter(SSE, 'gzip')
    const gzip = zlib.createGzip()
    gzip.on('data', (chunk: Uint8Array) => metering.push(chunk, 0))
    gzip.write(stream)
    await new Promise<void>((resolve) => gzip.flush(() => resolve()))
    // The end of the gzip member was not sent at all.
    expect(metering.end()).toEqual(STREAMS['plain']!)
  })

  test('a chunk that decodes to far more than itself is read to its end', () => {
    const [start, ...rest] = new TextDecoder().decode(vector('plain')).split(/(?<=\n\n)/)
    const delta = `event: content_block_delta\ndata: {"text":"${'x'.repeat(500_000)}"}\n\n`
    const stream = bytesOf([start, delta, delta, ...rest].join(''))
    for (const [coding, encode] of CODINGS) {
      expect(meter([encode(stream)], SSE, coding)).toEqual(STREAMS['plain']!)
    }
  })

  test(
    'a coding cut short or broken in the middle is never exact before its end, and never throws',
    seeded((random) => {
      for (const [coding, encode] of CODINGS.slice(2, 7)) {
        const encoded = new Uint8Array(encode(vector('plain')))
        for (let round = 0; round < howMany(25, 200); round += 1) {
          const cut = Math.floor(random.next() * (encoded.length / 2))
          const broken = encoded.slice()
          broken.fill(random.int(256), cut)
          expect(meter([encoded.subarray(0, cut)], SSE, coding).state).not.toBe('exact')
          expect(meter(piecesOf(broken, random), SSE, coding).state).not.toBe('exact')
        }
        const noise = Uint8Array.from({ length: 300 }, () => random.int(256))
        const { since: _, ...found } = meter(piecesOf(noise, random), SSE, coding)
        expect(found).toEqual(NOTHING)
      }
    }),
  )

  test('a plain answer that claims a coding is unknown, and so is a coding we do not know', () => {
    for (const coding of ['gzip', 'br', 'zstd', 'deflate', 'compress', 'gzip, br', '__proto__']) {
      expect(meter([vector('plain')], SSE, coding)).toEqual(NOTHING)
    }
  })

  test('a bomb is given up at the bound, in little memory', async () => {
    const zeros = zlib.gzipSync(new Uint8Array(MAX_DECODED_BYTES / 8), { level: 9 })
    Bun.gc(true)
    const before = process.memoryUsage().rss
    const metering = anthropicUsageMeter(SSE, 'gzip')
    const took = await cpuMs(() => {
      // Members of one gzip file follow each other (RFC 1952 §2.2).
      for (let i = 0; i < 40; i += 1) metering.push(zeros, 0)
      metering.push(zlib.gzipSync(vector('plain')), 0)
      expect(metering.end()).toEqual(NOTHING)
    })
    expect(took).toBeLessThan(2000)
    expect(process.memoryUsage().rss - before).toBeLessThan(32 * 1024 * 1024)
  })

  test('a whole message, encoded', () => {
    const body = bytesOf(JSON.stringify(message({ input_tokens: 3, output_tokens: 4 })))
    for (const [coding, encode] of CODINGS) {
      expect(meter([encode(body)], JSON_TYPE, coding)).toMatchObject({
        state: 'exact',
        inputTokens: 3,
        outputTokens: 4,
      })
    }
  })
})

const message = (usage: unknown, text = 'hi') => ({
  id: 'msg_01',
  type: 'message',
  role: 'assistant',
  model: 'claude-opus-5-5',
  content: [{ type: 'text', text }],
  stop_reason: 'end_turn',
  usage,
})

describe('whole bodies', () => {
  const whole = (body: unknown) => meter([bytesOf(JSON.stringify(body))], JSON_TYPE)

  test(
    `a message's four classes, in any chunks`,
    seeded((random) => {
      const usage = {
        input_tokens: 1,
        output_tokens: 22,
        cache_read_input_tokens: 333,
        cache_creation_input_tokens: 4444,
        cache_creation: { ephemeral_5m_input_tokens: 4000, ephemeral_1h_input_tokens: 444 },
      }
      const decoy = '"usage":{"input_tokens":9,"output_tokens":9} é日🐤'
      const bytes = bytesOf(JSON.stringify(message(usage, decoy), null, 2))
      const expected = exact('claude-opus-5-5', {
        inputTokens: 1,
        outputTokens: 22,
        cacheReadTokens: 333,
        cacheCreationTokens: 4444,
        cacheCreation1hTokens: 444,
      })
      for (let round = 0; round < howMany(40, 300); round += 1) {
        expect(meter(piecesOf(bytes, random), 'Application/JSON; charset=utf-8')).toEqual(expected)
      }
      for (let cut = 0; cut < bytes.length; cut += 1) {
        expect(meter([bytes.subarray(0, cut)], JSON_TYPE)).toEqual(NOTHING)
      }
    }),
  )

  test('the parts of a cache write are summed if there is no sum', () => {
    const cache_creation = { ephemeral_5m_input_tokens: 5, ephemeral_1h_input_tokens: 6 }
    const seen = whole(message({ input_tokens: 1, output_tokens: 2, cache_creation }))
    expect(seen).toMatchObject({ cacheCreationTokens: 11, cacheCreation1hTokens: 6 })
  })

  test('thinking is part of the output, and an invalid count of it does no harm', () => {
    const reasoning = (output_tokens_details: unknown) => {
      const seen = whole(message({ input_tokens: 1, output_tokens: 20, output_tokens_details }))
      return [seen?.state, seen?.outputTokens, seen?.parts?.reasoningTokens]
    }
    expect(reasoning({ thinking_tokens: 12 })).toEqual(['exact', 20, 12])
    expect(reasoning({ thinking_tokens: 300 })).toEqual(['exact', 20, 20])
    for (const none of [null, {}, 'x', { thinking_tokens: 0 }, { thinking_tokens: -1 }]) {
      expect(reasoning(none)).toEqual(['exact', 20, undefined])
    }
  })

  test('other objects are not mistaken for usage', () => {
    expect(whole({ input_tokens: 2095 })).toEqual(NOTHING)
    expect(whole({ type: 'completion', completion: 'hi', model: 'claude-2.1' })).toEqual({
      ...NOTHING,
      model: 'claude-2.1',
    })
    expect(whole({ data: [message({ input_tokens: 1, output_tokens: 1 })] })).toEqual(NOTHING)
    expect(whole([message({ input_tokens: 1, output_tokens: 1 })])).toEqual(NOTHING)
    expect(whole('usage')).toEqual(NOTHING)
    expect(whole(null)).toEqual(NOTHING)
  })

  test('an error body names its type', () => {
    const error = { type: 'overloaded_error', message: 'secret of the account' }
    expect(whole({ type: 'error', error })).toEqual({ ...NOTHING, sawError: 'overloaded_error' })
    expect(whole({ type: 'error', error: { type: 'x'.repeat(65) } }).sawError).toBe('unknown_error')
    expect(whole({ type: 'error' }).sawError).toBe('unknown_error')
  })

  test('8 MiB are read, and a byte more is unknown, in little memory', async () => {
    const usage = { input_tokens: 5, output_tokens: 6 }
    const frame = JSON.stringify(message(usage, '')).length
    const fits = bytesOf(JSON.stringify(message(usage, 'x'.repeat(MAX_WHOLE_BYTES - frame))))
    expect(fits.length).toBe(MAX_WHOLE_BYTES)
    expect(meter([fits.subarray(0, 9), fits.subarray(9)], JSON_TYPE).state).toBe('exact')
    const larger = bytesOf(JSON.stringify(message(usage, 'x'.repeat(MAX_WHOLE_BYTES - frame + 1))))
    expect(meter([larger.subarray(0, 9), larger.subarray(9)], JSON_TYPE)).toEqual(NOTHING)
    const metering = anthropicUsageMeter(JSON_TYPE, undefined)
    const filler = new Uint8Array(1_000_000).fill(0x20)
    for (let i = 0; i < 1000; i += 1) metering.push(filler, 0)
    metering.push(bytesOf('{"usage":{"input_tokens":1,"output_tokens":1}}'), 0)
    expect(metering.end()).toEqual(NOTHING)
  })

  test('the usage of anything but a stream or JSON is unknown', () => {
    for (const type of [undefined, '', 'text/plain', 'application/octet-stream', 'text/html']) {
      const metering = anthropicUsageMeter(type, undefined)
      metering.push(vector('plain'), 0)
      expect(metering.end()).toEqual(NOTHING)
    }
  })
})

describe('bytes that no honest upstream sends', () => {
  const start = (usage: unknown, model: unknown = 'claude-opus-5-5') =>
    event('message_start', { message: { model, usage } })
  const event = (type: string, rest: object = {}, name = type) =>
    `event: ${name}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`
  const stop = event('message_stop')
  const usage = { input_tokens: 10, output_tokens: 1 }
  const read = (...events: string[]) => meter([bytesOf(events.join(''))])

  test('invalid counts keep the last valid one, and the state is not exact', () => {
    for (const bad of [-1, 1.5, 1e300, 2 ** 53, '7', true, [7], { n: 7 }]) {
      const seen = read(
        start(usage),
        event('message_delta', { usage: { output_tokens: bad } }),
        stop,
      )
      expect(seen).toMatchObject({ state: 'partial', inputTokens: 10, outputTokens: 1 })
      const first = read(start({ input_tokens: bad }), event('message_delta', { usage: {} }), stop)
      expect(first).toMatchObject({ state: 'unknown', inputTokens: 0 })
      const body = bytesOf(JSON.stringify(message({ input_tokens: bad, output_tokens: 2 })))
      expect(meter([body], JSON_TYPE)).toMatchObject({ state: 'partial', inputTokens: 0 })
    }
    const overflow = '{"usage":{"input_tokens":1e999,"output_tokens":2}}'
    expect(meter([bytesOf(overflow)], JSON_TYPE).state).toBe('partial')
  })

  test('null counts as absent, and keeps the previous count', () => {
    const delta = event('message_delta', { usage: { input_tokens: null, output_tokens: 5 } })
    expect(read(start(usage), delta, stop)).toMatchObject({ state: 'exact', inputTokens: 10 })
  })

  test('a prompt of 0 is not exact: some servers write zeros instead of counts', () => {
    const say = (usage: object) =>
      meter([bytesOf(JSON.stringify({ type: 'message', model: 'm', usage }))], JSON_TYPE).state
    expect(say({ input_tokens: 0, output_tokens: 0 })).toBe('unknown')
    expect(say({ input_tokens: 0, output_tokens: 7 })).toBe('partial')
    expect(say({ input_tokens: 0, cache_read_input_tokens: 9, output_tokens: 0 })).toBe('exact')
  })

  test('without a final output the first one is a lower bound', () => {
    expect(read(start(usage), stop)).toMatchObject({ state: 'partial', outputTokens: 1 })
    expect(read(start(usage), event('message_delta', { delta: {} }), stop).state).toBe('partial')
  })

  test('an end without anything else, a name of another type, broken JSON: never exact', () => {
    expect(read(stop)).toMatchObject(NOTHING)
    const delta = event('message_delta', { usage: { output_tokens: 5 } })
    expect(read(delta, stop).state).toBe('partial')
    const other = event('ping', { usage: { output_tokens: 50 } }, 'message_delta')
    expect(read(start(usage), other, delta, stop)).toMatchObject({
      state: 'partial',
      outputTokens: 5,
    })
    const broken = 'event: message_delta\ndata: {"type":"message_delta","usage":{"out\n\n'
    expect(read(start(usage), broken, delta, stop).state).toBe('partial')
    expect(read(start(usage), delta, event('x', {}, 'message_stop')).state).toBe('partial')
  })

  test('an event too long to be read takes exactness with it', () => {
    const padding = 'x'.repeat(70_000)
    const delta = event('message_delta', { padding, usage: { output_tokens: 5 } })
    const small = event('message_delta', { usage: { output_tokens: 4 } })
    expect(read(start(usage), small, delta, stop)).toMatchObject({
      state: 'partial',
      outputTokens: 4,
    })
    const text = event('content_block_delta', { padding })
    expect(read(start(usage), text, small, stop).state).toBe('exact')
  })

  test('a name that could not be a model, or is longer than one, is not kept', () => {
    for (const model of [7, null, '', 'x'.repeat(129), 'claude\u001b[2J', 'claude opus']) {
      expect(read(start(usage, model))).not.toHaveProperty('model')
    }
  })

  test('iterations: an advisor counts separately, and unknown kinds make a lower bound', () => {
    const advice = { type: 'advisor_message', model: 'claude-opus-5-5', input_tokens: 7 }
    const delta = (value: unknown) =>
      event('message_delta', { usage: { output_tokens: 5, iterations: value } })
    // Restated like everything else, not added again; of the answer's own model too.
    expect(read(start(usage), delta([advice]), delta([advice]), stop)).toMatchObject({
      state: 'exact',
      inputTokens: 10,
      others: [{ model: 'claude-opus-5-5', inputTokens: 7 }],
    })
    for (const bad of [
      7,
      [null],
      [{ ...advice, model: 7 }],
      [{ type: 'new' }],
      [{ type: 'compaction', input_tokens: -1 }],
    ]) {
      expect(read(start(usage), delta(bad), stop).state).toBe('partial')
    }
    const twice = [{ type: 'compaction', input_tokens: 7, output_tokens: 1 }, { type: 'message' }]
    // Restated like everything else, not added again.
    const seen = read(start(usage), delta(twice), delta([...twice, ...twice]), stop)
    expect(seen).toMatchObject({ state: 'exact', inputTokens: 24, outputTokens: 7 })
  })

  test('nothing is heard after the end, and the end is said twice the same', () => {
    const metering = anthropicUsageMeter(SSE, 'gzip')
    const gzipped = zlib.gzipSync(vector('plain'))
    metering.push(gzipped.subarray(0, 10), 0)
    const first = metering.end()
    metering.push(gzipped.subarray(10), 0)
    expect(metering.end()).toEqual(first)
    expect(first).toMatchObject(NOTHING)
  })
})

describe('the output since the last count', () => {
  const event = (type: string, more: object = {}): string =>
    `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`
  const usage = { input_tokens: 1000, cache_read_input_tokens: 2000, output_tokens: 1 }
  const start = event('message_start', { message: { model: 'claude-opus-5-5', usage } })
  const block = (content_block: object): string =>
    event('content_block_start', { index: 0, content_block })
  const delta = (json: object): string => event('content_block_delta', { index: 0, delta: json })
  const text = (words: string): string => delta({ type: 'text_delta', text: words })
  const stop = event('content_block_stop', { index: 0 })
  const PING = event('ping')

  /** Each at its second. */
  function since(...parts: (readonly [atSeconds: number, text: string])[]) {
    const metering = anthropicUsageMeter(SSE, undefined)
    for (const [at, part] of parts) metering.push(bytesOf(part), at * 1000)
    return metering.end().since
  }

  test('is a token for three bytes of text, and nothing for its frame', () => {
    expect(since([0, start])).toMatchObject({ outputTokens: 0, isUnfinished: true })
    const many = text('abc').repeat(100)
    expect(since([0, start + block({ type: 'text' }) + many])?.outputTokens).toBe(100)
    expect(since([0, start + text('é日🐤')])?.outputTokens).toBe(3)
  })

  test('is 80 tokens a second of thinking that is not shown, as long as anything comes', () => {
    const thinking = block({ type: 'thinking', thinking: '', signature: '' })
    const begun = [2, start + thinking] as const
    expect(since(begun, [7, PING], [12, PING])?.outputTokens).toBe(800)
    // Once the block is over, or no thinking, time is nothing.
    expect(since(begun, [12, PING + stop], [60, PING])?.outputTokens).toBe(800)
    expect(since([2, start + block({ type: 'text' })], [60, PING])?.outputTokens).toBe(0)
    // A count holds what was thought before it.
    const counted = event('message_delta', { usage: { output_tokens: 900 } })
    expect(since(begun, [12, counted], [13, PING])?.outputTokens).toBe(80)
  })

  test('is at least the thinking in a signature, and at least the shown part', () => {
    const thinking = start + block({ type: 'thinking', thinking: '', signature: '' })
    const signature = delta({ type: 'signature_delta', signature: 'x'.repeat(4000) })
    const shown = delta({ type: 'thinking_delta', thinking: 'y'.repeat(1500) })
    const tokens = since([0, thinking + shown + signature + stop])?.outputTokens
    // Base64 of what was thought: 3,000 bytes.
    expect(tokens).toBeGreaterThanOrEqual(1000)
    expect(tokens).toBeLessThan(1010)
    const seen = since([0, thinking + shown + stop])?.outputTokens
    expect(seen).toBeGreaterThanOrEqual(500)
    expect(seen).toBeLessThan(510)
    const redacted = block({ type: 'redacted_thinking', data: 'x'.repeat(4000) })
    expect(since([0, start + redacted + stop])?.outputTokens).toBe(1000)
  })

  test('is the prompt again for each result of a server tool, and the result itself', () => {
    const asked = block({ type: 'server_tool_use', name: 'web_search' })
    const result = block({ type: 'web_search_tool_result', content: 'z'.repeat(3000) })
    const one = since([0, start + asked + stop + result + stop])
    expect(one?.serverTools).toEqual({ web_search_requests: 1 })
    expect(one?.inputTokens).toBeGreaterThanOrEqual(3000 + 1000)
    expect(one?.inputTokens).toBeLessThan(3000 + 1100)
    // One that is too large to be read is a result.
    const large = block({ type: 'web_search_tool_result', content: 'z'.repeat(70_000) })
    expect(since([0, start + asked + stop + large + stop])?.inputTokens).toBe(3000)
  })

  test('an advisor and a compaction are in no bound: only the end reports their cost', () => {
    const advisor = block({ type: 'server_tool_use', name: 'advisor' })
    expect(since([0, start + advisor])).toBeUndefined()
    expect(since([0, start + block({ type: 'compaction', content: null })])).toBeUndefined()
    const counted = event('message_delta', { usage: { output_tokens: 9 } })
    expect(since([0, start + advisor + counted])).toMatchObject({ outputTokens: 0 })
  })

  test('nothing more is being made once a stop reason was said', () => {
    const counted = event('message_delta', {
      delta: { stop_reason: 'end_turn' },
      usage: { output_tokens: 9 },
    })
    expect(since([0, start + text('abc') + counted])).toEqual({
      outputTokens: 0,
      inputTokens: 0,
      isUnfinished: false,
    })
  })

  test('of a coding that breaks nothing is estimated', () => {
    const metering = anthropicUsageMeter(SSE, 'gzip')
    const encoded = zlib.gzipSync(bytesOf(start + text('abc').repeat(2000)))
    metering.push(encoded.subarray(0, 60), 0)
    metering.push(new Uint8Array(100).fill(0xff), 0)
    expect(metering.end().since).toBeUndefined()
  })
})
