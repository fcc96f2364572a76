// One party's trouble stays theirs: over sockets, through the compiled binary, with the defaults of the
// circuit. The same by the thousand and in virtual time is in test/budget/simulation.test.ts.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { ServerResponse } from 'node:http'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { type Running, start } from '../support/binary.ts'
import { UNLIMITED, usersOf } from '../support/settings.ts'
import { bearer, eventually } from '../support/sink.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

const ADMIN_TOKEN = 'operator-canary-operator-canary-0000'
const OTHERS = 50

let issuer: DevIssuer
let upstream: Upstream
let gate: Running
let tokens: string[]
let poisoner: string

beforeAll(async () => {
  issuer = await startIssuer()
  const names = Array.from({ length: OTHERS }, (_, each) => `user-${each}`)
  tokens = await Promise.all(names.map((sub) => issuer.token({ sub })))
  poisoner = await issuer.token({ sub: 'poisoner' })
})
afterAll(() => issuer.close())
beforeEach(async () => {
  upstream = await startUpstream()
})
afterEach(async () => {
  await gate.stop()
  await upstream.close()
})

async function startGate(env: Readonly<Record<string, string>> = {}): Promise<void> {
  gate = await start({
    ...usersOf(issuer),
    TINFOIL_API_KEY: 'tinfoil-key-canary-8c1f',
    TINFOIL_BASE_URL: upstream.url,
    REQUIRE_EHBP: 'false',
    ADMIN_TOKEN,
    ...UNLIMITED,
    ...env,
  })
  await eventually(async () => (await fetch(`${gate.url}/readyz`)).ok)
}

const CHAT = '/v1/chat/completions'
const body = (more: object = {}): string => JSON.stringify({ model: 'a', messages: [], ...more })
const BAD = body({ response_format: 'bad' })

async function ask(token: string, sent = body(), path = CHAT): Promise<number> {
  const response = await fetch(gate.url + path, {
    method: sent === '' ? 'GET' : 'POST',
    headers: { ...bearer(token), 'content-type': 'application/json' },
    ...(sent !== '' && { body: sent }),
  })
  await response.bytes().catch(() => {})
  return response.status
}

const state = async (): Promise<string> => {
  const headers = bearer(ADMIN_TOKEN)
  const response = await fetch(`${gate.url}/admin/circuit-breaker`, { headers })
  return ((await response.json()) as { state: string }).state
}

function answer(response: ServerResponse, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end('{"ok":true}')
}

/** 98 requests of fifty, one after another, while `poison` goes on beside them. */
async function besides(poison: () => Promise<unknown>): Promise<Record<number, number>> {
  const over = new AbortController()
  const poisoning = (async () => {
    while (!over.signal.aborted) {
      await poison()
      await Bun.sleep(5)
    }
  })()
  const counts: Record<number, number> = {}
  for (let each = 0; each < 98; each += 1) {
    const status = await ask(tokens[each % OTHERS] ?? '')
    counts[status] = (counts[status] ?? 0) + 1
  }
  over.abort()
  await poisoning
  return counts
}

const POISONS: Readonly<Record<string, (response: ServerResponse) => void>> = {
  'a 500': (response) => answer(response, 500),
  'a connection that is reset': (response) => void response.destroy(),
  'a stream that breaks': (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {}\n\n')
    setTimeout(() => response.destroy(), 5)
  },
}

describe('bodies of one user that the upstream fails by', () => {
  for (const [name, poison] of Object.entries(POISONS)) {
    test(`${name}, eight at once and again: the other fifty have all of their answers`, async () => {
      await startGate()
      upstream.respond((_request, response, sent) =>
        sent.includes('bad') ? poison(response) : answer(response),
      )
      const eight = (): Promise<unknown> =>
        Promise.all(Array.from({ length: 8 }, () => ask(poisoner, BAD)))
      // Before anybody else, too.
      const first = eight()
      expect(await besides(eight)).toEqual({ 200: 98 })
      await first
      expect(await state()).toBe('CLOSED')
    })
  }

  test('its own repeats are slowed, with the reason', async () => {
    await startGate()
    upstream.respond((_request, response, sent) =>
      answer(response, sent.includes('bad') ? 500 : 200),
    )
    for (let each = 0; each < 5; each += 1) expect(await ask(poisoner, BAD)).toBe(500)
    expect(await ask(tokens[0] ?? '')).toBe(200)
    const response = await fetch(gate.url + CHAT, {
      method: 'POST',
      headers: { ...bearer(poisoner), 'content-type': 'application/json' },
      body: BAD,
    })
    const { error } = (await response.json()) as { error: { code: string; message: string } }
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1'])
    expect(error).toMatchObject({
      code: 'circuit_open',
      message: 'the upstream fails your requests of this kind and answers others; try again later',
    })
    // Of that model; another is another matter.
    expect(await ask(poisoner, body({ model: 'b' }))).toBe(200)
  })
})

describe('a model that is overloaded or down', () => {
  for (const [status, headers, type] of [
    [529, {}, 'overloaded_error'],
    [503, { 'retry-after': '3' }, 'server_error'],
    [500, {}, 'overloaded_error'],
    [429, {}, 'rate_limit_error'],
  ] as const) {
    test(`${status} ${type} ${JSON.stringify(headers)} passes in its own words, and shuts nobody out`, async () => {
      await startGate()
      const words = JSON.stringify({ error: { type, message: 'as it came' } })
      upstream.respond((_request, response, sent) => {
        if (!sent.includes('"busy"')) return answer(response)
        response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(words)
      })
      for (let each = 0; each < 30; each += 1) {
        expect(await ask(tokens[each] ?? '', body({ model: 'busy' }))).toBe(status)
      }
      expect(await ask(tokens[0] ?? '', body({ model: 'b' }))).toBe(200)
      expect(await ask(tokens[0] ?? '', '', '/v1/models')).toBe(200)
      expect(await state()).toBe('CLOSED')
    })
  }

  test('a model that is down for five callers is shut for all of them, and nothing else is', async () => {
    await startGate()
    upstream.respond((_request, response, sent) =>
      answer(response, sent.includes('"down"') ? 500 : 200),
    )
    for (const token of tokens.slice(0, 5))
      expect(await ask(token, body({ model: 'down' }))).toBe(500)
    expect(await state()).toBe('OPEN')
    for (const token of tokens.slice(0, 5))
      expect(await ask(token, body({ model: 'down' }))).toBe(503)
    for (const token of tokens) expect(await ask(token)).toBe(200)
    expect(await ask(tokens[0] ?? '', '', '/v1/models')).toBe(200)
  })
})

describe('an upstream that is down', () => {
  test('a 500 for all is open after five callers, and closed soon after it is well', async () => {
    await startGate({ CIRCUIT_OPEN_SECONDS: '1' })
    for (const token of tokens) expect(await ask(token)).toBe(200)
    upstream.respond((_request, response) => answer(response, 500))
    const statuses = await Promise.all(tokens.map((token) => ask(token)))
    expect(statuses.filter((status) => status === 500).length).toBeGreaterThan(4)
    expect(await state()).toBe('OPEN')
    // Each that has not failed yet tries it at a growing pace; nobody else does.
    const before = upstream.seen.length
    for (const token of tokens) await ask(token)
    expect(upstream.seen.length - before).toBeLessThan(5)
    upstream.respond((_request, response) => answer(response))
    await eventually(
      async () => (await ask(tokens[7] ?? '')) === 200 && (await state()) === 'CLOSED',
    )
    for (const token of tokens) expect(await ask(token)).toBe(200)
  })
})

describe('an upstream that accepts and answers nobody', () => {
  // 2 s instead of 40, and 1.5 s for the question whether it is there.
  const HASTY = { HEADERS_TIMEOUT_SECONDS: '6', MAX_UPSTREAM_CONCURRENCY: '3' }

  test('is found, takes no place from others, and is open again as soon as it answers', async () => {
    await startGate(HASTY)
    const held: ServerResponse[] = []
    upstream.respond((_request, response) => void held.push(response))
    const waiting = tokens.slice(0, 3).map((token) => ask(token))
    await eventually(async () => held.length === 3)
    // Every place is taken.
    expect(await ask(tokens[3] ?? '')).toBe(429)
    await eventually(async () => (await ask(tokens[3] ?? '')) === 503)
    expect(await state()).toBe('OPEN')
    const asked = upstream.seen.find(({ url }) => url === '/v1/models')
    expect(asked?.headers['authorization']).toBeUndefined()
    // Those that waited may be answered yet, and whoever is says that it is back.
    for (const response of held) answer(response)
    expect(await Promise.all(waiting)).toEqual([200, 200, 200])
    upstream.respond((_request, response) => answer(response))
    expect(await ask(tokens[3] ?? '')).toBe(200)
    expect(await state()).toBe('CLOSED')
  })

  test('is not one whose answers are slow: all wait in peace, and newcomers go through', async () => {
    await startGate({ ...HASTY, HEADERS_TIMEOUT_SECONDS: '12' })
    const held: ServerResponse[] = []
    upstream.respond((request, response) => {
      if (request.url === '/v1/models') answer(response)
      else held.push(response)
    })
    const waiting = tokens.slice(0, 2).map((token) => ask(token))
    // It is asked, and says that it is there.
    await eventually(async () => upstream.seen.some(({ url }) => url === '/v1/models'))
    const third = ask(tokens[2] ?? '')
    await eventually(async () => held.length === 3)
    for (const response of held) answer(response)
    expect(await Promise.all([...waiting, third])).toEqual([200, 200, 200])
    expect(await state()).toBe('CLOSED')
  })
})
