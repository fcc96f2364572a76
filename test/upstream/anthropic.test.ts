// The port of kind `anthropic` by itself: where requests go and what goes out with them, at Anthropic and
// at other servers of its dialect.

import { describe, expect, test } from 'bun:test'
import { ANTHROPIC_GROUPS } from '../../src/names.ts'
import { Secret } from '../../src/secret.ts'
import { anthropic, type AnthropicOptions } from '../../src/upstream/anthropic/anthropic.ts'
import { echoOf } from '../../src/upstream/echo.ts'

const KEY = 'sk-ant-canary-0123456789'
const made = (more: Partial<AnthropicOptions> = {}) =>
  anthropic({
    baseUrl: new URL('https://api.anthropic.com'),
    apiKey: new Secret(KEY),
    keyHeader: 'x-api-key',
    headers: [],
    routes: ANTHROPIC_GROUPS,
    hasFiles: true,
    maxBodyBytes: 100,
    ...more,
  })

test.each([
  ['https://api.anthropic.com', '/v1/messages', '?beta=true', '/v1/messages?beta=true'],
  ['https://router.example/api', '/v1/messages', '', '/api/v1/messages'],
  ['https://x.example/anthropic?v=1', '/v1/messages', '', '/anthropic/v1/messages?v=1'],
  ['https://x.example/a?v=1', '/v1/models', '?v=2&limit=3', '/a/v1/models?v=1&limit=3'],
])('under %s, %s%s is asked as %s', (base, path, search, expected) => {
  const to = made({ baseUrl: new URL(base) }).destination(
    { method: 'GET', path, search, sealed: false },
    0,
  )
  if (to instanceof Promise || !to.ok) throw new Error('no place')
  expect(to.value.opening.split(' ')[0]).toBe(expected)
})

describe('the request', () => {
  const client = new Headers({
    authorization: 'Bearer of-the-caller',
    'api-key': 'of-the-caller',
    'x-api-key': 'of-the-caller',
    'anthropic-beta': 'a,b',
    'content-type': 'application/json',
  })
  const kept = {
    'content-type': 'application/json',
    'anthropic-beta': 'a,b',
    'anthropic-version': '2023-06-01',
  }
  test.each([
    ['x-api-key', { 'x-api-key': KEY }],
    ['api-key', { 'api-key': KEY }],
    ['authorization', { authorization: `Bearer ${KEY}` }],
  ] as const)('the key as %s, and no credential of the caller', (keyHeader, header) => {
    const sent = made({ keyHeader }).requestHeaders(client)
    expect(sent).toEqual({ ...kept, ...header })
    const echo = echoOf(sent)
    expect(echo.inBytes(Buffer.from(`{"you sent":"${KEY}"}`))).toBe(true)
  })
  test('no credential at all to a server that asks for none', () => {
    const local = made({ keyHeader: 'none', apiKey: undefined })
    expect(local.requestHeaders(client)).toEqual(kept)
    expect(local.checks).toEqual([{ path: '/v1/models', withKey: false }])
  })
  test('fixed headers in the place of the caller’s', () => {
    const headers = [
      ['anthropic-beta', 'fixed'],
      ['x-title', 'gate'],
    ] as const
    expect(made({ headers }).requestHeaders(client)).toEqual({
      ...kept,
      'anthropic-beta': 'fixed',
      'x-title': 'gate',
      'x-api-key': KEY,
    })
  })
})
