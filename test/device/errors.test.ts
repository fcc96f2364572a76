// Anthropic's own error shape, for every refusal of ours on its routes; and what the upstream itself
// says of errors, to a byte, because Claude Code matches its wording. But never what it says of our
// key (attack 17), and nothing of where a redirect points to (attack 16).

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import {
  ANTHROPIC_KEY,
  anthropicScene,
  asked,
  type DeviceScene,
  messages,
  refusalOf,
  VERSION,
} from '../support/anthropic.ts'
import { exchange, head } from '../support/wire.ts'

let on: DeviceScene
let token: string
beforeAll(async () => {
  on = await anthropicScene({ env: { MAX_PAYLOAD_SIZE: '100000', CIRCUIT_FAILURES: '1000' } })
  token = await on.device()
})
afterAll(() => on.close())
beforeEach(() => {
  on.upstream.seen.length = 0
})

describe('an error of the upstream passes byte for byte', () => {
  test.each([
    [400, 'invalid_request_error'],
    [402, 'billing_error'],
    [404, 'not_found_error'],
    [413, 'request_too_large'],
    [429, 'rate_limit_error'],
    [500, 'api_error'],
    [504, 'timeout_error'],
    [529, 'overloaded_error'],
  ])('%i %s', async (status, type) => {
    const body = `{"type":"error", "error":{"type":"${type}","message":"as it \\u0069s: é"},"request_id":"req_1"}\n`
    on.upstream.respond((_request, response) => {
      const headers = { 'retry-after': '17', 'x-should-retry': 'false', 'request-id': 'req_1' }
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)
    })
    const response = await messages(on.gate, token)
    expect(response.status).toBe(status)
    expect(response.headers.get('retry-after')).toBe('17')
    expect(response.headers.get('x-should-retry')).toBe('false')
    expect(response.headers.get('request-id')).toBe('req_1')
    expect(await response.text()).toBe(body)
  })

  test('one that comes inside of a stream, and the pings before it', async () => {
    const events =
      ': a comment\n\nevent: message_start\ndata: {"type":"message_start","message":{}}\n\n' +
      'event: ping\ndata: {"type": "ping"}\n\nevent: ping\r\ndata: {"type":"ping"}\r\n\r\n' +
      'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    on.upstream.respond(async (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const line of events.split(/(?<=\n)/)) {
        response.write(line)
        await Bun.sleep(1)
      }
      response.end()
    })
    const response = await messages(on.gate, token, JSON.stringify({ ...asked, stream: true }))
    expect(await response.text()).toBe(events)
  })

  test('a ping is passed on when it comes, not when there is more', async () => {
    const { promise: more, resolve } = Promise.withResolvers<void>()
    on.upstream.respond(async (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('event: ping\ndata: {"type": "ping"}\n\n')
      await more
      response.end('event: message_stop\ndata: {"type":"message_stop"}\n\n')
    })
    const response = await messages(on.gate, token)
    const reader = response.body?.getReader()
    const first = await reader?.read()
    expect(new TextDecoder().decode(first?.value)).toBe('event: ping\ndata: {"type": "ping"}\n\n')
    resolve()
    const second = await reader?.read()
    expect(new TextDecoder().decode(second?.value)).toContain('message_stop')
  })
})

describe('a message about our own key is not passed on', () => {
  test.each([401, 403])('%i is 502, without a word of the upstream', async (status) => {
    on.upstream.respond((_request, response) => {
      response.writeHead(status, { 'x-echo': ANTHROPIC_KEY, 'request-id': ANTHROPIC_KEY })
      response.end(`{"error":"invalid x-api-key ${ANTHROPIC_KEY}"}`)
    })
    const response = await messages(on.gate, token)
    expect(JSON.stringify([...response.headers])).not.toContain(ANTHROPIC_KEY)
    expect(await refusalOf(response)).toBe('502 api_error')
    expect(on.gate.output()).not.toContain(ANTHROPIC_KEY)
  })

  test('a redirect is 502 and not followed', async () => {
    on.upstream.respond((_request, response) => {
      response.writeHead(307, { location: `${on.upstream.url}/elsewhere` }).end()
    })
    const response = await messages(on.gate, token)
    expect(response.headers.has('location')).toBe(false)
    expect(await refusalOf(response)).toBe('502 api_error')
    expect(on.upstream.seen).toHaveLength(1)
  })
})

describe("a refusal of ours has Anthropic's shape", () => {
  const post = (path: string, headers: object = {}, body = '{}'): Promise<Response> =>
    fetch(on.gate.url + path, { method: 'POST', headers: { ...headers }, body })
  const get = (path: string, headers: object = {}): Promise<Response> =>
    fetch(on.gate.url + path, { headers: { ...headers } })
  const key = (): object => ({ 'x-api-key': token })

  test.each<[string, () => Promise<Response>, string]>([
    ['no credential', () => post('/v1/messages'), '401 authentication_error'],
    [
      'a wrong one',
      () => post('/v1/complete', { 'x-api-key': 'a.b.c' }),
      '401 authentication_error',
    ],
    ['none for counting', () => post('/v1/messages/count_tokens'), '401 authentication_error'],
    ['none for the models', () => get('/v1/models'), '401 authentication_error'],
    ['none for a model', () => get('/v1/models/claude-x'), '401 authentication_error'],
    [
      'two credentials',
      () => post('/v1/messages', { ...key(), authorization: 'Bearer x' }),
      '400 invalid_request_error',
    ],
    ['too much', () => post('/v1/messages', key(), 'x'.repeat(100_001)), '413 request_too_large'],
    ['another method', () => get('/v1/messages', key()), '405 invalid_request_error'],
    ['another on a model', () => post('/v1/models/claude-x', key()), '405 invalid_request_error'],
    ['another on the warm-up', () => get('/api/hello'), '405 invalid_request_error'],
    ['no such route', () => post('/v1/nothing', { ...VERSION, ...key() }), '404 not_found_error'],
    [
      'a URL too long',
      () => post(`/v1/messages?${'x'.repeat(9000)}`, key()),
      '414 invalid_request_error',
    ],
    [
      'enrolment without a code',
      () => post('/bootstrap', {}, '{"device_id":"x"}'),
      '403 permission_error',
    ],
    ['enrolment without an id', () => post('/bootstrap', {}), '400 invalid_request_error'],
    [
      'enrolment of too much',
      () => post('/bootstrap', {}, 'x'.repeat(5000)),
      '413 request_too_large',
    ],
    ['a refresh of nothing', () => post('/refresh'), '401 authentication_error'],
    ['usage of nobody', () => get('/admin/usage'), '401 authentication_error'],
    [
      "what is the operator's, where there is none",
      () => get('/admin/devices', key()),
      '404 not_found_error',
    ],
  ])('%s', async (_name, ask, expected) => {
    const response = await ask()
    expect(response.headers.get('content-type')).toBe('application/json')
    expect(response.headers.get('cache-control')).toBe('no-store')
    expect(await refusalOf(response)).toBe(expected)
    expect(on.upstream.seen).toEqual([])
  })

  test("a chunked body that grows too long, and a client's own request id", async () => {
    const body = `${(100_001).toString(16)}\r\n${'x'.repeat(100_001)}\r\n0\r\n\r\n`
    const [answer] = await exchange(
      on.gate.port,
      head(
        'POST /v1/messages HTTP/1.1',
        'Host: gate.test',
        'Transfer-Encoding: chunked',
        'x-request-id: mine-1',
        `x-api-key: ${token}`,
      ) + body,
    )
    expect(answer?.status).toBe(413)
    const said = JSON.parse(answer?.body ?? '') as object
    expect(said).toMatchObject({ error: { type: 'request_too_large' }, request_id: 'mine-1' })
  })

  test('an upstream that is gone, or ends before its first byte', async () => {
    on.upstream.respond((_request, response) => void response.destroy())
    expect(await refusalOf(await messages(on.gate, token))).toBe('502 api_error')
    on.upstream.respond((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '10' })
      response.flushHeaders()
      setTimeout(() => response.destroy(), 5)
    })
    expect(await refusalOf(await messages(on.gate, token))).toBe('502 api_error')
  })

  test('an upstream that says nothing', async () => {
    const slow = await anthropicScene({ env: { HEADERS_TIMEOUT_SECONDS: '1' } })
    try {
      slow.upstream.respond(() => {})
      const response = await messages(slow.gate, await slow.device())
      expect(await refusalOf(response)).toBe('504 timeout_error')
    } finally {
      await slow.close()
    }
  })
})
