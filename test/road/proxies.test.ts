// The gate behind nginx and HAProxy as people set them up: streams come as they are sent, health checks
// find it, and addresses are those of clients.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import http from 'node:http'
import { until } from '../support/binary.ts'
import { type Scene, scene } from '../support/gate.ts'
import { isMissing, PROXIES, type Proxy, startProxy } from '../support/proxies.ts'
import { bearer } from '../support/sink.ts'
import { exchange, head } from '../support/wire.ts'

let at: Scene
beforeAll(async () => {
  at = await scene({
    env: { TRUSTED_PROXIES: '127.0.0.1', PUBLIC_RATE_LIMIT_RPM: '1', RATE_LIMIT_BURST: '2' },
  })
})
afterAll(() => at.close())

for (const name of PROXIES) {
  describe.skipIf(isMissing(name))(`behind ${name}`, () => {
    let proxy: Proxy
    beforeAll(async () => {
      proxy = await startProxy(name, at.gate.port)
    })
    afterAll(() => proxy.stop())

    for (const type of ['text/event-stream', 'application/x-ndjson']) {
      // An upstream that waits for the client to have read what came before: no clock is needed.
      test(`each piece of ${type} arrives before the next is sent`, async () => {
        const pieces = ['one', 'two', 'three'].map((each) => `data: ${each}\n\n`)
        let next: (() => void) | undefined
        at.upstream.respond(async (_, response) => {
          response.writeHead(200, { 'content-type': type })
          for (const piece of pieces) {
            response.write(piece)
            await new Promise<void>((resolve) => {
              next = resolve
            })
          }
          response.end()
        })
        const response = await fetch(`http://127.0.0.1:${proxy.port}/v1/chat/completions`, {
          method: 'POST',
          headers: { ...bearer(at.token), 'content-type': 'application/json' },
          body: '{"stream":true}',
        })
        expect(response.headers.get('cache-control')).toBe('no-cache, no-transform')
        const seen: string[] = []
        const decoder = new TextDecoder()
        for await (const chunk of response.body ?? []) {
          seen.push(decoder.decode(chunk))
          next?.()
        }
        expect(seen).toEqual(pieces)
      })
    }

    test('a client is counted by its own address, whatever it claims', async () => {
      at.upstream.respond((_, response) => void response.end('{}'))
      // From two addresses of loopback, of which neither is a proxy.
      const clients = name === 'nginx' ? ['127.0.0.2', '127.0.0.3'] : ['127.0.0.4', '127.0.0.5']
      const statuses: number[][] = []
      for (const client of clients) {
        const own: number[] = []
        for (const claim of ['203.0.113.1', '203.0.113.2', '127.0.0.1', 'unknown']) {
          own.push(await ask(proxy.port, client, claim))
        }
        statuses.push(own)
      }
      expect(statuses).toEqual([
        [200, 200, 429, 429],
        [200, 200, 429, 429],
      ])
    })
  })
}

describe.skipIf(isMissing('haproxy'))("HAProxy's health check", () => {
  test('of HTTP/1.0 without a Host finds the gate up', async () => {
    const proxy = await startProxy('haproxy', at.gate.port)
    let seen = ''
    const look = async (): Promise<void> => {
      const table = await (await fetch(`http://127.0.0.1:${proxy.statsPort}/;csv`)).text()
      seen = /^gate,gate,.*$/m.exec(table)?.[0] ?? ''
    }
    await until(() => {
      // It may not listen yet.
      look().catch(() => {})
      return /,L[467][A-Z]+,/.test(seen)
    })
    expect(seen).toMatch(/,UP,.*,L7OK,200,/)
    await proxy.stop()
  })
})

describe('without a Host, in HTTP/1.0', () => {
  const statusOf = async (...lines: string[]): Promise<number | undefined> =>
    (await exchange(at.gate.port, head(...lines)))[0]?.status

  test.each(['GET /health', 'GET /healthz', 'GET /readyz', 'GET /healthz?from=lb'])(
    '%s is answered',
    async (asked) => expect(await statusOf(`${asked} HTTP/1.0`)).toBe(200),
  )
  test.each([
    'GET /v1/models',
    'GET /',
    'GET //healthz',
    'GET /healthz/',
    'GET /nowhere',
    'POST /v1/chat/completions',
  ])('%s is refused', async (asked) => {
    expect(await statusOf(`${asked} HTTP/1.0`, `Authorization: Bearer ${at.token}`)).toBe(400)
  })
  test('an empty or odd Host is still refused', async () => {
    expect(await statusOf('GET /healthz HTTP/1.0', 'Host: a b')).toBe(400)
    expect(await statusOf('GET /healthz HTTP/1.0', 'Host:')).toBe(400)
  })
  test('nothing but asking is a check', async () => {
    expect(await statusOf('DELETE /healthz HTTP/1.0')).toBe(405)
  })
})

/** From this address of loopback. */
function ask(port: number, localAddress: string, claim: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'x-forwarded-for': claim }
    const path = '/.well-known/hpke-keys'
    http
      .get({ port, host: '127.0.0.1', localAddress, path, headers, agent: false }, (response) => {
        response.resume()
        resolve(response.statusCode ?? 0)
      })
      .on('error', reject)
  })
}
