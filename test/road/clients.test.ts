// The clients that people use, against the binary in development mode: the whole road, with the
// embedded enclave at its end, in plaintext and sealed.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Identity, KeyConfigMismatchError, Transport } from 'ehbp'
import OpenAI from 'openai'
import { type Running, start } from '../support/binary.ts'

const MODEL = 'gpt-oss-120b'
const CANARY = 'the canary sings'
const messages = [{ role: 'user' as const, content: CANARY }]

let gate: Running
let narrow: Running
let strict: Running
let plain: OpenAI
let sealed: OpenAI
beforeAll(async () => {
  const free = { DEV_MODE: 'true', RATE_LIMIT_RPM: '0', PUBLIC_RATE_LIMIT_RPM: '0' }
  const all = await Promise.all([
    start(free),
    start({ ...free, RATE_LIMIT_RPM: '1', RATE_LIMIT_BURST: '1' }),
    start({ ...free, REQUIRE_EHBP: 'true' }),
  ])
  ;[gate, narrow, strict] = all
  plain = client(gate)
  sealed = client(gate, await sealing(gate))
})
afterAll(() => Promise.all([gate.stop(), narrow.stop(), strict.stop()]))

type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

function tokenOf(on: Running): string {
  return /^export TOKEN=(\S+)$/m.exec(on.output())?.[1] ?? ''
}
function client(on: Running, fetch?: Fetch): OpenAI {
  return new OpenAI({
    apiKey: tokenOf(on),
    baseURL: `${on.url}/v1`,
    maxRetries: 0,
    ...(fetch ? { fetch } : {}),
  })
}
/** A fetch that seals, with the key that the gate itself hands out. */
async function sealing(on: Running, known?: Identity): Promise<Fetch> {
  const keys = await fetch(`${on.url}/.well-known/hpke-keys`)
  const identity = known ?? (await Identity.unmarshalPublicConfig(await keys.bytes()))
  const transport = new Transport(identity, new URL(on.url).host)
  return (input, init) => transport.request(input, init)
}
const failureOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  )

for (const road of ['plain', 'sealed'] as const) {
  const openai = (): OpenAI => (road === 'plain' ? plain : sealed)

  describe(`the openai client, ${road}, through the binary`, () => {
    test.concurrent('a chat completion', async () => {
      const answer = await openai().chat.completions.create({ model: MODEL, messages })
      expect(answer.choices[0]?.message.content).toEndWith(`You said: ${CANARY}`)
      expect(answer.usage?.total_tokens).toBeGreaterThan(0)
    })

    test.concurrent('a streamed one comes piece by piece and ends', async () => {
      const stream = await openai().chat.completions.create({
        model: MODEL,
        messages,
        stream: true,
        max_completion_tokens: 8,
      })
      const arrivals: number[] = []
      let text = ''
      for await (const chunk of stream) {
        arrivals.push(performance.now())
        text += chunk.choices[0]?.delta.content ?? ''
      }
      expect(text.length).toBeGreaterThan(10)
      // Eight tokens at the enclave's pace, not eight at once: to read those takes one or two.
      expect((arrivals.at(-1) ?? 0) - (arrivals[0] ?? 0)).toBeGreaterThan(10)
    })

    test.concurrent('embeddings', async () => {
      const answer = await openai().embeddings.create({ model: 'nomic-embed-text', input: 'one' })
      expect(answer.data[0]?.embedding.length).toBeGreaterThan(8)
    })

    test.concurrent('responses, whole and streamed', async () => {
      const asked = { model: MODEL, input: CANARY, max_output_tokens: 8 }
      const unary = await openai().responses.create(asked)
      expect(unary.output_text.length).toBeGreaterThan(10)
      const stream = openai().responses.stream(asked)
      expect((await stream.finalResponse()).output_text).toBe(unary.output_text)
    })

    test.concurrent('models', async () => {
      const models = await Array.fromAsync(openai().models.list())
      expect(models.map(({ id }) => id)).toContain(MODEL)
    })

    test.concurrent('a transcription and speech', async () => {
      const file = new File([new Uint8Array(1234)], 'speech.wav', { type: 'audio/wav' })
      const heard = await openai().audio.transcriptions.create({ file, model: 'whisper-large-v3' })
      expect(heard.text).toContain('1234 bytes')
      const said = await openai().audio.speech.create({ model: 'tts', voice: 'alloy', input: 'hi' })
      expect(Buffer.from(await said.arrayBuffer()).toString('latin1', 0, 4)).toBe('RIFF')
    })

    test("the enclave's own errors come through typed", async () => {
      const unknown = await failureOf(
        openai().chat.completions.create({ model: 'gpt-9', messages }),
      )
      expect(unknown).toBeInstanceOf(OpenAI.NotFoundError)
      expect(unknown).toMatchObject({ code: 'model_not_found' })
    })
  })
}

describe('the errors of the gate, as the openai client sees them', () => {
  test.concurrent('a bad token is an AuthenticationError with our words', async () => {
    const stranger = plain.withOptions({ apiKey: 'nonsense' })
    const error = await failureOf(stranger.chat.completions.create({ model: MODEL, messages }))
    expect(error).toBeInstanceOf(OpenAI.AuthenticationError)
    expect(error).toMatchObject({
      status: 401,
      message: '401 invalid token',
      code: 'invalid_token',
      type: 'authentication_error',
    })
    expect((error as { requestID?: string }).requestID).toMatch(/^[0-9a-f-]{36}$/)
  })

  test.concurrent('too many requests are a RateLimitError', async () => {
    const openai = client(narrow)
    expect((await openai.models.list()).data.length).toBeGreaterThan(0)
    const error = await failureOf(openai.models.list())
    expect(error).toBeInstanceOf(OpenAI.RateLimitError)
    expect(error).toMatchObject({ status: 429, code: 'rate_limit_exceeded' })
    expect((error as { headers: Headers }).headers.get('retry-after')).toBe('60')
  })

  test.concurrent(
    'plaintext to a gate that requires sealing is a BadRequestError that says so',
    async () => {
      const error = await failureOf(
        client(strict).chat.completions.create({ model: MODEL, messages }),
      )
      expect(error).toBeInstanceOf(OpenAI.BadRequestError)
      expect((error as Error).message).toContain('client-side encryption required')
    },
  )

  test.concurrent('and sealed it passes there', async () => {
    const openai = client(strict, await sealing(strict))
    const answer = await openai.chat.completions.create({ model: MODEL, messages })
    expect(answer.choices[0]?.message.content).toEndWith(CANARY)
  })
})

describe('ehbp', () => {
  const chat = (fetch: Fetch, more: object = {}): Promise<Response> =>
    fetch(`${gate.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${tokenOf(gate)}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: MODEL, messages, ...more }),
    })

  test.concurrent('a sealed request and its sealed answer', async () => {
    const response = await chat(await sealing(gate))
    expect(response.status).toBe(200)
    expect(await response.text()).toContain(CANARY)
  })

  test.concurrent('a sealed stream opens piece by piece', async () => {
    const response = await chat(await sealing(gate), { stream: true, max_tokens: 8 })
    const pieces = await Array.fromAsync(response.body ?? [])
    expect(pieces.length).toBeGreaterThan(5)
    expect(Buffer.concat(pieces).toString()).toEndWith('data: [DONE]\n\n')
  })

  test.concurrent(
    "a wrong key is the library's mismatch error: the 422 passes unchanged",
    async () => {
      const wrong = await sealing(gate, await Identity.generate())
      expect(await failureOf(chat(wrong))).toBeInstanceOf(KeyConfigMismatchError)
    },
  )

  test.concurrent('usage is in the log, from the header and from the trailer', async () => {
    for (const more of [{}, { stream: true, max_tokens: 3 }]) {
      const response = await chat(await sealing(gate), more)
      await response.text()
      const line = await gate.logged(response.headers.get('x-request-id') ?? '')
      expect(line['input_tokens']).toBeGreaterThan(0)
      expect(line['output_tokens']).toBeGreaterThan(0)
    }
  })

  test.concurrent('no word of a prompt and no token is in anything that the binary wrote', () => {
    for (const on of [gate, narrow, strict]) {
      const token = tokenOf(on)
      const afterBanner = on
        .lines()
        .map((line) => JSON.stringify(line))
        .join('\n')
      expect(token.length).toBeGreaterThan(100)
      expect(afterBanner).toContain('listening')
      for (const secret of [CANARY, token, token.split('.')[2] ?? '', 'test-user']) {
        expect(afterBanner).not.toContain(secret)
      }
      expect(on.errors()).toBe('')
    }
  })
})
