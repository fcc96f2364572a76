// Streams in the shape that servers of each dialect send them, with what they say of usage.

import type { Random } from '../support/random.ts'

export interface RecordedStream {
  readonly path: string
  readonly bytes: Buffer
  /** What the ledger must hold of it; undefined where it says nothing, or breaks off with an error. */
  readonly usage: Usage | undefined
}

export interface Usage {
  readonly input_tokens: number
  readonly output_tokens: number
  readonly cache_read_tokens: number
}

export type Dialect = 'chat' | 'responses' | 'messages'

const WORDS = [
  'Hel',
  'lo ',
  'wörld',
  '🐤🐤',
  '你好',
  '\u2028',
  ' "usage":{"',
  '[DONE]',
  '\n\n',
  'data: ',
]

interface Source {
  readonly random: Random
  /** By which the stream ends its lines. */
  readonly newline: string
  readonly fails: boolean
  readonly words: readonly string[]
  readonly usage: Usage
}

const MAKERS: Readonly<
  Record<Dialect, (source: Source) => readonly [text: string, told: boolean]>
> = { chat, responses, messages }
const PATHS: Readonly<Record<Dialect, string>> = {
  chat: '/v1/chat/completions',
  responses: '/v1/responses',
  messages: '/v1/messages',
}

export function recordedStream(dialect: Dialect, random: Random): RecordedStream {
  const source: Source = {
    random,
    newline: random.next() < 0.3 ? '\r\n' : '\n',
    fails: random.next() < 0.15,
    words: Array.from({ length: 1 + random.int(12) }, () => random.pick(WORDS)),
    usage: {
      input_tokens: 1 + random.int(5000),
      output_tokens: 1 + random.int(5000),
      cache_read_tokens: random.int(3) * 100,
    },
  }
  const [text, told] = MAKERS[dialect](source)
  return { path: PATHS[dialect], bytes: Buffer.from(text), usage: told ? source.usage : undefined }
}

/** A comment now and then, as servers keep a connection alive with. */
function events(source: Source, all: readonly (readonly [name: string, data: object | string])[]) {
  const { random, newline } = source
  let text = ''
  for (const [name, data] of all) {
    if (random.next() < 0.1) text += `: OPENROUTER PROCESSING${newline}${newline}`
    if (name !== '') text += `event: ${name}${newline}`
    const said = typeof data === 'string' ? data : JSON.stringify(data)
    text += `data: ${said}${newline}${newline}`
  }
  return text
}

function chat(source: Source): readonly [string, boolean] {
  const { random, words, fails, usage } = source
  const shape = { id: 'chatcmpl-12345678', object: 'chat.completion.chunk', created: 1, model: 'm' }
  const isTold = random.next() < 0.7
  const counts = {
    prompt_tokens: usage.input_tokens + usage.cache_read_tokens,
    completion_tokens: usage.output_tokens,
    total_tokens: usage.input_tokens + usage.cache_read_tokens + usage.output_tokens,
    prompt_tokens_details: { cached_tokens: usage.cache_read_tokens },
  }
  const chunks = words.map((content) => [
    '',
    {
      ...shape,
      choices: [{ index: 0, delta: { content }, finish_reason: null }],
      ...(isTold && { usage: null }),
    },
  ])
  const end = fails
    ? [['', { error: { message: 'overloaded', type: 'server_error', code: 503 } }]]
    : [...(isTold ? [['', { ...shape, choices: [], usage: counts }]] : []), ['', '[DONE]']]
  return [events(source, [...chunks, ...end] as never), isTold && !fails]
}

function responses(source: Source): readonly [string, boolean] {
  const { words, fails, usage } = source
  const response = (status: string, more: object) => ({
    response: { id: 'resp_12345678', object: 'response', status, output: [], ...more },
  })
  const counts = {
    input_tokens: usage.input_tokens + usage.cache_read_tokens,
    input_tokens_details: { cached_tokens: usage.cache_read_tokens },
    output_tokens: usage.output_tokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: usage.input_tokens + usage.cache_read_tokens + usage.output_tokens,
  }
  const all = [
    ['response.created', response('in_progress', { usage: null })],
    ...words.map((delta) => ['response.output_text.delta', { item_id: 'msg_12345678', delta }]),
    fails
      ? ['error', { code: 'server_error', message: 'why', param: null }]
      : ['response.completed', response('completed', { usage: counts })],
  ] as [string, object][]
  const typed = all.map(([type, more]) => [type, { type, ...more }] as const)
  return [events(source, typed), !fails]
}

function messages(source: Source): readonly [string, boolean] {
  const { random, words, fails, usage } = source
  const counts = {
    input_tokens: usage.input_tokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: usage.cache_read_tokens,
    output_tokens: 1,
  }
  const message = {
    id: 'msg_12345678',
    type: 'message',
    role: 'assistant',
    content: [],
    model: 'm',
  }
  const all = [
    ['message_start', { message: { ...message, usage: counts } }],
    ['content_block_start', { index: 0, content_block: { type: 'text', text: '' } }],
    ...(random.next() < 0.5 ? [['ping', {}]] : []),
    ...words.map((text) => [
      'content_block_delta',
      { index: 0, delta: { type: 'text_delta', text } },
    ]),
    ...(fails
      ? [['error', { error: { type: 'overloaded_error', message: 'Overloaded' } }]]
      : [
          ['content_block_stop', { index: 0 }],
          [
            'message_delta',
            {
              delta: { stop_reason: 'end_turn' },
              usage: { ...counts, output_tokens: usage.output_tokens },
            },
          ],
          ['message_stop', {}],
        ]),
  ] as [string, object][]
  const typed = all.map(([type, more]) => [type, { type, ...more }] as const)
  return [events(source, typed), !fails]
}
