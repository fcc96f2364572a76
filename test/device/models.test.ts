// A token's list of models, held against what the upstream will read: names that are not on it are
// 404, bodies that two parsers could read differently are refused and not guessed at.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import {
  anthropicScene,
  asked,
  type DeviceScene,
  messages,
  refusalOf,
} from '../support/anthropic.ts'
import { exchange, head } from '../support/wire.ts'

let on: DeviceScene
let exact: string
let family: string
let star: string
beforeAll(async () => {
  on = await anthropicScene()
  ;[exact, family, star] = await Promise.all([
    on.device('--models', 'claude-sonnet-4-5-20250929'),
    on.device('--models', 'claude-haiku-*,claude-opus-4-6'),
    on.device('--models', '*'),
  ])
})
afterAll(() => on.close())
beforeEach(() => {
  on.upstream.seen.length = 0
})

const PATHS = ['/v1/messages', '/v1/messages/count_tokens', '/v1/complete']

async function tried(token: string, model: string, path = '/v1/messages'): Promise<number> {
  return (await messages(on.gate, token, JSON.stringify({ ...asked, model }), {}, path)).status
}

describe.each(PATHS)('on %s', (path) => {
  test('an exact name lets that one through and none that resembles it', async () => {
    expect(await tried(exact, 'claude-sonnet-4-5-20250929', path)).toBe(200)
    expect(on.upstream.seen).toHaveLength(1)
    const others = [
      'claude-sonnet-4-5',
      'claude-sonnet-4-5-20250929-x',
      'Claude-Sonnet-4-5-20250929',
      'claude-opus-4-6',
      '*',
    ]
    for (const model of others)
      expect([model, await tried(exact, model, path)]).toEqual([model, 404])
    expect(on.upstream.seen).toHaveLength(1)
  })

  test('a trailing * allows every model with the prefix, and exact names work too', async () => {
    for (const model of ['claude-haiku-4-5', 'claude-haiku-', 'claude-opus-4-6']) {
      expect([model, await tried(family, model, path)]).toEqual([model, 200])
    }
    for (const model of ['claude-haiku', 'xclaude-haiku-1', 'claude-opus-4-6-x']) {
      expect([model, await tried(family, model, path)]).toEqual([model, 404])
    }
    expect(on.upstream.seen).toHaveLength(3)
  })
})

test('* alone is every name', async () => {
  for (const model of ['claude-x', 'gpt-oss-120b', '*']) expect(await tried(star, model)).toBe(200)
})

test("a refusal is worded like the API's for an unknown model, and names the allowed ones", async () => {
  const response = await messages(on.gate, family, JSON.stringify({ ...asked, model: 'claude-x' }))
  const id = response.headers.get('x-request-id') ?? ''
  expect(response.status).toBe(404)
  expect(await response.json()).toEqual({
    type: 'error',
    error: {
      type: 'not_found_error',
      message: 'model: claude-x (this token may use claude-haiku-*, claude-opus-4-6)',
    },
    request_id: id,
  })
  expect(await on.gate.logged(id)).toMatchObject({
    status: 404,
    end: 'refused',
    code: 'model_not_allowed',
    model: 'claude-x',
  })
})

describe('a body that could be read in two ways is 400', () => {
  const good = '"model":"claude-haiku-1"'
  const bad = '"model":"claude-opus-9"'
  test.each([
    ['the member twice, the allowed one first', `{${good},${bad}}`],
    ['the member twice, the allowed one last', `{${bad},${good}}`],
    ['the same twice', `{${good},${good}}`],
    ['twice, one behind an escape', `{${good},"mod\\u0065l":"claude-opus-9"}`],
    ['twice, one behind an escape, first', `{"\\u006dodel":"claude-opus-9",${good}}`],
    ['in another case', `{${good},"Model":"claude-opus-9"}`],
    ['in capitals alone', '{"MODEL":"claude-haiku-1"}'],
    ['max_tokens twice', `{${good},"max_tokens":1,"max_tokens":100000}`],
    ['maxTokens beside it', `{${good},"max_tokens":1,"maxTokens":100000}`],
    ['any other member twice', `{${good},"messages":[],"messages":[]}`],
    ['a byte order mark', `\ufeff{${good}}`],
    ['a comment', `{/*${bad}*/${good}}`],
    ['single quotes', "{'model':'claude-haiku-1'}"],
    ['a trailing comma', `{${good},}`],
    ['a second value behind it', `{${good}}{${bad}}`],
    ['an array around it', `[{${good}}]`],
    ['no model', '{"max_tokens":1}'],
    ['a model that is not a string', '{"model":["claude-haiku-1"]}'],
    ['a model with a blank', '{"model":"claude-haiku-1 "}'],
    ['a model with a NUL', '{"model":"claude-haiku-1\\u0000"}'],
    ['a model with a letter that only looks like one', '{"model":"claude-haiku-\u0430"}'],
    ['max_tokens that some read as a number', `{${good},"max_tokens":"1"}`],
    ['max_tokens with a point', `{${good},"max_tokens":1.0e2}`],
    ['nothing', ''],
    ['too deep', `{${good},"x":${'['.repeat(600)}${']'.repeat(600)}}`],
    [
      'not UTF-8',
      Buffer.concat([Buffer.from(`{${good},"x":"`), Buffer.of(0xc0, 0xaf), Buffer.from('"}')]),
    ],
    ['UTF-16', Buffer.from(`{${good}}`, 'utf16le')],
  ])('%s', async (_name, body) => {
    for (const path of PATHS.slice(0, 2)) {
      const response = await messages(on.gate, family, body, {}, path)
      expect(await refusalOf(response)).toBe('400 invalid_request_error')
    }
    expect(on.upstream.seen).toEqual([])
  })

  test('escapes in its value are the characters they stand for', async () => {
    const body = '{"model":"claude-\\u0068aiku-1","max_tokens":1}'
    expect((await messages(on.gate, family, body)).status).toBe(200)
    expect(on.upstream.seen[0]?.body.toString()).toBe(body)
    const denied = '{"model":"claude-\\u006fpus-9","max_tokens":1}'
    expect((await messages(on.gate, family, denied)).status).toBe(404)
  })
})

describe('a body that contradicts its content type is 415', () => {
  test.each([
    ['a coding that nobody knows', { 'content-encoding': 'compress' }],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['multipart', { 'content-type': 'multipart/form-data; boundary=x' }],
    ['UTF-16', { 'content-type': 'application/json; charset=utf-16' }],
    ['UTF-7', { 'content-type': 'application/json; charset=utf-7' }],
  ])('%s', async (_name, headers) => {
    for (const token of [family, star]) {
      const response = await messages(on.gate, token, JSON.stringify(asked), headers)
      expect(await refusalOf(response)).toBe('415 invalid_request_error')
    }
    expect(on.upstream.seen).toEqual([])
  })
})

test('a chunked body is read like any other, and bounded', async () => {
  const send = async (model: string): Promise<number | undefined> => {
    const body = JSON.stringify({ ...asked, model })
    const chunks = [...body].map((each) => `1\r\n${each}\r\n`).join('')
    const [answer] = await exchange(
      on.gate.port,
      head(
        'POST /v1/messages HTTP/1.1',
        'Host: gate.test',
        'Transfer-Encoding: chunked',
        'Content-Type: application/json',
        `x-api-key: ${family}`,
      ) + `${chunks}0\r\n\r\n`,
    )
    return answer?.status
  }
  expect(await send('claude-haiku-1')).toBe(200)
  expect(await send('claude-sonnet-1')).toBe(404)
  expect(on.upstream.seen).toHaveLength(1)
})

test('DEVICE_MODELS applies only if the enrolment names no models', async () => {
  const other = await anthropicScene({ env: { DEVICE_MODELS: 'claude-haiku-*' } })
  try {
    const [silent, own] = [await other.device(), await other.device('--models', 'claude-opus-*')]
    const status = async (token: string, model: string): Promise<number> =>
      (await messages(other.gate, token, JSON.stringify({ ...asked, model }))).status
    expect(await status(silent, 'claude-haiku-1')).toBe(200)
    expect(await status(silent, 'claude-opus-1')).toBe(404)
    expect(await status(own, 'claude-opus-1')).toBe(200)
    expect(await status(own, 'claude-haiku-1')).toBe(404)
  } finally {
    await other.close()
  }
})
