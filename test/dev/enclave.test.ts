// The embedded enclave over real sockets: with the clients people use, and with requests that no
// honest client makes.

import { until } from '../support/binary.ts'
import { cpuMs } from '../support/cost.ts'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import http from 'node:http'

import { Identity, KeyConfigMismatchError, Transport, deriveResponseKeys, decryptChunk } from 'ehbp'
import OpenAI from 'openai'

import { startEnclave, type DevEnclave } from '../../src/dev/enclave.ts'

const API_KEY = 'key-of-the-enclave'
const MODEL = 'gpt-oss-120b'
const USAGE = /^prompt=(\d+),completion=(\d+),total=(\d+)$/
const messages = [{ role: 'user' as const, content: 'the canary sings' }]
const chat = (more: object = {}) => JSON.stringify({ model: MODEL, messages, ...more })

let enclave: DevEnclave
let openai: OpenAI
let sealed: OpenAI
let identity: Identity

beforeAll(async () => {
  enclave = await startEnclave({ apiKey: API_KEY, pace: { firstTokenMs: 2, tokenMs: 1 } })
  const keys = await fetch(`${enclave.url}/.well-known/hpke-keys`)
  identity = await Identity.unmarshalPublicConfig(await keys.bytes())
  const common = { apiKey: API_KEY, baseURL: `${enclave.url}/v1`, maxRetries: 0 }
  openai = new OpenAI(common)
  sealed = new OpenAI({ ...common, fetch: transportTo(enclave, identity) })
})
afterAll(() => enclave.close())

function transportTo(to: DevEnclave, key: Identity) {
  const transport = new Transport(key, new URL(to.url).host)
  return (input: string | URL | Request, init?: RequestInit) => transport.request(input, init)
}

interface Seen {
  status: number
  headers: http.IncomingHttpHeaders
  trailers: NodeJS.Dict<string>
  chunks: Buffer[]
  body: Buffer
}

/** A request by node:http, the client that shows trailers and every piece as it arrives. */
function ask(path: string, options: http.RequestOptions, ...pieces: (string | Buffer)[]) {
  return new Promise<Seen>((resolve, reject) => {
    const headers = { Authorization: `Bearer ${API_KEY}`, ...options.headers }
    const request = http.request(`${enclave.url}${path}`, { method: 'POST', ...options, headers })
    request.once('error', reject)
    request.once('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.once('error', reject)
      response.once('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          trailers: response.trailers,
          chunks,
          body: Buffer.concat(chunks),
        }),
      )
    })
    for (const piece of pieces) request.write(piece)
    request.end()
  })
}

const errorOf = (seen: Seen) => JSON.parse(seen.body.toString()).error

/** A sealed request in as many frames as there are texts, and what opens its answer. */
async function seal(key: Identity, ...texts: string[]) {
  const [first = '', ...rest] = texts
  const plain = new Request('http://example.test/', { method: 'POST', body: first })
  const { request, context } = await key.encryptRequestWithContext(plain)
  if (context === null) throw new Error('not sealed')
  const frames = [Buffer.from(await request.arrayBuffer())]
  for (const text of rest) {
    const ciphertext = Buffer.from(await context.senderContext.Seal(Buffer.from(text)))
    frames.push(Buffer.concat([u32(ciphertext.byteLength), ciphertext]))
  }
  const enc = Buffer.from(context.requestEnc)
  const headers = { 'Ehbp-Encapsulated-Key': enc.toString('hex') }
  const openFrames = async (seen: Seen) => {
    const nonce = Buffer.from(String(seen.headers['ehbp-response-nonce']), 'hex')
    const secret = await context.senderContext.Export(Buffer.from('ehbp response'), 32)
    const keys = await deriveResponseKeys(secret, enc, nonce)
    const opened: string[] = []
    for (let at = 0; at < seen.body.byteLength;) {
      const end = at + 4 + seen.body.readUInt32BE(at)
      const text = await decryptChunk(keys, opened.length, seen.body.subarray(at + 4, end))
      opened.push(Buffer.from(text).toString())
      at = end
    }
    return opened
  }
  return { headers, frames, openFrames }
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  )
}

for (const road of ['plain', 'sealed'] as const) {
  const client = () => (road === 'plain' ? openai : sealed)

  describe(`the openai client, ${road}`, () => {
    test('chat answers with an echo and honest numbers', async () => {
      const answer = await client().chat.completions.create({ model: MODEL, messages })
      const [choice] = answer.choices
      expect(choice?.message.content).toContain("postern's embedded development enclave")
      expect(choice?.message.content).toEndWith('You said: the canary sings')
      expect(choice?.finish_reason).toBe('stop')
      const usage = answer.usage
      expect(usage?.total_tokens).toBe(
        (usage?.prompt_tokens ?? 0) + (usage?.completion_tokens ?? 0),
      )
    })

    test('a chat stream adds up to the unary answer, with its usage last', async () => {
      const unary = await client().chat.completions.create({ model: MODEL, messages })
      const stream = await client().chat.completions.create({
        model: MODEL,
        messages,
        stream: true,
        stream_options: { include_usage: true },
      })
      const chunks = await Array.fromAsync(stream)
      const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')
      expect(text).toBe(unary.choices[0]?.message.content ?? '')
      expect(chunks.at(-1)).toMatchObject({ choices: [], usage: unary.usage ?? {} })
      expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true)
    })

    test('completions answer whole and streamed', async () => {
      const asked = { model: 'llama3-3-70b', prompt: 'Once upon a time' }
      const unary = await client().completions.create(asked)
      expect(unary.choices[0]?.text).toEndWith('You said: Once upon a time')
      const stream = await client().completions.create({ ...asked, stream: true })
      const chunks = await Array.fromAsync(stream)
      expect(chunks.map((chunk) => chunk.choices[0]?.text).join('')).toBe(
        unary.choices[0]?.text ?? '',
      )
    })

    test('responses answer whole and as the events the client assembles', async () => {
      const asked = { model: MODEL, instructions: 'Be brief.', input: 'the canary sings' }
      const unary = await client().responses.create(asked)
      expect(unary.status).toBe('completed')
      expect(unary.output_text).toEndWith('You said: the canary sings')

      const stream = client().responses.stream(asked)
      const types: string[] = []
      let text = ''
      for await (const event of stream) {
        expect(event.sequence_number).toBe(types.length)
        types.push(event.type)
        if (event.type === 'response.output_text.delta') text += event.delta
      }
      expect(text).toBe(unary.output_text)
      expect((await stream.finalResponse()).usage).toEqual(unary.usage)
      expect(new Set(types)).toEqual(
        new Set([
          'response.created',
          'response.in_progress',
          'response.output_item.added',
          'response.content_part.added',
          'response.output_text.delta',
          'response.output_text.done',
          'response.content_part.done',
          'response.output_item.done',
          'response.completed',
        ]),
      )
    })

    test('embeddings are the same in both encodings, and of length one', async () => {
      const asked = { model: 'nomic-embed-text', input: ['one', 'two', 'one'], dimensions: 24 }
      // The client asks for base64 by itself and decodes it.
      const packed = await client().embeddings.create(asked)
      const plain = await client().embeddings.create({ ...asked, encoding_format: 'float' })
      const [one, two, again] = packed.data.map((each) => Array.from(each.embedding))
      expect(plain.data.map((each) => each.embedding)).toEqual([one!, two!, again!])
      expect(again).toEqual(one!)
      expect(two).not.toEqual(one!)
      expect(one).toHaveLength(24)
      expect(Math.hypot(...one!)).toBeCloseTo(1, 5)
      expect(packed.usage).toEqual({ prompt_tokens: 3, total_tokens: 3 })
    })

    test('a transcription states the size of the upload', async () => {
      const file = new File([new Uint8Array(1234)], 'speech.wav', { type: 'audio/wav' })
      const asked = { file, model: 'whisper-large-v3' }
      const { text } = await client().audio.transcriptions.create(asked)
      expect(text).toContain('1234 bytes')
    })

    test('speech is a WAV file that can be heard', async () => {
      const asked = { model: 'tts', voice: 'alloy', input: 'hello' }
      const answer = await client().audio.speech.create(asked)
      expect(answer.headers.get('content-type')).toBe('audio/wav')
      const wav = Buffer.from(await answer.arrayBuffer())
      expect(wav.toString('latin1', 0, 4) + wav.toString('latin1', 8, 16)).toBe('RIFFWAVEfmt ')
      expect(wav.readUInt32LE(4)).toBe(wav.byteLength - 8)
      expect(wav.readUInt32LE(40)).toBe(wav.byteLength - 44)
      const samples = new Int16Array(wav.buffer.slice(wav.byteOffset + 44))
      expect(Math.max(...samples)).toBeGreaterThan(0.25 * 0x7fff)
    })

    test('models are listed', async () => {
      const ids = (await Array.fromAsync(client().models.list())).map((model) => model.id)
      expect(ids).toEqual([
        'gpt-oss-120b',
        'llama3-3-70b',
        'gpt-4o-mini',
        'nomic-embed-text',
        'text-embedding-3-small',
      ])
    })

    test('a wrong key, an unknown model and a bad body are the errors of the API', async () => {
      const strangers = client().withOptions({ apiKey: 'another' })
      const refused = await failureOf(strangers.chat.completions.create({ model: MODEL, messages }))
      expect(refused).toBeInstanceOf(OpenAI.AuthenticationError)
      expect((refused as Error).message).toBe('401 Incorrect API key provided.')

      const asked = { model: 'gpt-9', messages }
      const unknown = await failureOf(client().chat.completions.create(asked))
      expect(unknown).toBeInstanceOf(OpenAI.NotFoundError)
      expect(unknown).toMatchObject({ code: 'model_not_found', param: 'model' })

      const empty = await failureOf(
        client().chat.completions.create({ ...asked, model: MODEL, messages: [] }),
      )
      expect(empty).toBeInstanceOf(OpenAI.BadRequestError)
      expect(empty).toMatchObject({ type: 'invalid_request_error' })
    })

    test('a token limit cuts the answer and says so', async () => {
      const asked = { model: MODEL, messages, max_completion_tokens: 3 }
      const answer = await client().chat.completions.create(asked)
      expect(answer.usage?.completion_tokens).toBe(3)
      expect(answer.choices[0]?.finish_reason).toBe('length')
      const input = { model: MODEL, input: 'hi', max_output_tokens: 3 }
      const response = await client().responses.create(input)
      expect(response).toMatchObject({
        status: 'incomplete',
        incomplete_details: { reason: 'max_output_tokens' },
      })
    })
  })
}

describe('usage', () => {
  const wanted = { 'X-Tinfoil-Request-Usage-Metrics': 'true' }

  test('of a whole answer is a header, with the numbers of the body', async () => {
    const seen = await ask('/v1/chat/completions', { headers: wanted }, chat())
    const { usage } = JSON.parse(seen.body.toString())
    expect(seen.headers['x-tinfoil-usage-metrics']).toBe(
      `prompt=${usage.prompt_tokens},completion=${usage.completion_tokens},total=${usage.total_tokens}`,
    )
  })

  test('of a stream is an announced trailer, and not a header', async () => {
    const seen = await ask('/v1/chat/completions', { headers: wanted }, chat({ stream: true }))
    expect(seen.headers.trailer).toBe('X-Tinfoil-Usage-Metrics')
    expect(seen.headers['x-tinfoil-usage-metrics']).toBeUndefined()
    expect(seen.trailers['x-tinfoil-usage-metrics']).toMatch(USAGE)
    expect(seen.body.toString()).toEndWith('data: [DONE]\n\n')
  })

  test('of a sealed stream is a trailer in the clear', async () => {
    const { headers, frames } = await seal(identity, chat({ stream: true }))
    const seen = await ask(
      '/v1/chat/completions',
      { headers: { ...headers, ...wanted } },
      ...frames,
    )
    expect(seen.trailers['x-tinfoil-usage-metrics']).toMatch(USAGE)
    expect(seen.body.includes('data:')).toBe(false)
  })

  test('is not sent without a request for it, nor for a refusal', async () => {
    const unasked = await ask('/v1/chat/completions', {}, chat())
    expect(unasked.headers['x-tinfoil-usage-metrics']).toBeUndefined()
    const streamed = await ask('/v1/chat/completions', {}, chat({ stream: true }))
    expect(streamed.trailers).toEqual({})
    const refused = await ask('/v1/chat/completions', { headers: wanted }, '{}')
    expect(refused.status).toBe(400)
    expect(refused.headers['x-tinfoil-usage-metrics']).toBeUndefined()
  })
})

describe('sealed bodies', () => {
  test('the key configuration has its exact media type', async () => {
    const seen = await ask('/.well-known/hpke-keys', { method: 'GET' })
    expect(seen.headers['content-type']).toBe('application/ohttp-keys')
    expect(seen.body.byteLength).toBe(41)
  })

  test('a chunked request of several frames, an empty one among them, opens', async () => {
    const text = chat()
    const parts = [text.slice(0, 10), text.slice(10, 30), text.slice(30)]
    const { headers, frames, openFrames } = await seal(identity, ...parts)
    const [one, two, three] = frames
    // Written with the frames' edges and the chunks' edges in different places.
    const pieces = [u32(0), one!, two!.subarray(0, 2), two!.subarray(2), u32(0), three!, u32(0)]
    const seen = await ask('/v1/chat/completions', { headers }, ...pieces)
    expect(seen.status).toBe(200)
    expect(seen.headers['content-length']).toBeUndefined()
    const [answer, ...none] = await openFrames(seen)
    expect(JSON.parse(answer ?? '').choices[0].message.content).toContain('canary')
    expect(none).toEqual([])
  })

  test('nothing of the request or the answer is readable on the wire', async () => {
    const { headers, frames } = await seal(identity, chat({ stream: true }))
    const seen = await ask('/v1/chat/completions', { headers }, ...frames)
    for (const word of ['canary', 'choices', 'postern', MODEL]) {
      expect(seen.body.includes(word)).toBe(false)
      expect(Buffer.concat(frames).includes(word)).toBe(false)
    }
  })

  test('each event of a stream is a frame of its own, and leaves when it is made', async () => {
    const slow = await startEnclave({ apiKey: API_KEY, pace: { firstTokenMs: 30, tokenMs: 15 } })
    try {
      const keys = await fetch(`${slow.url}/.well-known/hpke-keys`)
      const key = await Identity.unmarshalPublicConfig(await keys.bytes())
      const begun = performance.now()
      const response = await transportTo(slow, key)(`${slow.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${API_KEY}` },
        body: chat({ stream: true, max_tokens: 6 }),
      })
      const arrivals: number[] = []
      const texts: string[] = []
      for await (const chunk of response.body!) {
        arrivals.push(performance.now() - begun)
        texts.push(Buffer.from(chunk).toString())
      }
      expect(arrivals[0]!).toBeGreaterThan(25)
      // The opening, six tokens and the closing.
      expect(texts).toHaveLength(8)
      expect(arrivals.at(-1)! - arrivals[0]!).toBeGreaterThan(4 * 15)
    } finally {
      await slow.close()
    }
  })

  test('a tampered sealed request is 422 key-config', async () => {
    const { headers, frames } = await seal(identity, chat())
    const bent = Buffer.from(frames[0]!)
    bent[20] = bent[20]! ^ 1
    const seen = await ask('/v1/chat/completions', { headers }, bent)
    expect(seen.status).toBe(422)
    expect(seen.headers['content-type']).toBe('application/problem+json')
    expect(seen.headers['ehbp-response-nonce']).toBeUndefined()
    expect(JSON.parse(seen.body.toString())).toEqual({
      type: 'urn:ietf:params:ehbp:error:key-config',
      title: 'failed to decrypt request',
    })
  })

  test("a request sealed to another key is the client's key mismatch", async () => {
    const request = transportTo(enclave, await Identity.generate())(
      `${enclave.url}/v1/chat/completions`,
      { method: 'POST', body: chat() },
    )
    expect(await failureOf(request)).toBeInstanceOf(KeyConfigMismatchError)
  })

  test('a malformed key or bad framing is 400 in plain text', async () => {
    const { headers, frames } = await seal(identity, chat())
    const key = headers['Ehbp-Encapsulated-Key']
    const [frame] = frames
    const wrong: [string, Buffer][] = [
      [key.slice(1), frame!],
      [`${key}, ${key}`, frame!],
      ['not hex', frame!],
      [key, frame!.subarray(0, -1)],
      [key, Buffer.concat([frame!, Buffer.of(0)])],
      [key, u32(0)],
      [key, Buffer.concat([u32(0xffffffff), frame!])],
    ]
    for (const [value, body] of wrong) {
      const asked = { headers: { 'Ehbp-Encapsulated-Key': value } }
      const seen = await ask('/v1/chat/completions', asked, body)
      expect(seen.status).toBe(400)
      expect(seen.headers['content-type']).toStartWith('text/plain')
      expect(seen.headers['ehbp-response-nonce']).toBeUndefined()
    }
  })

  // EHBP §7.4.
  test('a key sent with no body seals nothing', async () => {
    const { headers } = await seal(identity, chat())
    const seen = await ask('/v1/models', { method: 'GET', headers })
    expect(seen.status).toBe(200)
    expect(seen.headers['ehbp-response-nonce']).toBeUndefined()
  })

  test('errors of the application are sealed too: wrong key, path, method and model', async () => {
    const cases: [string, string, string, number][] = [
      ['POST', '/v1/chat/completions', 'stranger', 401],
      ['POST', '/v1/nothing', API_KEY, 404],
      ['PUT', '/v1/chat/completions', API_KEY, 405],
      ['POST', '/v1/embeddings', API_KEY, 404],
    ]
    for (const [method, path, apiKey, status] of cases) {
      const { headers, frames, openFrames } = await seal(identity, chat())
      const asked = { method, headers: { ...headers, Authorization: `Bearer ${apiKey}` } }
      const seen = await ask(path, asked, ...frames)
      expect(seen.status).toBe(status)
      expect(seen.body.includes('error')).toBe(false)
      const [opened] = await openFrames(seen)
      expect(JSON.parse(opened ?? '').error.type).toBe('invalid_request_error')
    }
  })
})

describe('the door', () => {
  test('every path under /v1 demands the key, whatever its form', async () => {
    for (const authorization of ['', 'Bearer', `Basic ${API_KEY}`, API_KEY, `Bearer ${API_KEY}x`]) {
      for (const path of ['/v1/models', '/v1/chat/completions', '/v1/unknown']) {
        const seen = await ask(path, { headers: { Authorization: authorization } }, chat())
        expect(seen.status).toBe(401)
        expect(errorOf(seen).message).toBe('Incorrect API key provided.')
      }
    }
    const lowercase = { method: 'GET', headers: { Authorization: `bearer ${API_KEY}` } }
    expect((await ask('/v1/models', lowercase)).status).toBe(200)
  })

  test('unknown paths are 404 and wrong methods 405 that name the right one', async () => {
    expect((await ask('/', { method: 'GET' })).status).toBe(404)
    expect((await ask('/v1/chat/completions/', {}, chat())).status).toBe(404)
    const wrong = await ask('/v1/chat/completions', { method: 'GET' })
    expect([wrong.status, wrong.headers.allow]).toEqual([405, 'POST'])
    expect((await ask('/.well-known/hpke-keys', {}, 'x')).headers.allow).toBe('GET')
  })

  test('there is nothing to attest, and it says so', async () => {
    const seen = await ask('/attestation', { method: 'GET' })
    expect(seen.status).toBe(404)
    expect(errorOf(seen).message).toContain('nothing to attest')
  })

  test('a body that is not a JSON object is 400', async () => {
    for (const body of ['', '{', 'null', '[]', '"text"', Buffer.of(0xff, 0xfe)]) {
      const seen = await ask('/v1/chat/completions', {}, body)
      expect(seen.status).toBe(400)
      expect(errorOf(seen).type).toBe('invalid_request_error')
    }
    expect((await ask('/v1/audio/transcriptions', {}, 'x')).status).toBe(400)
    const multipart = { headers: { 'Content-Type': 'multipart/form-data; boundary=b' } }
    expect((await ask('/v1/audio/transcriptions', multipart, 'no parts')).status).toBe(400)
  })

  test('fields of unexpected types do not break an answer', async () => {
    const odd = [null, 7, {}, { role: 'user' }, { role: 'user', content: [null, { text: 5 }] }]
    const seen = await ask('/v1/chat/completions', {}, chat({ messages: odd, max_tokens: 'x' }))
    expect(seen.status).toBe(200)
    const strange = { model: '__proto__', messages }
    expect((await ask('/v1/chat/completions', {}, JSON.stringify(strange))).status).toBe(404)
  })

  test('the echo is bounded, whatever the length of the prompt', async () => {
    const long = [{ role: 'user', content: '😀'.repeat(100_000) }]
    const seen = await ask('/v1/chat/completions', {}, chat({ messages: long }))
    const { content } = JSON.parse(seen.body.toString()).choices[0].message
    expect(content.length).toBeLessThan(600)
    expect(content.isWellFormed()).toBe(true)
  })

  test('a prompt of a million spaces takes no longer than another', async () => {
    const blank = [{ role: 'user', content: ' '.repeat(1_000_000) }]
    const took = await cpuMs(async () => {
      const seen = await ask('/v1/chat/completions', {}, chat({ messages: blank }))
      expect(JSON.parse(seen.body.toString()).usage.prompt_tokens).toBe(3)
    })
    expect(took).toBeLessThan(1000)
  })

  test('a body announced as larger than 64 MiB is 413 before it is sent', async () => {
    const headers = { 'Content-Length': 64 * 1024 * 1024 + 1 }
    const seen = new Promise<[number | undefined, string | undefined]>((resolve, reject) => {
      const request = http.request(`${enclave.url}/v1/chat/completions`, {
        method: 'POST',
        headers,
      })
      request.once('error', reject)
      request.once('response', (response) => {
        resolve([response.statusCode, response.headers.connection])
        request.destroy()
      })
      request.write('x')
    })
    expect(await seen).toEqual([413, 'close'])
  })
})

test('a body that grows beyond 64 MiB unannounced is 413 too', async () => {
  const mebibyte = Buffer.alloc(1024 * 1024, 'a')
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const request = http.request(`${enclave.url}/v1/chat/completions`, { method: 'POST' })
    let sentMebibytes = 0
    const send = () => {
      while (sentMebibytes < 80) {
        sentMebibytes += 1
        if (!request.write(mebibyte)) return request.once('drain', send)
      }
      return request
    }
    // Once refused, the rest of the upload meets a closed connection.
    request.on('error', reject)
    request.once('response', (response) => {
      resolve(response.statusCode)
      request.destroy()
    })
    send()
  })
  expect(status).toBe(413)
})

describe('a client that leaves', () => {
  const slowPace = { firstTokenMs: 5, tokenMs: 10_000 }

  test('stops the generation of a stream, plain or sealed', async () => {
    const slow = await startEnclave({ apiKey: API_KEY, pace: slowPace })
    try {
      const keys = await fetch(`${slow.url}/.well-known/hpke-keys`)
      const key = await Identity.unmarshalPublicConfig(await keys.bytes())
      const { headers, frames } = await seal(key, chat({ stream: true }))
      for (const [extra, body] of [
        [{}, chat({ stream: true })],
        [headers, frames[0]!],
      ] as const) {
        const leaving = new AbortController()
        const response = await fetch(`${slow.url}/v1/chat/completions`, {
          method: 'POST',
          headers: { ...extra, Authorization: `Bearer ${API_KEY}` },
          body,
          signal: leaving.signal,
        })
        await response.body!.getReader().read()
        expect(slow.generating()).toBe(1)
        leaving.abort()
        await until(() => slow.generating() === 0)
      }
    } finally {
      await slow.close()
    }
  })

  test('stops the generation of a whole answer', async () => {
    const slow = await startEnclave({ apiKey: API_KEY, pace: slowPace })
    try {
      const leaving = new AbortController()
      const asked = fetch(`${slow.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${API_KEY}` },
        body: chat(),
        signal: leaving.signal,
      })
      const failed = failureOf(asked)
      await until(() => slow.generating() === 1)
      leaving.abort()
      expect(await failed).toMatchObject({ name: 'AbortError' })
      await until(() => slow.generating() === 0)
    } finally {
      await slow.close()
    }
  })

  test('in the middle of its upload leaves nothing behind', async () => {
    const request = http.request(`${enclave.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${API_KEY}`, 'Content-Length': 1000 },
    })
    request.on('error', () => {})
    request.write('{')
    await Bun.sleep(20)
    request.destroy()
    await Bun.sleep(20)
    expect(enclave.generating()).toBe(0)
    expect((await ask('/v1/models', { method: 'GET' })).status).toBe(200)
  })

  test('a close in the middle of a stream looks broken to the client', async () => {
    const slow = await startEnclave({ apiKey: API_KEY, pace: slowPace })
    const response = await fetch(`${slow.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${API_KEY}` },
      body: chat({ stream: true }),
    })
    const reading = failureOf(response.text())
    await until(() => slow.generating() === 1)
    await slow.close()
    expect(await reading).toBeInstanceOf(Error)
    await until(() => slow.generating() === 0)
  })
})
