// Attack 18: which pages may ask, and what they may read.

import { describe, expect, test } from 'bun:test'
import { arrive } from '../../src/accept/arrival.ts'
import { cors } from '../../src/accept/cors.ts'
import type { Exchange } from '../../src/exchange.ts'
import { label, namedValues } from '../support/named.ts'

const APP = 'https://app.example'
const allowing = cors([APP, 'http://localhost:3000'])
const METHODS = ['GET', 'POST']

function asking(
  method: string,
  headers: Readonly<Record<string, string>>,
): { request: Request; exchange: Exchange } {
  const request = new Request('http://gate.test/v1/models', {
    method,
    headers: { host: 'gate.test', ...headers },
  })
  return { request, exchange: arrive(request, null).exchange }
}
const corsHeaders = (headers: Headers): string[] =>
  [...headers.keys()].filter((name) => name.startsWith('access-control-'))

/** Everything that is near an allowed origin and is not it. */
const NEAR = [
  'null',
  '*',
  '',
  `${APP}.evil.example`,
  'https://evil-app.example',
  'https://evil.app.example',
  'https://APP.example',
  'HTTPS://app.example',
  'http://app.example',
  `${APP}:443`,
  `${APP}:8443`,
  `${APP}/`,
  ` ${APP}/x`,
  `${APP}, https://evil.example`,
  `https://evil.example, ${APP}`,
  `${APP} ${APP}`,
  'https://app.example@evil.example',
  'https://app.examplé',
  'https://appXexample',
  'http://localhost',
  'http://localhost:3001',
  'http://localhost:30000',
  'http://127.0.0.1:3000',
]

describe('a page of an allowed origin', () => {
  const { request, exchange } = asking('GET', { origin: APP })
  allowing.permit(request, exchange)
  const { headers } = exchange
  test('may read the response, and the headers that EHBP and retries need', () => {
    expect(headers.get('access-control-allow-origin')).toBe(APP)
    const exposed = headers.get('access-control-expose-headers')?.split(', ') ?? []
    for (const name of ['ehbp-response-nonce', 'retry-after', 'x-request-id']) {
      expect(exposed).toContain(name)
    }
    expect(exposed).not.toContain('*')
  })
  test('never with cookies, and no cache mixes it with others', () => {
    expect(headers.has('access-control-allow-credentials')).toBe(false)
    expect(headers.get('vary')).toBe('Origin')
  })
})

describe('an app or an extension of an allowed origin', () => {
  const ORIGINS = ['tauri://localhost', 'app://obsidian.md', `chrome-extension://${'a'.repeat(32)}`]
  const apps = cors(ORIGINS)
  test.each(ORIGINS)('%p may read, and so may nothing near it', (origin) => {
    const allowedFor = (sent: string): string | null => {
      const { request, exchange } = asking('GET', { origin: sent })
      apps.permit(request, exchange)
      return exchange.headers.get('access-control-allow-origin')
    }
    expect(allowedFor(origin)).toBe(origin)
    for (const near of [
      `${origin}.evil`,
      `${origin}/`,
      origin.toUpperCase(),
      'null',
      'https://localhost',
    ]) {
      expect(allowedFor(near)).toBeNull()
    }
  })
})

describe('no other origin reads anything', () => {
  test.each(NEAR)('%p', (origin) => {
    for (const method of ['GET', 'OPTIONS']) {
      const { request, exchange } = asking(method, {
        origin,
        'access-control-request-method': 'POST',
      })
      expect(allowing.preflight(request, exchange, METHODS)).toBeUndefined()
      allowing.permit(request, exchange)
      expect(corsHeaders(exchange.headers)).toEqual([])
      // Said to them too, or a cache would keep their answer for those who may.
      expect(exchange.headers.get('vary')).toBe('Origin')
    }
  })
  test('nor a request without one', () => {
    const { request, exchange } = asking('GET', {})
    allowing.permit(request, exchange)
    expect(corsHeaders(exchange.headers)).toEqual([])
  })
  test('without configured origins no response mentions CORS', () => {
    const none = cors([])
    for (const origin of [APP, 'null', ...NEAR]) {
      const { request, exchange } = asking('OPTIONS', {
        origin,
        'access-control-request-method': 'POST',
      })
      expect(none.preflight(request, exchange, METHODS)).toBeUndefined()
      none.permit(request, exchange)
      expect([corsHeaders(exchange.headers), exchange.headers.has('vary')]).toEqual([[], false])
    }
  })
})

describe('a preflight', () => {
  const preflight = (headers: Readonly<Record<string, string>>, method = 'OPTIONS') => {
    const { request, exchange } = asking(method, { origin: APP, ...headers })
    return allowing.preflight(request, exchange, METHODS)
  }
  const WANTED = { 'access-control-request-method': 'POST' }

  test("is answered without a credential: the route's methods, the requested headers, for minutes", () => {
    const asked = 'authorization,content-type,ehbp-encapsulated-key'
    const response = preflight({ ...WANTED, 'access-control-request-headers': asked })
    expect(response?.status).toBe(204)
    const headers = Object.fromEntries(response?.headers ?? [])
    expect(headers).toMatchObject({
      'access-control-allow-origin': APP,
      'access-control-allow-methods': 'GET, POST',
      'access-control-allow-headers': asked,
      'access-control-max-age': '600',
      vary: 'Origin',
    })
    expect(headers).not.toHaveProperty('access-control-allow-credentials')
  })
  test('is OPTIONS with a requested method, and nothing else', () => {
    expect(preflight({})).toBeUndefined()
    for (const method of ['GET', 'POST', 'HEAD']) {
      expect(preflight(WANTED, method)).toBeUndefined()
    }
  })
  test.each(
    namedValues(
      [
        '*',
        'Authorization',
        'a b',
        'a,,b',
        ',a',
        'a,',
        'a;b',
        'a: b',
        'ä',
        'x'.repeat(2049),
        Array.from({ length: 1000 }, () => 'abc').join(','),
      ],
      (asked) => `does not repeat anything but a list of names: ${label(asked)}`,
    ),
  )('%s', (_, asked) => {
    const response = preflight({ ...WANTED, 'access-control-request-headers': asked })
    expect(response?.status).toBe(204)
    expect(response?.headers.has('access-control-allow-headers')).toBe(false)
  })
})
