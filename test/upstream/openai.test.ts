// The port of kind `openai` by itself: where requests go, what goes out with them, and what comes back.

import { describe, expect, test } from 'bun:test'
import { OPENAI_GROUPS } from '../../src/names.ts'
import { Secret } from '../../src/secret.ts'
import { echoOf } from '../../src/upstream/echo.ts'
import { openAi, type OpenAiOptions } from '../../src/upstream/openai/openai.ts'

const KEY = 'sk-canary-0123456789abcdef'
const made = (more: Partial<OpenAiOptions> = {}) =>
  openAi({
    baseUrl: new URL('https://api.example/v1'),
    apiKey: new Secret(KEY),
    keyHeader: 'authorization',
    headers: [],
    routes: OPENAI_GROUPS,
    hasFiles: true,
    maxBodyBytes: 100,
    ...more,
  })

function target(base: string, path: string, search = ''): string {
  const to = made({ baseUrl: new URL(base) }).destination(
    { method: 'GET', path, search, sealed: false },
    0,
  )
  if (to instanceof Promise || !to.ok) throw new Error('no place')
  return to.value.opening.split(' ')[0] ?? ''
}

test.each([
  ['https://api.openai.com/v1', '/v1/chat/completions', '', '/v1/chat/completions'],
  ['https://api.openai.com/v1/', '/v1/chat/completions', '', '/v1/chat/completions'],
  ['https://x.openai.azure.com/openai/v1', '/v1/responses', '', '/openai/v1/responses'],
  ['https://openrouter.ai/api/v1', '/v1/models', '?a=b', '/api/v1/models?a=b'],
  ['https://api.perplexity.ai', '/v1/chat/completions', '', '/chat/completions'],
  ['https://g.example/v1beta/openai', '/v1/embeddings', '', '/v1beta/openai/embeddings'],
  [
    'https://x.example/d/gpt?api-version=1',
    '/v1/embeddings',
    '',
    '/d/gpt/embeddings?api-version=1',
  ],
  ['https://x.example/d?v=1', '/v1/models', '?limit=2', '/d/models?v=1&limit=2'],
  ['https://x.example/d?v=1', '/v1/models', '?v=2', '/d/models?v=1'],
  ['https://x.example/d?v=1', '/v1/models', '?a=%20b&%76=2&&v&c', '/d/models?v=1&a=%20b&c'],
])('under %s, %s%s is asked as %s', (base, path, search, expected) => {
  expect(target(base, path, search)).toBe(expected)
})

describe('the request', () => {
  const client = new Headers({
    authorization: 'Bearer of-the-caller',
    'api-key': 'of-the-caller',
    'x-api-key': 'of-the-caller',
    cookie: 'c=1',
    'openai-organization': 'org-of-the-caller',
    'x-forwarded-for': '10.0.0.1',
    'content-type': 'application/json',
    'content-encoding': 'gzip',
    accept: 'text/event-stream',
    'openai-beta': 'responses=v1',
  })
  const kept = {
    'content-type': 'application/json',
    'content-encoding': 'gzip',
    accept: 'text/event-stream',
    'openai-beta': 'responses=v1',
  }

  test("has the gate’s key in the server's one header, and the caller’s headers without credentials", () => {
    expect(made().requestHeaders(client)).toEqual({ ...kept, authorization: `Bearer ${KEY}` })
    expect(made({ keyHeader: 'api-key' }).requestHeaders(client)).toEqual({
      ...kept,
      'api-key': KEY,
    })
    expect(made({ apiKey: undefined }).requestHeaders(client)).toEqual(kept)
  })

  test('fixed headers in the place of the caller’s, and never of the key', () => {
    const headers = [
      ['openai-beta', 'fixed'],
      ['x-title', 'gate'],
    ] as const
    expect(made({ headers }).requestHeaders(client)).toEqual({
      ...kept,
      'openai-beta': 'fixed',
      'x-title': 'gate',
      authorization: `Bearer ${KEY}`,
    })
  })

  test('attack: an answer that quotes the key is found in either header', () => {
    for (const keyHeader of ['authorization', 'api-key'] as const) {
      const echo = echoOf(made({ keyHeader }).requestHeaders(client))
      expect(echo.inBytes(Buffer.from(`{"you sent":"${KEY}"}`))).toBe(true)
      expect(echo.inValue(`key=${KEY}`)).toBe(true)
      expect(echo.inBytes(Buffer.from('{"choices":[]}'))).toBe(false)
    }
  })
})

test('headers about the operator’s account are not passed on', () => {
  const to = new Headers()
  made().answerHeaders(
    {
      'content-type': 'application/json',
      'set-cookie': '__cf_bm=1',
      'openai-organization': 'org-1',
      'openai-project': 'proj-1',
      'x-ratelimit-remaining-tokens': '7',
      'x-request-id': 'req_1',
      'retry-after': '3',
      'x-should-retry': 'false',
    },
    to,
  )
  expect(to.toJSON()).toEqual({
    'content-type': 'application/json',
    'retry-after': '3',
    'x-should-retry': 'false',
  })
})

test('only the groups that are named are served, in OpenAI’s dialect alone', () => {
  const chat = { dialect: 'openai', method: 'POST', path: '/v1/chat/completions' } as const
  const speech = { dialect: 'openai', method: 'POST', path: '/v1/audio/speech' } as const
  const { serves } = made({ routes: ['chat'] })
  expect([serves(chat), serves(speech)]).toEqual([true, false])
  expect(made().serves(speech)).toBe(true)
  expect(made().serves({ ...chat, dialect: 'anthropic' })).toBe(false)
  expect(made({ routes: ['messages', 'files'] }).serves(chat)).toBe(false)
})

test('usage: unknown for failures, zero for free routes, and never guessed', () => {
  const usage = (method: string, path: string, status: number, type = 'application/json') => {
    const meter = made().meter({ method, path, search: '', sealed: false }, status, {
      'content-type': type,
    })
    meter.push?.(Buffer.from('{"usage":{"prompt_tokens":3,"completion_tokens":4}}'), 0)
    const found = meter.end({}, true)
    return found && [found.state, found.inputTokens, found.outputTokens]
  }
  expect(usage('POST', '/v1/chat/completions', 200)).toEqual(['exact', 3, 4])
  expect(usage('POST', '/v1/chat/completions', 429)).toBeUndefined()
  expect(usage('POST', '/v1/audio/speech', 200, 'audio/mpeg')).toBeUndefined()
  for (const [method, path] of [
    ['GET', '/v1/models'],
    ['POST', '/v1/moderations'],
    ['GET', '/v1/responses/resp_1'],
    ['POST', '/v1/responses/resp_1/cancel'],
    ['DELETE', '/v1/responses/resp_1'],
  ] as const) {
    expect([path, usage(method, path, 200)]).toEqual([path, ['exact', 0, 0]])
  }
})

test('a 401, and a 403 about the key, are the operator’s; one about the request is the caller’s', () => {
  const code = (status: number, body: string) => made().credentialRefused(status, body)?.code
  expect(code(401, '')).toBe('upstream_auth')
  expect(code(403, '{"error":{"code":"invalid_api_key"}}')).toBe('upstream_auth')
  expect(code(403, '{"error":{"code":"model_not_found","message":"no"}}')).toBeUndefined()
  expect(code(500, '')).toBeUndefined()
})
