// The stand-in for Anthropic's API in development mode without a key, so that its SDK and Claude Code
// work through the gate without an account.
//
// It runs no model, stores nothing and listens on 127.0.0.1 only. Its rate limits are numbers in headers
// and never apply; its models are names.

import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'

import { complete, countMessagesTokens, messages } from './anthropic/messages.ts'
import { errorAnswer, type Refuse } from './anthropic/errors.ts'
import { listModels, oneModel } from './anthropic/models.ts'
import type { DevAnswer } from './answer.ts'
import { keyMatcher, listenOnLoopback, readBody } from './loopback.ts'
import { transmit, type TokenPace } from './transmit.ts'

/** The limit of Anthropic's API. */
const MAX_BODY_BYTES = 32 * 1024 * 1024

export interface DevAnthropicOptions {
  readonly apiKey: string
  readonly pace?: TokenPace
}

export interface Anthropic {
  /** Its origin, without a slash at the end. */
  readonly url: string
  /** How many responses are being generated. */
  generating(): number
  /** Closes every connection, even in the middle of a stream. */
  close(): Promise<void>
}

interface DevAnthropicRoute {
  readonly method: 'GET' | 'POST'
  readonly answer: (body: Buffer, url: URL, refuse: Refuse) => DevAnswer
}

const ROUTES: ReadonlyMap<string, DevAnthropicRoute> = new Map<string, DevAnthropicRoute>([
  ['/v1/messages', { method: 'POST', answer: (body, _, refuse) => messages(body, refuse) }],
  [
    '/v1/messages/count_tokens',
    { method: 'POST', answer: (body, _, refuse) => countMessagesTokens(body, refuse) },
  ],
  ['/v1/complete', { method: 'POST', answer: (body, _, refuse) => complete(body, refuse) }],
  [
    '/v1/models',
    { method: 'GET', answer: (_, url, refuse) => listModels(url.searchParams, refuse) },
  ],
])

const MODEL_PATH = '/v1/models/'
const MODEL_ROUTE: DevAnthropicRoute = {
  method: 'GET',
  answer: (_, url, refuse) => oneModel(url.pathname.slice(MODEL_PATH.length), refuse),
}

/** The account's limits for a minute. Every response has the same numbers: nothing is counted. */
const RATE_LIMITS = {
  requests: 4000,
  tokens: 480_000,
  'input-tokens': 400_000,
  'output-tokens': 80_000,
} as const

export async function startAnthropic({
  apiKey,
  pace = { firstTokenMs: 250, tokenMs: 25 },
}: DevAnthropicOptions): Promise<Anthropic> {
  const isKey = keyMatcher(apiKey)
  let generating = 0

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const leaving = new AbortController()
    response.once('close', () => leaving.abort())
    const to = { pace, wantsUsage: false, left: leaving.signal, opened: undefined }
    const requestId = `req_dev_${randomUUID().replaceAll('-', '')}`
    const refuse: Refuse = (type, message) => errorAnswer(type, message, requestId)
    response.setHeader('Request-Id', requestId)

    const chunks = await readBody(request, MAX_BODY_BYTES)
    if (chunks === undefined) {
      // The rest of the body may still arrive, so the connection cannot be reused.
      response.setHeader('Connection', 'close')
      const tooLarge = refuse('request_too_large', 'Request exceeds the maximum size of 32 MB')
      await transmit(response, tooLarge, to)
      return
    }
    generating += 1
    try {
      const answer = decide(request, Buffer.concat(chunks), isKey, refuse)
      // Like Anthropic, only in responses to a valid key.
      if (answer.kind === 'stream' || answer.status !== 401) setRateLimits(response)
      await transmit(response, answer, to)
    } finally {
      generating -= 1
    }
  }

  const { url, close } = await listenOnLoopback(serve)
  return { url, close, generating: () => generating }
}

function decide(
  request: IncomingMessage,
  body: Buffer,
  isKey: (given: string) => boolean,
  refuse: Refuse,
): DevAnswer {
  const { method, headers } = request
  const target = `http://anthropic.invalid${request.url ?? '/'}`
  if (!URL.canParse(target)) return refuse('invalid_request_error', 'The path is malformed')
  const url = new URL(target)
  // Since version 1 the SDK sends the same key as a bearer token.
  const bearer = /^bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
  const key = headers['x-api-key'] ?? bearer
  if (key === undefined) return refuse('authentication_error', 'x-api-key header is required')
  if (!isKey(String(key))) return refuse('authentication_error', 'invalid x-api-key')
  if (!/^\d{4}-\d{2}-\d{2}$/.test(String(headers['anthropic-version'] ?? ''))) {
    return refuse('invalid_request_error', 'anthropic-version: header is required')
  }
  const oneModelAsked = url.pathname.startsWith(MODEL_PATH) && url.pathname !== MODEL_PATH
  const route = oneModelAsked ? MODEL_ROUTE : ROUTES.get(url.pathname)
  if (route === undefined) return refuse('not_found_error', 'Not Found')
  if (method !== route.method) {
    const refusal = refuse('invalid_request_error', 'Method Not Allowed')
    return { ...refusal, status: 405, allow: route.method }
  }
  try {
    return route.answer(body, url, refuse)
  } catch {
    return refuse('api_error', 'Internal server error')
  }
}

function setRateLimits(response: ServerResponse): void {
  const reset = `${new Date(Date.now() + 60_000).toISOString().slice(0, 19)}Z`
  for (const [name, limit] of Object.entries(RATE_LIMITS)) {
    response.setHeader(`Anthropic-Ratelimit-${name}-Limit`, String(limit))
    response.setHeader(`Anthropic-Ratelimit-${name}-Remaining`, String(limit - 1))
    response.setHeader(`Anthropic-Ratelimit-${name}-Reset`, reset)
  }
}
