// Servers of OpenAI's API as others run it, where they differ: vLLM (no key, usage only when it is asked
// for), Azure (`api-key`, a chunk about the prompt first, a dated model) and OpenRouter (comments between
// events, usage always). Answers come in random pieces.

import type { IncomingMessage, ServerResponse } from 'node:http'
import { gunzipSync } from 'node:zlib'
import { piecesOf } from '../upstream/pieces.ts'
import type { Random } from './random.ts'
import { startUpstream, type Upstream } from './upstream.ts'

export type Flavour = 'vllm' | 'azure' | 'openrouter'

export const KEYS = { azure: 'azure-key-canary-77', openrouter: 'sk-or-canary-1234' } as const
export const MODELS: Readonly<Record<Flavour, string>> = {
  vllm: 'Qwen/Qwen3-8B',
  azure: 'gpt-4o',
  openrouter: 'deepseek/deepseek-v4',
}
const ANSWERED: Readonly<Record<Flavour, string>> = { ...MODELS, azure: 'gpt-4o-2024-08-06' }
const PATHS: Readonly<Record<Flavour, string>> = {
  vllm: '/v1',
  azure: '/openai/v1',
  openrouter: '/api/v1',
}
export const WORDS = ['Hel', 'lo ', 'wörld 🐤', ' "usage":{', ' [DONE]']

/** In small pieces it takes seconds. */
const LARGE = 100_000

export interface OpenAiServer {
  readonly upstream: Upstream
  readonly baseUrl: string
  /** The bytes of its last answer. */
  readonly said: () => Buffer
}

export async function startServer(flavour: Flavour, random: Random): Promise<OpenAiServer> {
  const upstream = await startUpstream()
  let last = Buffer.alloc(0)
  const running = new Map<string, () => void>()
  upstream.respond(async (request, response, body) => {
    const { status, type, text } = answerOf(flavour, request, body)
    let rest = Buffer.from(text)
    last = rest
    response.writeHead(status, {
      'content-type': type,
      'x-ratelimit-remaining-requests': '41',
      'openai-organization': 'org-of-the-operator',
      'openai-processing-ms': '12',
    })
    const cancelled = /\/responses\/(\w+)\/cancel/.exec(request.url ?? '')?.[1] ?? ''
    running.get(cancelled)?.()
    if (body.includes('"background":true') && type === 'text/event-stream') {
      const begun = text.indexOf('\n\n') + 2
      response.write(text.slice(0, begun))
      const id = /resp_\w+/.exec(text)?.[0] ?? ''
      await new Promise<void>((resolve) => running.set(id, resolve))
      rest = rest.subarray(Buffer.byteLength(text.slice(0, begun)))
    }
    await write(response, rest.length > LARGE ? [rest] : piecesOf(rest, random))
  })
  return { upstream, baseUrl: upstream.url + PATHS[flavour], said: () => last }
}

async function write(response: ServerResponse, pieces: readonly Uint8Array[]): Promise<void> {
  for (const piece of pieces) {
    if (piece.length > 0) response.write(piece)
    if (piece.length < 3) await new Promise(setImmediate)
  }
  response.end()
}

interface Said {
  readonly status: number
  readonly type: string
  readonly text: string
}

const JSON_TYPE = 'application/json'
const json = (value: object, status = 200): Said => ({
  status,
  type: JSON_TYPE,
  text: JSON.stringify(value, null, 1),
})

function answerOf(
  flavour: Flavour,
  { url = '', headers, method }: IncomingMessage,
  body: Buffer,
): Said {
  if (!isKeyed(flavour, headers)) {
    return json({ error: { message: 'Incorrect API key', code: 'invalid_api_key' } }, 401)
  }
  const path = url.split('?')[0]?.slice(PATHS[flavour].length) ?? ''
  const [, kept, more] = /^\/responses\/(resp_\w+)(\/\w+)?$/.exec(path) ?? []
  const [, askedFor] = /^\/chat\/completions\/([\w-]+)(?:\/messages)?$/.exec(path) ?? []
  if (askedFor !== undefined) return json({ id: askedFor, object: 'chat.completion', data: [] })
  if (kept !== undefined) {
    if (method === 'DELETE') return json({ id: kept, object: 'response', deleted: true })
    return json(
      more === '/input_items'
        ? { object: 'list', data: [{ id: kept.replace('resp_', 'msg_i') }], first_id: 'x' }
        : response(flavour, more === '/cancel' ? 'cancelled' : 'completed', true, kept),
    )
  }
  const stored = conversationOf(method, path)
  if (stored) return json(stored)
  if (method === 'GET') {
    return json({ object: 'list', data: [{ id: MODELS[flavour], object: 'model' }] })
  }
  const plain = headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body
  const asked = headers['content-type']?.startsWith(JSON_TYPE)
    ? (JSON.parse(plain.toString()) as Record<string, unknown>)
    : {}
  switch (path) {
    case '/chat/completions':
      return asked['stream'] ? chatStream(flavour, asked) : chat(flavour)
    case '/responses':
      return asked['stream'] ? responseStream(flavour) : json(response(flavour, 'completed'))
    case '/responses/compact':
      return json({
        id: 'resp_compacted1',
        object: 'response.compaction',
        output: [{ id: 'cmp_12345678', type: 'compaction', encrypted_content: 'gAAAA' }],
        usage: response(flavour, 'completed').usage,
      })
    case '/responses/input_tokens':
      return json({ object: 'response.input_tokens', input_tokens: 9 })
    case '/embeddings':
      return json({
        object: 'list',
        data: [{ object: 'embedding', index: 0, embedding: [0.1, 0.2] }],
        model: ANSWERED[flavour],
        usage: { prompt_tokens: 9, total_tokens: 9 },
      })
    case '/moderations':
      return json({ id: 'modr-1', model: 'omni-moderation-latest', results: [{ flagged: false }] })
    case '/images/generations':
      return json({
        created: 1,
        data: [{ b64_json: 'A'.repeat(3_000_000) }],
        usage: {
          input_tokens: 20,
          input_tokens_details: { text_tokens: 20, image_tokens: 0 },
          output_tokens: 1056,
          total_tokens: 1076,
        },
      })
    default:
      return json({ error: { message: 'Not Found' } }, 404)
  }
}

function isKeyed(flavour: Flavour, headers: IncomingMessage['headers']): boolean {
  if (flavour === 'azure') return headers['api-key'] === KEYS.azure
  if (flavour === 'openrouter') return headers.authorization === `Bearer ${KEYS.openrouter}`
  return headers.authorization === undefined && headers['api-key'] === undefined
}

const usageOf = (flavour: Flavour) => ({
  prompt_tokens: 100,
  completion_tokens: 20,
  total_tokens: 120,
  prompt_tokens_details: flavour === 'vllm' ? null : { cached_tokens: 60, audio_tokens: 0 },
  ...(flavour !== 'vllm' && { completion_tokens_details: { reasoning_tokens: 8 } }),
  ...(flavour === 'openrouter' && { cost: 0.0003, is_byok: false }),
})

let chats = 0
const chatId = (): string => `chatcmpl-${String((chats += 1)).padStart(8, '0')}`

function chat(flavour: Flavour): Said {
  const filtered = flavour === 'azure' ? { prompt_filter_results: [{ prompt_index: 0 }] } : {}
  return json({
    id: chatId(),
    object: 'chat.completion',
    created: 1,
    model: ANSWERED[flavour],
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: WORDS.join('') },
        finish_reason: 'stop',
        ...(flavour === 'azure' && { content_filter_results: {} }),
      },
    ],
    usage: usageOf(flavour),
    ...filtered,
  })
}

function chatStream(flavour: Flavour, asked: Readonly<Record<string, unknown>>): Said {
  const options = asked['stream_options'] as { include_usage?: boolean } | undefined
  const shape = {
    id: chatId(),
    object: 'chat.completion.chunk',
    created: 1,
    model: ANSWERED[flavour],
  }
  const data = (value: object): string => `data: ${JSON.stringify(value)}\n\n`
  const chunk = (delta: object, more: object = {}): string =>
    data({ ...shape, choices: [{ index: 0, delta, finish_reason: null }], ...more })
  const nothing = options?.include_usage ? { usage: null } : {}
  const parts = WORDS.map((content) => chunk({ content }, flavour === 'vllm' ? {} : nothing))
  const isTold = options?.include_usage === true || flavour === 'openrouter'
  const told = isTold ? data({ ...shape, choices: [], usage: usageOf(flavour) }) : ''
  const between = flavour === 'openrouter' ? ': OPENROUTER PROCESSING\n\n' : ''
  const before =
    flavour === 'azure'
      ? data({ ...shape, id: '', model: '', choices: [], prompt_filter_results: [] })
      : ''
  const text = `${before}${between}${parts.join(between)}${told}data: [DONE]\n\n`
  return { status: 200, type: 'text/event-stream; charset=utf-8', text }
}

let conversations = 0
function conversationOf(method = '', path: string): object | undefined {
  const [, begun = '', items, item] =
    /^\/conversations(?:\/(\w+)(\/items(?:\/(\w+))?)?)?$/.exec(path) ?? []
  if (!path.startsWith('/conversations')) return undefined
  if (begun === '') {
    if (method !== 'POST') return undefined
    conversations += 1
    return { id: `conv_${String(conversations).padStart(32, '0')}`, object: 'conversation' }
  }
  const page = { object: 'list', data: [{ id: begun.replace('conv_', 'msg_c') }], first_id: 'x' }
  if (items !== undefined && item === undefined) return page
  if (item !== undefined && method === 'GET') return { id: item, type: 'message' }
  return { id: begun, object: 'conversation', deleted: method === 'DELETE' }
}

let responses = 0
const response = (
  flavour: Flavour,
  status: string,
  usage = true,
  id = `resp_${String((responses += 1)).padStart(32, '0')}`,
) => ({
  id,
  object: 'response',
  created_at: 1,
  model: ANSWERED[flavour],
  status,
  output: [
    { id: id.replace('resp', 'rs'), type: 'reasoning', summary: [] },
    { id: id.replace('resp', 'msg'), type: 'message', role: 'assistant', content: [] },
  ],
  error: null,
  usage: usage
    ? {
        input_tokens: 100,
        input_tokens_details: { cached_tokens: 60, cache_write_tokens: 0 },
        output_tokens: 20,
        output_tokens_details: { reasoning_tokens: 8 },
        total_tokens: 120,
      }
    : null,
})

function responseStream(flavour: Flavour): Said {
  const event = (type: string, more: object): string =>
    `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`
  const { id } = response(flavour, '')
  const text = [
    event('response.created', { response: response(flavour, 'in_progress', false, id) }),
    ...WORDS.map((delta) => event('response.output_text.delta', { item_id: 'msg_1', delta })),
    event('response.completed', { response: response(flavour, 'completed', true, id) }),
  ].join('')
  return { status: 200, type: 'text/event-stream', text }
}
