// What a hostile or broken answer can do to a device: nothing.

import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import type { ServerResponse } from 'node:http'
import { parseBaseUrl, proxyBaseUrl } from '../../src/client/base-url.ts'
import { gate as gateAt } from '../../src/client/gate.ts'
import { type FakeGate, startFakeGate } from './fake-gate.ts'
import { PATIENCE_MS } from '../support/patience.ts'

const CANARY = 'sk-ant-proxy-canary-in-error'
let fake: FakeGate

beforeEach(async () => {
  fake = await startFakeGate()
})
afterEach(() => fake.close())

/** What is asked about time says how much. */
const ask = (nowMs = Date.now(), timeoutMs = PATIENCE_MS) =>
  gateAt(fake.url, () => nowMs).refresh(CANARY, timeoutMs)

function answers(write: (response: ServerResponse) => void): void {
  fake.fate = () => write
}

const good = { wrapper_token: 'a.b.c', proxy_base_url: 'http://127.0.0.1:1' }
const later = new Date(Date.now() + 3_600_000).toISOString()

const jwt = (exp: number): string =>
  `sk-ant-proxy-x.${Buffer.from(JSON.stringify({ exp })).toString('base64url')}.y`

describe('an answer', () => {
  test('with a redirect is refused, and no other server sees the token', async () => {
    const thief = await startFakeGate()
    for (const status of [301, 302, 303, 307, 308]) {
      answers((response) => response.writeHead(status, { location: `${thief.url}/refresh` }).end())
      expect(await ask()).toMatchObject({
        kind: 'failed',
        heard: false,
        problem: { code: 'redirected' },
      })
    }
    expect(thief.asks).toEqual([])
    await thief.close()
  })

  test('without an end is cut at 64 KiB', async () => {
    let sent = 0
    answers((response) => {
      response.writeHead(200)
      const more = (): void => {
        if (response.destroyed || sent > 50_000_000) return
        sent += 65_536
        response.write('x'.repeat(65_536), more)
      }
      more()
    })
    expect(await ask()).toMatchObject({ kind: 'failed', problem: { code: 'invalid_answer' } })
    expect(sent).toBeLessThan(50_000_000)
  })

  test('that trickles is given up in time, headers or body', async () => {
    fake.fate = () => 'hang'
    expect(await ask(undefined, 50)).toMatchObject({ heard: true, problem: { code: 'timeout' } })
    answers((response) => void response.writeHead(200).write('{'))
    expect(await ask(undefined, 50)).toMatchObject({ heard: true, problem: { code: 'timeout' } })
  })

  test.each([
    'not json',
    'null',
    '[]',
    JSON.stringify({ ...good, expires_at: '2001-01-01T00:00:00Z' }),
    JSON.stringify({ ...good, expires_at: later, wrapper_token: 'a b' }),
    JSON.stringify({ ...good, expires_at: later, wrapper_token: 'a\r\nb: c' }),
    JSON.stringify({ ...good, expires_at: later, wrapper_token: 'x'.repeat(8193) }),
    JSON.stringify({ ...good, expires_at: later, wrapper_token: 7 }),
    JSON.stringify({ proxy_base_url: good.proxy_base_url, expires_at: later }),
  ])('that makes no sense is no token: %p', async (text) => {
    answers((response) => response.writeHead(200).end(text))
    expect(await ask()).toMatchObject({ kind: 'failed', problem: { code: 'invalid_answer' } })
  })

  test('may give the end as ISO 8601, in seconds or in milliseconds', async () => {
    await gateAt(fake.url, Date.now).bootstrap({ device_id: 'd' }, undefined, 500)
    const [token = ''] = [...fake.issued.keys()]
    for (const expiresAs of [
      (ms: number) => new Date(ms).toISOString(),
      (ms: number) => ms / 1000,
      (ms: number) => ms,
    ]) {
      fake.expiresAs = expiresAs
      const asked = await gateAt(fake.url, Date.now).refresh(token, 500)
      if (asked.kind !== 'granted') throw new Error(asked.kind)
      expect(Math.abs(asked.grant.lifetimeMs - fake.lifetimeMs)).toBeLessThan(2000)
    }
  })

  test.each([
    [201, { ...good, expires_at: later, proxy_base_url: null }],
    [202, { ...good, expires_at: String(Math.floor(Date.parse(later) / 1000)) }],
    [200, { ...good, expires_at: null }],
    [200, { ...good, expires_at: 'soon', wrapper_token: jwt(Date.parse(later) / 1000) }],
    [200, { ...good, expires_at: {}, scope: 7, unknown: [null] }],
    [299, { wrapper_token: good.wrapper_token }],
  ])('%p with something odd beside a good token is taken: %p', async (status, said) => {
    answers((response) => response.writeHead(status).end(JSON.stringify(said)))
    const asked = await ask()
    if (asked.kind !== 'granted') throw new Error(asked.kind)
    expect(asked.grant.token).toBe(said.wrapper_token)
    expect(Math.abs(asked.grant.lifetimeMs - 3_600_000)).toBeLessThan(PATIENCE_MS)
    expect(asked.grant.proxyBaseUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
  })

  test('of a proxy in front of the gate is not a refusal of the token', async () => {
    for (const status of [401, 403]) {
      answers((response) => response.writeHead(status).end('<html>sign in to the network</html>'))
      expect(await ask()).toMatchObject({ kind: 'failed', problem: { code: 'unhealthy', status } })
    }
  })

  test('lives as long on a device whose clock is years out', async () => {
    for (const offMs of [-9e10, 9e10]) {
      const nowMs = Date.now() + offMs
      const asked = await gateAt(fake.url, () => nowMs).bootstrap(
        { device_id: 'd' },
        undefined,
        500,
      )
      if (asked.kind !== 'granted') throw new Error(asked.kind)
      expect(Math.abs(asked.grant.lifetimeMs - fake.lifetimeMs)).toBeLessThan(2000)
      expect(Math.abs(asked.grant.expiresAtMs - nowMs - fake.lifetimeMs)).toBeLessThan(2000)
    }
  })

  test('never brings a token or its own words into a problem', async () => {
    for (const status of [200, 302, 400, 401, 429, 500]) {
      answers((response) => response.writeHead(status).end(`{"error":"${CANARY}"}`))
      expect(JSON.stringify(await ask())).not.toContain('canary')
    }
  })

  test('of 429 says when to come back, and is not in doubt', async () => {
    answers((response) => response.writeHead(429, { 'retry-after': '17' }).end())
    expect(await ask()).toMatchObject({
      heard: false,
      problem: { code: 'rate_limited', retryAfterSeconds: 17 },
    })
  })
})

describe('how a token stands', () => {
  const standing = () => gateAt(fake.url, Date.now).standing(CANARY, 500)
  const answered = async (status: number, body: string): Promise<string> => {
    fake.device = (response) => response.writeHead(status).end(body)
    return (await standing()).kind
  }

  test.each(['token_revoked', 'token_expired', 'invalid_token'])(
    '%s, in the gate’s words',
    async (code) => {
      fake.device = (response) => response.writeHead(401).end(JSON.stringify({ error: { code } }))
      expect(await standing()).toEqual({ kind: 'dead', code } as never)
    },
  )

  test('is not decided by an outage, a redirect, a page, or a gate that does not know the request', async () => {
    expect(await answered(200, '<html>')).toBe('good')
    for (const status of [404, 405]) expect(await answered(status, '{}')).toBe('unasked')
    for (const [kind, statuses] of [
      ['untold', [400, 401, 403, 451]],
      ['failed', [302, 408, 429, 500, 502, 503]],
    ] as const) {
      for (const status of statuses) {
        expect(await answered(status, '{"error":{"type":"authentication_error"}}')).toBe(kind)
        expect(await answered(status, '<html>')).toBe(kind)
      }
    }
    expect(await answered(403, '{"error":{"code":"token_revoked"}}')).toBe('untold')
    fake.device = 'lost'
    expect(await standing()).toMatchObject({ kind: 'failed' })
    await fake.close()
    expect(await standing()).toMatchObject({ kind: 'failed', problem: { code: 'unreachable' } })
  })
})

test('a refused connection means that the gate heard nothing; a broken one leaves it open', async () => {
  fake.fate = () => 'lost'
  expect(await ask()).toMatchObject({ kind: 'failed', heard: true })
  await fake.close()
  expect(await ask()).toMatchObject({ kind: 'failed', heard: false })
})

test('HTTP_PROXY does not see requests to loopback', async () => {
  const proxy = await startFakeGate()
  const before = process.env['HTTP_PROXY']
  process.env['HTTP_PROXY'] = proxy.url
  try {
    await ask()
  } finally {
    if (before === undefined) delete process.env['HTTP_PROXY']
    else process.env['HTTP_PROXY'] = before
  }
  expect(proxy.asks).toEqual([])
  expect(fake.count('/refresh')).toBe(1)
  await proxy.close()
})

test('a page in the place of /healthz is not health', async () => {
  const page = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response('<html>') })
  const health = await gateAt(`http://127.0.0.1:${page.port}`, Date.now).health(500)
  expect(health).toMatchObject({ ok: false, problem: { code: 'invalid_answer' } })
  await page.stop(true)
})

test('a base URL keeps its path, and must be https or loopback', () => {
  expect(parseBaseUrl('https://gate.example/postern/')).toBe('https://gate.example/postern')
  expect(parseBaseUrl('http://localhost:3001')).toBe('http://localhost:3001')
  expect(parseBaseUrl('http://[::1]:1/')).toBe('http://[::1]:1')
  expect(parseBaseUrl('http://0x7f.1/')).toBe('http://127.0.0.1')
  for (const bad of ['http://127.0.0.1.evil.com', 'http://localhost.evil.com', 'http://10.0.0.1']) {
    expect(parseBaseUrl(bad)).toBeUndefined()
  }
})

test('with an unsafe proxy_base_url, the configured URL of the gate is used', () => {
  const base = 'https://gate.example'
  expect(proxyBaseUrl('https://other.example/', base)).toBe('https://other.example')
  for (const bad of ['http://localhost:3001', 'http://gate.example', 'javascript:0', '', 'x']) {
    expect(proxyBaseUrl(bad, base)).toBe(base)
  }
})
