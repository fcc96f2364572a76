// What is said of a path that is no route: in whose dialect, and which route was probably meant.

import { describe, expect, test } from 'bun:test'
import { arrive, routed } from '../../src/accept/arrival.ts'
import { routeFinder } from '../../src/accept/route-table.ts'
import { isPlain, strayed } from '../../src/accept/stray.ts'
import { EVERY_ROUTE, routesWith } from '../support/routes.ts'

const find = routeFinder(EVERY_ROUTE)

function told(
  path: string,
  headers: Readonly<Record<string, string>> = {},
  method = 'POST',
): { code?: string; message?: unknown; dialect: string } {
  const request = new Request(`http://gate.test${path}`, {
    method,
    headers: { host: 'gate.test', ...headers },
  })
  const arrival = arrive(request, null)
  const refusal = strayed(arrival, request, find)
  return {
    dialect: arrival.exchange.dialect,
    ...(refusal && { code: refusal.code, message: refusal.message }),
  }
}

const BASE = { openai: 'ends in /v1,', anthropic: 'ends before /v1,' }

describe('a client with a wrong base URL learns the intended route, and is not redirected', () => {
  test.each([
    ['/chat/completions', '/v1/chat/completions', 'openai'],
    ['//v1/chat/completions', '/v1/chat/completions', 'openai'],
    ['/v1//chat/completions', '/v1/chat/completions', 'openai'],
    ['/v1/v1/chat/completions', '/v1/chat/completions', 'openai'],
    ['/v1/chat/completions/', '/v1/chat/completions', 'openai'],
    ['/v1/chat/completions/chat/completions', '/v1/chat/completions', 'openai'],
    ['/V1/Chat/Completions', '/v1/chat/completions', 'openai'],
    ['/api/v1/chat/completions', '/v1/chat/completions', 'openai'],
    ['/openai/v1/chat/completions', '/v1/chat/completions', 'openai'],
    ['/openai/deployments/gpt/chat/completions', '/v1/chat/completions', 'openai'],
    ['/v1/openai/chat/completions', '/v1/chat/completions', 'openai'],
    ['/v2/embeddings', '/v1/embeddings', 'openai'],
    ['/responses', '/v1/responses', 'openai'],
    ['/messages', '/v1/messages', 'anthropic'],
    ['//v1/messages', '/v1/messages', 'anthropic'],
    ['/v1/v1/messages', '/v1/messages', 'anthropic'],
    ['/v1/messages/', '/v1/messages', 'anthropic'],
    ['/V1/messages', '/v1/messages', 'anthropic'],
    ['/anthropic/v1/messages/count_tokens', '/v1/messages/count_tokens', 'anthropic'],
  ] as const)('%p means %p', (path, meant, dialect) => {
    const { code, message, dialect: spoken } = told(path)
    expect({ code, spoken }).toEqual({ code: 'not_found', spoken: dialect })
    expect(message).toStartWith(`no such route; ${meant} is probably meant: the base URL of an `)
    expect(message).toContain(BASE[dialect])
  })
  test("if two dialects share the route, the caller's headers decide the base URL", () => {
    expect(told('/v1/v1/models', { 'x-api-key': 'x' }).message).toContain(BASE.anthropic)
    expect(told('/v1/v1/models', { 'user-agent': 'OpenAI/JS 6' }).message).toContain(BASE.openai)
    const one = told('/v1/v1/models/Claude-X', { 'x-api-key': 'x' }).message
    expect(one).toStartWith('no such route; /v1/models/:id is probably meant')
    expect(one).toContain(BASE.anthropic)
    expect(told('/models').message).toBe('no such route; /v1/models is probably meant')
  })
  test('so is any other route', () => {
    expect(told('/api/healthz', {}, 'GET').message).toBe(
      'no such route; /healthz is probably meant',
    )
  })
  test('of nothing near it nothing is said, and nothing that was sent is repeated', () => {
    for (const path of [
      '/nowhere',
      '/',
      '//',
      '/v1',
      '/v1/',
      '/v1/nothing',
      '/v1/organization/usage/completions',
      '/v1/organization/projects/proj_1/models',
      '/v1/threads/thread_1/messages',
      '/.env',
      '/x'.repeat(400),
    ]) {
      expect(told(path, {}, 'GET').message).toBeUndefined()
    }
    expect(told('/secret-canary/v1/v1/models/secret-canary', {}, 'GET').message).not.toContain(
      'canary',
    )
  })
  test('a route that this gate does not serve is not named', () => {
    const served = routeFinder(routesWith('tinfoil'))
    const request = new Request('http://gate.test/v1/v1/messages', {
      headers: { host: 'gate.test' },
    })
    expect(strayed(arrive(request, null), request, served)?.message).toBeUndefined()
  })
})

describe('a refusal without a route speaks its caller’s dialect', () => {
  test.each([
    [{ 'anthropic-version': '2023-06-01' }, 'anthropic'],
    [{ 'anthropic-beta': 'x' }, 'anthropic'],
    [{ 'x-api-key': 'x' }, 'anthropic'],
    [{ 'user-agent': 'Anthropic/JS 1.10.0', 'x-stainless-lang': 'js' }, 'anthropic'],
    [{ 'user-agent': 'AsyncAnthropic/Python 0.80' }, 'anthropic'],
    [{ 'user-agent': 'claude-cli/2.0.1 (external, cli)' }, 'anthropic'],
    [{ 'user-agent': 'OpenAI/JS 7.55.0', 'x-stainless-lang': 'js' }, 'openai'],
    [{ 'user-agent': 'AsyncOpenAI/Python 2.1' }, 'openai'],
    [{ 'openai-organization': 'x' }, 'openai'],
    [{}, 'openai'],
  ] as const)('%p: %s', (headers, dialect) =>
    expect(told('/nowhere', headers).dialect).toBe(dialect),
  )

  test('or that of its path', () => {
    expect(told('/v2/messages').dialect).toBe('anthropic')
    expect(told('/anthropic/v1/complete').dialect).toBe('anthropic')
    expect(told('/v2/chat/completions').dialect).toBe('openai')
  })
  test("a route's own dialect counts for every caller", () => {
    expect(told('/v1/messages', { 'user-agent': 'OpenAI/JS' }, 'PUT')).toMatchObject({
      code: 'method_not_allowed',
      dialect: 'anthropic',
    })
  })
})

test('an answer in Anthropic’s dialect has its request-id too', () => {
  const request = new Request('http://gate.test/v1/messages', {
    method: 'POST',
    headers: { host: 'gate.test', 'x-request-id': 'mine-1' },
  })
  const { exchange } = arrive(request, null)
  expect(exchange.headers.get('x-request-id')).toBe('mine-1')
  for (const [dialect, id] of [
    ['openai', null],
    ['anthropic', 'mine-1'],
  ] as const) {
    routed(exchange, '/v1/models', dialect)
    expect(exchange.headers.get('request-id')).toBe(id)
  }
})

describe('an invalid target', () => {
  test.each([
    '/v1/models#x',
    '/v1/models?a=b#x',
    '/nowhere#',
    '/caf%C3%A9',
    '/%c0%af',
    '/%EF%BF%BD',
    '/v1/models?a=%c0%af',
    '/v1/models?a=%EF%BF%BD',
    '/v1/models?a=%e0%80%af',
    '/v1/models?a=%f0%80%80%af',
    '/v1/models?a=%ed%a0%80',
    '/v1/models?a=%ff',
  ])('%p is 400', (path) => {
    // As Bun gives it: `new Request` would take the fragment for its own.
    const request = {
      url: `http://gate.test${path}`,
      method: 'GET',
      headers: new Headers({ host: 'gate.test' }),
    } as Request
    const arrival = arrive(request, null)
    expect(isPlain(arrival, 'GET')).toBe(false)
    expect(strayed(arrival, request, find)?.code).toBe('bad_request')
  })
  test.each([
    '/v1/models?a=caf%C3%A9',
    '/v1/models?a=%F0%9F%98%80',
    '/v1/models?a=%ed%9f%bf',
    '/v1/models?a=%23',
  ])('%p is not', (path) => expect(told(path, {}, 'GET').code).toBeUndefined())
})
