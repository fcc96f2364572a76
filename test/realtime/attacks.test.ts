// Attacks on a realtime session through the gate: by its client, and by an upstream that tells what it was sent.

import { afterAll, describe, expect, test } from 'bun:test'
import net from 'node:net'
import { soon } from '../support/patience.ts'
import { openRealtime } from '../support/realtime-client.ts'
import { realtimeScene } from '../support/realtime-scene.ts'
import { startRealtimeUpstream, UPSTREAM_KEY } from '../support/realtime-upstream.ts'

const scene = await realtimeScene()
const upstream = startRealtimeUpstream()
const { gate, open, ended } = await scene.startGate(upstream.url)
afterAll(async () => {
  await scene.close()
  await upstream.stop()
})

const bearer = { authorization: `Bearer ${scene.token}` }
const HANDSHAKE = [
  'Host: gate.test',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]

/** What comes on one connection until it holds `end`, or closes. */
async function wire(sent: string | Buffer, end: string | RegExp): Promise<string> {
  const { port, hostname } = new URL(gate.url)
  const socket = net.connect(Number(port), hostname)
  let got = ''
  const { promise, resolve } = Promise.withResolvers<void>()
  socket.on('data', (chunk) => {
    got += chunk.toString('latin1')
    if (got.match(end)) resolve()
  })
  socket.on('close', () => resolve())
  socket.on('error', () => resolve())
  socket.write(sent)
  await soon(promise, 'an answer')
  socket.destroy()
  return got
}

describe('an upstream that quotes the key', () => {
  test.each([
    ['an-error', { type: 'error', error: { message: `Incorrect API key: ${UPSTREAM_KEY}` } }],
    ['an-error-in-base64', { type: 'error', error: { message: btoa(UPSTREAM_KEY) } }],
    [
      'a-failed-response',
      {
        type: 'response.done',
        response: { id: 'r', status: 'failed', status_details: { error: { m: UPSTREAM_KEY } } },
      },
    ],
  ])('in %s is gone before its client sees it', async (name, event) => {
    const client = await open(name)
    await client.event('session.created')
    for (const socket of upstream.sockets) socket.send(JSON.stringify(event))
    expect(await soon(client.closed, 'a close')).toEqual([1011, 'the upstream is gone'])
    expect(client.messages.length).toBe(1)
    expect(await ended(name)).toMatchObject({ end: 'upstream_error' })
    expect(gate.output()).not.toContain(UPSTREAM_KEY)
  })

  test('in the reason of its close closes without the reason', async () => {
    const client = await open('reason')
    await client.event('session.created')
    for (const socket of upstream.sockets) socket.close(3000, `invalid_api_key ${UPSTREAM_KEY}`)
    expect(await soon(client.closed, 'a close')).toEqual([3000, ''])
    expect(gate.output()).not.toContain(UPSTREAM_KEY)
  })
})

test('a client secret for one model opens no session that becomes one of another', async () => {
  const minted = await fetch(`${gate.url}/v1/realtime/client_secrets`, {
    method: 'POST',
    headers: { ...bearer, 'content-type': 'application/json' },
    body: JSON.stringify({ session: { model: 'gpt-realtime' } }),
  })
  const { value } = (await minted.json()) as { value: string }
  const client = await openRealtime(`${gate.url}/v1/realtime`, {
    headers: { authorization: `Bearer ${value}` },
  })
  await client.event('session.created')
  upstream.messages.length = 0
  client.socket.send('{"type":"session.update","session":{"model":"gpt-realtime-2"}}')
  expect((await client.event('error'))['error']).toMatchObject({ code: 'model_not_found' })
  client.socket.send('{"type":"session.update","session":{"model":"gpt-realtime","Model":"b"}}')
  expect((await client.event('error'))['error']).toMatchObject({ code: 'ambiguous_body' })
  client.socket.send('{"type":"echo"}')
  await client.event('echo')
  expect(upstream.messages).toEqual(['{"type":"echo"}'])
  client.socket.close()
})

describe('a handshake', () => {
  test('whose query other servers could read as two models goes out as one', async () => {
    const client = await openRealtime(`${gate.url}/v1/realtime?model=gpt;model=o1`, {
      headers: bearer,
    })
    expect(upstream.handshakes.at(-1)?.target).toBe('/v1/realtime?model=gpt%3Bmodel%3Do1')
    client.socket.close()
  })

  test('sends no Idempotency-Key, which would be the same for two callers', async () => {
    const client = await openRealtime(`${gate.url}/v1/realtime?model=gpt-realtime`, {
      headers: { ...bearer, 'idempotency-key': 'one' },
    })
    expect(upstream.handshakes.at(-1)?.headers.get('idempotency-key')).toBe(null)
    client.socket.close()
  })

  test('with its credential as the only sub-protocol is answered without it', async () => {
    const got = await wire(
      [
        'GET /v1/realtime?model=gpt-realtime HTTP/1.1',
        ...HANDSHAKE,
        `Sec-WebSocket-Protocol: openai-insecure-api-key.${scene.token}`,
        '\r\n',
      ].join('\r\n'),
      'session.created',
    )
    expect(got).toStartWith('HTTP/1.1 101')
    expect(got.toLowerCase()).not.toContain('sec-websocket-protocol')
    expect(got).not.toContain(scene.token.slice(-20))
  })

  test('with a request behind it in the same write answers no second one, and keeps nothing', async () => {
    const got = await wire(
      [
        'GET /v1/realtime?model=gpt-realtime HTTP/1.1',
        ...HANDSHAKE,
        `Authorization: ${bearer.authorization}`,
        'X-Request-Id: smuggled',
        '',
        'GET /health HTTP/1.1',
        'Host: gate.test',
        '\r\n',
      ].join('\r\n'),
      /session\.created|\r\n\r\n/,
    )
    expect(got.split('HTTP/1.1 ').length).toBeLessThan(3)
    await ended('smuggled')
    expect((await fetch(`${gate.url}/health`)).status).toBe(200)
  })
})
