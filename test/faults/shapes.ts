// The requests that go through the faults, and what becomes of each where nothing fails: every byte
// of its answer and every token that it uses follow from its few parameters, so that whoever looks
// at a part of it afterwards knows what part that is. Pure.

import { ENCAPSULATED_KEY } from '../support/gate.ts'
import { VERSION } from '../support/anthropic.ts'

export const SHAPES = [
  'message',
  'message_whole',
  'chat',
  'chat_whole',
  'sealed',
  'upload',
] as const
export type Shape = (typeof SHAPES)[number]

export interface Asking {
  /** Its request id too; letters, digits and dashes. */
  readonly id: string
  readonly shape: Shape
  /** Where its tokens come from. */
  readonly number: number
  readonly events: number
  readonly eventBytes: number
  /** Between two events. */
  readonly gapMs: number
  readonly uploadBytes: number
}

export interface Used {
  readonly input: number
  readonly output: number
  readonly cacheRead: number
  readonly cacheCreation: number
}

/** What a device asks, and what a user does. */
export const isDevice = (shape: Shape): boolean => shape.startsWith('message')
export const isStream = (shape: Shape): boolean =>
  shape === 'message' || shape === 'chat' || shape === 'sealed'

export const MODEL = 'claude-haiku-4-5'

export function usedBy({ shape, number }: Asking): Used {
  return {
    input: 10 + (number % 53),
    // More than the 1 that a stream begins with.
    output: 5 + (number % 41),
    cacheRead: number % 7,
    cacheCreation: isDevice(shape) ? number % 5 : 0,
  }
}

const PATHS: Readonly<Record<Shape, string>> = {
  message: '/v1/messages',
  message_whole: '/v1/messages',
  chat: '/v1/chat/completions',
  chat_whole: '/v1/chat/completions',
  sealed: '/v1/chat/completions',
  upload: '/v1/audio/transcriptions',
}

export function pathOf(asking: Asking): string {
  const { shape, ...rest } = asking
  const query = new URLSearchParams({ shape })
  for (const [name, value] of Object.entries(rest)) query.set(name, String(value))
  return `${PATHS[shape]}?${query}`
}

export function askingOf(query: URLSearchParams): Asking {
  const number = (name: string): number => Number(query.get(name) ?? 0)
  return {
    id: query.get('id') ?? '',
    shape: SHAPES.find((each) => each === query.get('shape')) ?? 'chat',
    number: number('number'),
    events: number('events'),
    eventBytes: number('eventBytes'),
    gapMs: number('gapMs'),
    uploadBytes: number('uploadBytes'),
  }
}

export function requestHeaders({ shape, id }: Asking): string[] {
  const common = [`X-Request-Id: ${id}`]
  if (isDevice(shape)) {
    return [
      ...common,
      'Content-Type: application/json',
      ...Object.entries(VERSION).map((each) => each.join(': ')),
    ]
  }
  if (shape !== 'sealed') return [...common, 'Content-Type: application/json']
  return [
    ...common,
    'Content-Type: application/octet-stream',
    `Ehbp-Encapsulated-Key: ${ENCAPSULATED_KEY}`,
  ]
}

export function requestBody(asking: Asking): Buffer {
  const { shape, uploadBytes } = asking
  if (shape === 'upload') return pattern(uploadBytes, asking.number)
  if (shape === 'sealed') return pattern(200, asking.number)
  const body = { model: MODEL, max_tokens: 64, stream: isStream(shape), messages: [] }
  return Buffer.from(JSON.stringify(body))
}

/** Bytes that are not text, and no two askings' the same. */
function pattern(bytes: number, number: number): Buffer {
  const buffer = Buffer.alloc(bytes)
  for (let at = 0; at < bytes; at += 1) buffer[at] = (at * 31 + (at >> 8) * 17 + number * 7) & 255
  return buffer
}

/** One write of an answer: some framing, some of the body, some framing. */
export interface Piece {
  readonly raw: Buffer
  readonly bodyFrom: number
  readonly bodyTo: number
}

/** Everything that the upstream writes, in order. `close`: nothing more on this connection. */
export function answerOf(asking: Asking, close = false): Piece[] {
  const { shape } = asking
  const connection = close ? ['Connection: close'] : []
  const trailer = ['Trailer: X-Tinfoil-Usage-Metrics']
  switch (shape) {
    case 'message':
      return streamed([...SSE, ...connection], messageEvents(asking), '')
    case 'chat':
      return streamed([...SSE, ...trailer, ...connection], chatEvents(asking), metrics(asking))
    case 'sealed': {
      const type = ['Content-Type: application/octet-stream', `Ehbp-Response-Nonce: ${NONCE}`]
      const frames = Array.from({ length: asking.events }, (_, index) =>
        pattern(asking.eventBytes, asking.number + index),
      )
      return streamed([...type, ...trailer, ...connection], frames, metrics(asking))
    }
    case 'message_whole':
      return whole([...JSON_TYPE, ...connection], messageBody(asking))
    case 'chat_whole':
    case 'upload': {
      const filler = 'x'.repeat(asking.events * asking.eventBytes)
      const body = Buffer.from(JSON.stringify({ id: asking.id, filler }))
      return whole([...JSON_TYPE, metrics(asking), ...connection], body)
    }
  }
}

/** What a client must get of it: all that stands in the first `rawBytes` of what was written. */
export function bodyOf(answer: readonly Piece[], rawBytes = Infinity): Buffer {
  const parts: Buffer[] = []
  let left = rawBytes
  for (const { raw, bodyFrom, bodyTo } of answer) {
    const reach = Math.min(bodyTo, left)
    if (reach > bodyFrom) parts.push(raw.subarray(bodyFrom, reach))
    left -= raw.byteLength
    if (left <= 0) break
  }
  return Buffer.concat(parts)
}

const NONCE = 'cd'.repeat(32)
const SSE = ['Content-Type: text/event-stream; charset=utf-8']
const JSON_TYPE = ['Content-Type: application/json']

function metrics(asking: Asking): string {
  const { input, output, cacheRead } = usedBy(asking)
  const prompt = input + cacheRead
  return (
    `X-Tinfoil-Usage-Metrics: prompt=${prompt},completion=${output},` +
    `total=${prompt + output},cached_prompt_tokens=${cacheRead}`
  )
}

function streamed(headers: readonly string[], bodies: readonly Buffer[], trailer: string): Piece[] {
  const head = `${['HTTP/1.1 200 OK', ...headers, 'Transfer-Encoding: chunked'].join('\r\n')}\r\n\r\n`
  const end = `0\r\n${trailer === '' ? '' : `${trailer}\r\n`}\r\n`
  return [framing(head), ...bodies.map(chunk), framing(end)]
}

function whole(headers: readonly string[], body: Buffer): Piece[] {
  const lines = ['HTTP/1.1 200 OK', ...headers, `Content-Length: ${body.byteLength}`]
  return [
    framing(`${lines.join('\r\n')}\r\n\r\n`),
    { raw: body, bodyFrom: 0, bodyTo: body.byteLength },
  ]
}

const framing = (text: string): Piece => ({ raw: Buffer.from(text), bodyFrom: 0, bodyTo: 0 })

function chunk(body: Buffer): Piece {
  const size = Buffer.from(`${body.byteLength.toString(16)}\r\n`)
  const raw = Buffer.concat([size, body, Buffer.from('\r\n')])
  return { raw, bodyFrom: size.byteLength, bodyTo: size.byteLength + body.byteLength }
}

const usageOf = ({ input, output, cacheRead, cacheCreation }: Used): object => ({
  input_tokens: input,
  output_tokens: output,
  cache_read_input_tokens: cacheRead,
  cache_creation_input_tokens: cacheCreation,
})

const event = (name: string, more: object): Buffer =>
  Buffer.from(`event: ${name}\ndata: ${JSON.stringify({ type: name, ...more })}\n\n`)

export const FIRST_OUTPUT = 1

function messageEvents(asking: Asking): Buffer[] {
  const used = usedBy(asking)
  const usage = usageOf({ ...used, output: FIRST_OUTPUT })
  const deltas = Array.from({ length: asking.events }, (_, index) => {
    const text = `${index} `.padEnd(asking.eventBytes, '.')
    return event('content_block_delta', { index: 0, delta: { type: 'text_delta', text } })
  })
  return [
    event('message_start', { message: { id: asking.id, model: MODEL, usage } }),
    ...deltas,
    event('message_delta', { delta: {}, usage: { output_tokens: used.output } }),
    event('message_stop', {}),
  ]
}

function chatEvents({ events, eventBytes }: Asking): Buffer[] {
  const deltas = Array.from({ length: events }, (_, index) =>
    Buffer.from(`data: {"delta":"${`${index} `.padEnd(eventBytes, '.')}"}\n\n`),
  )
  return [...deltas, Buffer.from('data: [DONE]\n\n')]
}

function messageBody(asking: Asking): Buffer {
  const content = [{ type: 'text', text: 'x'.repeat(asking.events * asking.eventBytes) }]
  const about = { id: asking.id, type: 'message', role: 'assistant', model: MODEL, content }
  return Buffer.from(JSON.stringify({ ...about, usage: usageOf(usedBy(asking)) }))
}
