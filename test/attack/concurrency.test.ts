// Attack 31, the places: a request holds one from its reservation to its end, and gives it back
// whichever way it ends. Each test lets one request end in its own way where there is one place.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { until } from '../support/binary.ts'
import { type Scene, scene } from '../support/gate.ts'
import { bearer, errorOf, eventually, forget } from '../support/sink.ts'
import { dial, head, type Wire } from '../support/wire.ts'

let at: Scene
let crowd: Scene
let nowhere: Scene
beforeAll(async () => {
  const one = { MAX_IDENTITY_CONCURRENCY: '1' }
  const all = await Promise.all([
    scene({
      env: { ...one, MAX_REQUEST_BODY_BYTES: '300000', TINFOIL_ENCLAVE_HOSTS: '.enclave.test' },
    }),
    scene({ env: { MAX_UPSTREAM_CONCURRENCY: '2' } }),
    // Nothing listens on port 1.
    scene({ env: { ...one, TINFOIL_BASE_URL: 'http://127.0.0.1:1' } }),
  ])
  ;[at, crowd, nowhere] = all
})
afterAll(() => Promise.all([at.close(), crowd.close(), nowhere.close()]))
beforeEach(() => forget(at, crowd, nowhere))

const CHAT = 'POST /v1/chat/completions HTTP/1.1'

/** A request on a socket of its own, that the upstream has seen. */
async function begun(on: Scene, token = on.token): Promise<Wire> {
  const before = on.upstream.seen.length
  const wire = await dial(on.gate.port)
  const lines = ['Host: gate.test', `Authorization: Bearer ${token}`, 'Content-Length: 2']
  wire.write(`${head(CHAT, ...lines)}{}`)
  await until(() => on.upstream.seen.length > before)
  return wire
}
const models = (on: Scene, token = on.token): Promise<Response> =>
  fetch(`${on.gate.url}/v1/models`, { headers: bearer(token) })

async function isTaken(on: Scene): Promise<void> {
  const response = await models(on)
  expect(response.status).toBe(429)
  expect(response.headers.get('retry-after')).toBe('1')
  expect(errorOf(await response.text())).toEqual({
    message: 'too many concurrent requests for this identity',
    type: 'rate_limit_error',
    code: 'identity_concurrency_limit',
    param: null,
  })
}

/** Two requests one after the other: the place is there, and it is given back in turn. */
async function isFree(on: Scene): Promise<void> {
  await eventually(async () => (await models(on)).status !== 429)
  expect((await models(on)).status).not.toBe(429)
}

const endless = (on: Scene, headers: boolean): void =>
  on.upstream.respond((request, response) => {
    if (request.url === '/v1/models') return void response.end('{}')
    if (headers) response.write('data: one\n\n')
  })

describe('attack 31: the place of an identity is given back', () => {
  test('after a normal end', async () => {
    const { promise: go, resolve } = Promise.withResolvers<void>()
    at.upstream.respond(async (request, response) => {
      if (request.method === 'POST') await go
      response.end('{}')
    })
    const wire = await begun(at)
    await isTaken(at)
    resolve()
    expect((await wire.settled())[0]?.status).toBe(200)
    wire.destroy()
    await isFree(at)
  })

  test('when the client leaves before the headers', async () => {
    endless(at, false)
    const wire = await begun(at)
    await isTaken(at)
    wire.destroy()
    await isFree(at)
  })

  test('when the client leaves in mid-stream', async () => {
    endless(at, true)
    const wire = await begun(at)
    await until(() => wire.received().includes('data: one'))
    await isTaken(at)
    wire.destroy()
    await isFree(at)
  })

  test('when the upstream dies in mid-stream', async () => {
    const { promise: go, resolve } = Promise.withResolvers<void>()
    at.upstream.respond(async (request, response) => {
      if (request.method === 'GET') return void response.end('{}')
      response.write('data: one\n\n')
      await go
      response.destroy()
    })
    const wire = await begun(at)
    await until(() => wire.received().includes('data: one'))
    await isTaken(at)
    resolve()
    await isFree(at)
    wire.destroy()
  })

  for (const [name, status, respond] of [
    ['a 500 of the upstream', 500, (response) => void response.writeHead(500).end()],
    ['an upstream that hangs up', 502, (response) => void response.destroy()],
    ['a redirect', 502, (response) => void response.writeHead(302).end()],
    ['a refused key', 502, (response) => void response.writeHead(401).end()],
    ['an empty answer', 204, (response) => void response.writeHead(204).end()],
  ] as [string, number, (response: import('node:http').ServerResponse) => void][]) {
    test(`after ${name}`, async () => {
      at.upstream.respond((request, response) => {
        if (request.method === 'GET') response.end('{}')
        else respond(response)
      })
      const wire = await begun(at)
      expect((await wire.settled())[0]?.status).toBe(status)
      wire.destroy()
      await isFree(at)
    })
  }

  test('after a chunked body that grew too large', async () => {
    endless(at, false)
    const wire = await dial(at.gate.port)
    const lines = ['Host: gate.test', `Authorization: Bearer ${at.token}`]
    wire.write(head(CHAT, ...lines, 'Transfer-Encoding: chunked'))
    const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`
    wire.write(chunk.repeat(6))
    expect((await wire.settled())[0]?.status).toBe(413)
    wire.destroy()
    await isFree(at)
  })

  test('after an enclave that resolves to nothing', async () => {
    endless(at, false)
    // A label of 64 letters is refused by the resolver itself: no question leaves this machine.
    const enclave = `https://${'a'.repeat(64)}.enclave.test`
    const response = await fetch(`${at.gate.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { ...bearer(at.token), 'x-tinfoil-enclave-url': enclave },
      body: '{}',
    })
    expect(response.status).toBe(400)
    expect(errorOf(await response.text())['code']).toBe('enclave_not_allowed')
    await isFree(at)
  })

  test('after an unreachable upstream, again and again', async () => {
    for (let count = 0; count < 5; count += 1) {
      const response = await models(nowhere)
      expect(response.status).toBe(502)
      const body = await response.text()
      expect(errorOf(body)['code']).toBe('upstream_unavailable')
      expect(body).not.toContain('127.0.0.1')
    }
  })

  test('after a body that its client never finished', async () => {
    endless(at, false)
    const wire = await dial(at.gate.port)
    const lines = ['Host: gate.test', `Authorization: Bearer ${at.token}`]
    wire.write(`${head(CHAT, ...lines, 'Content-Length: 100')}half`)
    await eventually(async () => (await models(at)).status === 429)
    wire.destroy()
    await isFree(at)
  })
})

describe('attack 31: the places to the upstream', () => {
  test("are shared by all callers, distinguished from a caller's own, and given back", async () => {
    endless(crowd, false)
    const tokens = await Promise.all(['a', 'b', 'c'].map((sub) => crowd.issuer.token({ sub })))
    const [first, second, third] = tokens as [string, string, string]
    const wires = [await begun(crowd, first), await begun(crowd, second)]
    const response = await models(crowd, third)
    expect(response.status).toBe(429)
    expect(response.headers.get('retry-after')).toBe('1')
    expect(errorOf(await response.text())).toMatchObject({
      message: 'upstream concurrency limit reached',
      code: 'upstream_concurrency_limit',
    })
    for (const wire of wires) wire.destroy()
    await isFree(crowd)
  })
})
