// What system C's documents claim and its code does not do, one test for each.

import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import {
  ADMIN_TOKEN,
  anthropicScene,
  asked,
  type DeviceScene,
  messages,
  type Minted,
  refusalOf,
  SECRET,
} from '../support/anthropic.ts'
import { type Running, runToEnd, start } from '../support/binary.ts'
import { HASH_KEY } from '../support/settings.ts'
import { bearer, eventually } from '../support/sink.ts'

let on: DeviceScene
beforeAll(async () => {
  on = await anthropicScene({ env: { ADMIN_TOKEN } })
})
afterAll(() => on.close())
beforeEach(() => {
  on.upstream.seen.length = 0
  on.upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}')
  })
})

const claimsOf = (token: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as never

const own = async (token: string): Promise<Record<string, unknown>> => {
  const response = await fetch(`${on.gate.url}/admin/stats`, { headers: bearer(token) })
  return response.json() as never
}

test('"rate limiting registered global: false": it applies, with no route opting in', async () => {
  const token = await on.device('--rate-limit', '2')
  const statuses = [
    await messages(on.gate, token),
    await messages(on.gate, token, '{}', {}, '/v1/messages/count_tokens'),
    await messages(on.gate, token, '{}', {}, '/v1/complete'),
  ].map(({ status }) => status)
  expect(statuses).toEqual([200, 200, 429])
})

test('"rate_limit and spend_cap claims never enforced": both are', async () => {
  const fast = await on.device('--rate-limit', '1')
  expect((await messages(on.gate, fast)).status).toBe(200)
  const limited = await messages(on.gate, fast)
  expect(Number(limited.headers.get('retry-after'))).toBeWithin(1, 61)
  expect(await refusalOf(limited)).toBe('429 rate_limit_error')

  const poor = await on.device('--spend-cap', '0.000001')
  const refused = await messages(on.gate, poor)
  expect(refused.headers.get('x-should-retry')).toBe('false')
  // The request alone may cost more than the cap: waiting does not help.
  expect(refused.headers.has('retry-after')).toBe(false)
  expect(await refusalOf(refused)).toBe('429 billing_error')
  expect(on.upstream.seen).toHaveLength(1)
})

test('"/bootstrap unauthenticated": nobody mints tokens, and no request chooses its own rights', async () => {
  expect(await refusalOf(await on.bootstrap('device-12345678'))).toBe('403 permission_error')
  const response = await fetch(`${on.gate.url}/bootstrap`, {
    method: 'POST',
    body: JSON.stringify({
      device_id: 'device-12345678',
      enrollment_code: await on.code('--models', 'claude-haiku-*'),
      models: ['*'],
      rate_limit: 1_000_000,
      spend_cap: 1_000_000,
      org_id: 'victim',
      user_id: 'victim',
    }),
  })
  const { wrapper_token: token } = (await response.json()) as Minted
  const { models, rate_limit: rate, spend_cap: cap, org_id: org, user_id: user } = claimsOf(token)
  expect({ models, rate, cap, org, user }).toEqual({ models: ['claude-haiku-*'] } as never)
})

test('"any holder can reset the breaker": a device can neither see nor reset it', async () => {
  const token = await on.device()
  for (const method of ['GET', 'POST']) {
    const path = method === 'GET' ? '/admin/circuit-breaker' : '/admin/circuit-breaker/reset'
    const response = await fetch(on.gate.url + path, { method, headers: bearer(token) })
    expect(await refusalOf(response)).toBe('403 permission_error')
  }
})

test('"device_id shorter than 8 gives 500": one character enrols, none is 400', async () => {
  expect((await on.bootstrap('x', await on.code())).status).toBe(200)
  const code = await on.code()
  for (const id of ['', '   ', 'x'.repeat(201), 'é', 'a\u0000b', 7, null, ['x'], undefined]) {
    const response = await fetch(`${on.gate.url}/bootstrap`, {
      method: 'POST',
      body: JSON.stringify({ device_id: id, enrollment_code: code }),
    })
    expect([id, await refusalOf(response)]).toEqual([id, '400 invalid_request_error'])
  }
  // None of them used the code up.
  expect((await on.bootstrap('y', code)).status).toBe(200)
})

const EVENTS = [
  'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","model":"claude-sonnet-4-5-20250929","usage":{"input_tokens":321,"output_tokens":1,"cache_read_input_tokens":7,"cache_creation_input_tokens":5}}}\n\n',
  'event: ping\ndata: {"type": "ping"}\n\n',
  'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":123}}\n\n',
  'event: message_stop\ndata: {"type":"message_stop"}\n\n',
]

test('"streaming usage always 0": usage is read, and the content type is kept', async () => {
  on.upstream.respond(async (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
    for (const event of EVENTS) {
      response.write(event)
      await Bun.sleep(2)
    }
    response.end()
  })
  const token = await on.device()
  const body = JSON.stringify({ ...asked, stream: true })
  const response = await messages(on.gate, token, body)
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  expect(await response.text()).toBe(EVENTS.join(''))
  const stats = await eventually(async () => {
    const seen = await own(token)
    return seen['totalOutputTokens'] === 0 ? undefined : seen
  })
  expect(stats).toMatchObject({
    totalRequests: 1,
    totalInputTokens: 321,
    totalOutputTokens: 123,
    totalCacheReadTokens: 7,
    totalCacheCreationTokens: 5,
  })
})

test('"body re-serialised by JSON.stringify": it arrives byte for byte', async () => {
  const body =
    '{ "model":"claude-x",\r\n\t"temperature":1.0e0,"max_tokens" : 1, "a":"\\u0041\\/é","n":-0 }\n'
  for (const flags of [[], ['--models', 'claude-*']]) {
    on.upstream.seen.length = 0
    await messages(on.gate, await on.device(...flags), body)
    expect(on.upstream.seen[0]?.body.toString()).toBe(body)
  }
})

test('"allow-list skipped on /v1/*": every route that takes a model holds it', async () => {
  const token = await on.device('--models', 'claude-haiku-*')
  for (const path of ['/v1/messages', '/v1/messages/count_tokens', '/v1/complete']) {
    expect(await refusalOf(await messages(on.gate, token, undefined, {}, path))).toBe(
      '404 not_found_error',
    )
  }
  // And what is no route is none: there is no /v1/* behind which a model could be asked for.
  for (const path of ['/v1/batches', '/v1/messages/batches', '/v1/files', '/v1/anything']) {
    expect((await messages(on.gate, token, undefined, {}, path)).status).toBe(404)
  }
  expect(on.upstream.seen).toEqual([])
})

test('"query dropped on the 3 fixed paths": the query passes unchanged', async () => {
  const token = await on.device()
  const query = '?beta=true&x=%2F%20+&&y'
  const paths = ['/v1/messages', '/v1/messages/count_tokens', '/v1/complete']
  for (const path of paths) await messages(on.gate, token, '{}', {}, path + query)
  expect(on.upstream.seen.map(({ url }) => url)).toEqual(paths.map((path) => path + query))
})

test('"metrics array unbounded": a device sees its last requests by the page', async () => {
  const token = await on.device()
  for (let count = 0; count < 12; count += 1) await messages(on.gate, token)
  const page = async (query: string): Promise<{ metrics: object[]; next?: string }> =>
    (await fetch(`${on.gate.url}/admin/usage${query}`, { headers: bearer(token) })).json() as never
  await eventually(async () => (await own(token))['totalRequests'] === 12)
  const first = await page('?limit=10')
  expect(first.metrics).toHaveLength(10)
  const rest = await page(`?limit=10&before=${encodeURIComponent(first.next ?? '')}`)
  expect(rest.metrics).toHaveLength(2)
  expect((await page('?limit=1000000')).metrics).toHaveLength(12)
})

test('"token prefixes printed to console": no part of one is', async () => {
  const code = await on.code()
  const { wrapper_token: token } = (await (await on.bootstrap('printed', code)).json()) as Minted
  await messages(on.gate, token)
  await on.refresh(token)
  const output = on.gate.output()
  for (const part of [...token.split('.').slice(1), token.slice(0, 40), code, 'eyJ']) {
    expect(output).not.toContain(part)
  }
})

test('"trustProxy true": X-Forwarded-For of a stranger counts for nothing', async () => {
  const gate: Running = await start({
    ANTHROPIC_API_KEY: 'k-1234567890',
    ANTHROPIC_BASE_URL: on.upstream.url,
    JWT_SECRET: SECRET,
    IDENTITY_HASH_KEY: HASH_KEY,
    BOOTSTRAP: 'open',
    PROXY_BASE_URL: 'https://gate.example.test',
    DATABASE_URL: 'sqlite::memory:',
    PUBLIC_RATE_LIMIT_RPM: '0',
  })
  try {
    const statuses: number[] = []
    for (let count = 0; count < 30; count += 1) {
      const response = await fetch(`${gate.url}/bootstrap`, {
        method: 'POST',
        headers: { 'x-forwarded-for': `203.0.113.${count}`, forwarded: `for=203.0.113.${count}` },
        body: JSON.stringify({ device_id: `device-${count}` }),
      })
      statuses.push(response.status)
    }
    expect(statuses.filter((status) => status === 200)).toHaveLength(10)
    expect(statuses.slice(10)).toEqual(Array.from({ length: 20 }, () => 429))
  } finally {
    await gate.stop()
  }
})

test('"limit 2 MB in docs, 100 MB in code": MAX_PAYLOAD_SIZE holds, 32 MiB by default', async () => {
  const { gate } = on
  const token = await on.device()
  const declared = await messages(gate, token, Buffer.alloc(33_554_433, 0x20))
  expect(await refusalOf(declared)).toBe('413 request_too_large')
  expect((await messages(gate, token, Buffer.alloc(33_554_432, 0x20))).status).toBe(200)
  expect(on.upstream.seen.map(({ body }) => body.length)).toEqual([33_554_432])
})

test('"JWT_SECRET" without one, or a short one, starts nothing', async () => {
  const env = {
    ANTHROPIC_API_KEY: 'k-1234567890',
    IDENTITY_HASH_KEY: HASH_KEY,
    DATABASE_URL: 'sqlite::memory:',
  }
  for (const secret of [{}, { JWT_SECRET: 'x'.repeat(31) }]) {
    const { exitCode, stderr } = await runToEnd([], { ...env, ...secret })
    expect(exitCode).toBe(78)
    expect(stderr).toContain('JWT_SECRET')
    expect(stderr).not.toContain('xxx')
  }
})

test('"REDIS_URL" is no promise: setting it is a mistake that says so', async () => {
  const { exitCode, stderr } = await runToEnd(['--dev-mode'], { REDIS_URL: 'redis://localhost' })
  expect(exitCode).toBe(78)
  expect(stderr).toContain('REDIS_URL')
})
