// What a stream says: each event 180 bytes long and told from its neighbours by a number, so that a
// byte that is lost, doubled or moved shows. Usage is at the end, where each API has it.

export const EVENT_BYTES = 180
export const DIALECTS = ['openai', 'anthropic'] as const
export type Dialect = (typeof DIALECTS)[number]

const sse = (name: string, data: unknown): string =>
  `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`

/** The first and last words of a stream, around its events. */
const FRAME: Readonly<Record<Dialect, { readonly before: string; readonly after: string }>> = {
  openai: { before: '', after: 'data: [DONE]\n\n' },
  anthropic: {
    before:
      sse('message_start', {
        type: 'message_start',
        message: {
          id: 'msg_01Bench',
          type: 'message',
          role: 'assistant',
          model: 'claude-sonnet-4-5-20250929',
          content: [],
          stop_reason: null,
          stop_sequence: null,
          usage: { input_tokens: 25, output_tokens: 1, service_tier: 'standard' },
        },
      }) +
      sse('content_block_start', {
        type: 'content_block_start',
        index: 0,
        content_block: { type: 'text', text: '' },
      }),
    after:
      sse('content_block_stop', { type: 'content_block_stop', index: 0 }) +
      sse('message_delta', {
        type: 'message_delta',
        delta: { stop_reason: 'end_turn', stop_sequence: null },
        usage: { output_tokens: 600 },
      }) +
      sse('message_stop', { type: 'message_stop' }),
  },
}

const SHAPE: Readonly<Record<Dialect, (text: string) => string>> = {
  openai: (text) =>
    `data: ${JSON.stringify({
      id: 'chatcmpl-1',
      object: 'chat.completion.chunk',
      model: 'gpt-oss-120b',
      choices: [{ index: 0, delta: { content: text }, finish_reason: null }],
    })}\n\n`,
  anthropic: (text) =>
    sse('content_block_delta', {
      type: 'content_block_delta',
      index: 0,
      delta: { type: 'text_delta', text },
    }),
}

export function event(dialect: Dialect, number: number): string {
  const shape = SHAPE[dialect]
  const text = String(number).padStart(6, '0')
  return shape(text.padEnd(EVENT_BYTES - shape('').length, ' and so on'))
}

export const before = (dialect: Dialect): string => FRAME[dialect].before
export const after = (dialect: Dialect): string => FRAME[dialect].after

/** The whole body of a stream with so many events. */
export function wholeBody(dialect: Dialect, events: number): Buffer {
  const all = Array.from({ length: events }, (_, number) => event(dialect, number))
  return Buffer.from(before(dialect) + all.join('') + after(dialect))
}

/** As it travels: one chunk of RFC 9112 §7.1. */
export const chunk = (text: string): Buffer =>
  Buffer.from(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`)

export const STREAM_HEAD = Buffer.from(
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n' +
    'Trailer: X-Tinfoil-Usage-Metrics\r\nTransfer-Encoding: chunked\r\n\r\n',
)

/** The last chunk, and behind it what Tinfoil says of usage. */
export const STREAM_END = Buffer.from(
  '0\r\nX-Tinfoil-Usage-Metrics: prompt=25,completion=600,total=625\r\n\r\n',
)
