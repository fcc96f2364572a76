// What an upstream may answer to the handshake of a WebSocket, and what its circuit learns.

import { afterAll, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import net, { type AddressInfo, type Socket } from 'node:net'
import type { Verdict } from '../../src/budget/pass.ts'
import { destinationOf } from '../../src/http1/destination.ts'
import { transport } from '../../src/http1/transport.ts'
import { handshaking } from '../../src/realtime/handshaking.ts'
import { openAi } from '../../src/upstream/openai/openai.ts'
import { Secret } from '../../src/secret.ts'

const KEY = 'sk-canary-0123456789'
const wire = transport()
const shake = handshaking(wire, { connectMs: 2000, headersMs: 2000, bodyMs: 2000 })
const sockets = new Set<Socket>()
let answer: (accept: string) => string = () => ''
const server = net.createServer((socket) => {
  sockets.add(socket)
  socket.on('error', () => {})
  socket.on('data', (head) => {
    const key = /sec-websocket-key: (\S+)/i.exec(head.toString('latin1'))?.[1] ?? ''
    const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
    const said = answer(
      createHash('sha1')
        .update(key + guid)
        .digest('base64'),
    )
    if (said === '') socket.destroy()
    else socket.write(said)
  })
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const base = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`)
const upstream = openAi({
  baseUrl: base,
  apiKey: new Secret(KEY),
  keyHeader: 'authorization',
  headers: [],
  routes: ['realtime'],
  maxBodyBytes: 1000,
} as never)
afterAll(() => {
  for (const each of sockets) each.destroy()
  server.close()
  wire.close()
})

async function ask(said: typeof answer, protocol?: string) {
  answer = said
  const heard: (number | Verdict)[] = []
  const found = await shake({
    upstream,
    to: destinationOf(new URL('/v1/realtime?model=m', base)),
    headers: new Headers(),
    protocol,
    maxBytes: 1000,
    pass: {
      isStuck: false,
      answered: (status) => void heard.push(status),
      report: (verdict) => void heard.push(verdict),
    },
    onFlight: () => {},
  })
  if (found.ok) found.socket.drop()
  return { found, heard }
}

const lines = (...all: string[]): string => `${all.join('\r\n')}\r\n\r\n`
const switching = (accept: string, ...more: string[]): string =>
  lines(
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: WebSocket',
    'Connection: keep-alive, Upgrade',
    `Sec-WebSocket-Accept: ${accept}`,
    ...more,
  )

test('a proper answer opens it, and the circuit is closed by it', async () => {
  const { found, heard } = await ask(switching)
  expect([found.ok, heard]).toEqual([true, [200, 'success']])
  const chosen = await ask(
    (accept) => switching(accept, 'Sec-WebSocket-Protocol: realtime'),
    'realtime',
  )
  expect(chosen.found).toMatchObject({ ok: true, protocol: 'realtime' })
})

test.each([
  ['a wrong accept', () => switching('AAAA'), 'handshake: wrong accept'],
  [
    'an extension',
    (accept: string) => switching(accept, 'Sec-WebSocket-Extensions: permessage-deflate'),
    'handshake: an extension',
  ],
  [
    'a sub-protocol that was not offered',
    (accept: string) => switching(accept, 'Sec-WebSocket-Protocol: chat'),
    'handshake: another sub-protocol',
  ],
  [
    'another protocol',
    () => lines('HTTP/1.1 101 x', 'Upgrade: h2c', 'Connection: Upgrade'),
    'handshake: another protocol',
  ],
])('%s is a failure', async (_, said, reason) => {
  const { found, heard } = await ask(said)
  expect(found).toMatchObject({ ok: false, refusal: { code: 'upstream_invalid', reason } })
  expect(heard).toEqual(['failure'])
})

test('no answer, and no connection, are failures of the connection', async () => {
  const { found, heard } = await ask(() => '')
  expect(found).toMatchObject({ ok: false, refusal: { code: 'upstream_unavailable' } })
  expect(heard).toEqual(['failure'])
})

test.each([
  [429, '{"error":{"message":"slow down"}}', [429, 'neutral']],
  [500, '{"error":{"message":"oops"}}', [500, 'neutral']],
])('a %d passes in its own words', async (status, body, told) => {
  const { found, heard } = await ask(
    () =>
      lines(
        `HTTP/1.1 ${status} x`,
        `Content-Length: ${body.length}`,
        'Content-Type: application/json',
      ) + body,
  )
  if (found.ok || !found.passes) throw new Error('nothing passes')
  expect([found.passes.status, Buffer.from(found.passes.body).toString()]).toEqual([status, body])
  expect(heard).toEqual(told as never)
})

test('what quotes the key does not pass, nor does a redirect', async () => {
  const quoting = `{"error":"${KEY}"}`
  const { found } = await ask(
    () => lines('HTTP/1.1 400 x', `Content-Length: ${quoting.length}`) + quoting,
  )
  expect(found).toMatchObject({ ok: false, refusal: { code: 'upstream_invalid' } })
  expect(JSON.stringify(found)).not.toContain('canary')
  const moved = await ask(() => lines('HTTP/1.1 302 x', 'Location: /', 'Content-Length: 0'))
  expect(moved.found).toMatchObject({ refusal: { code: 'upstream_redirect' } })
})
