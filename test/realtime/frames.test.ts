// Random frames through the gate, in fragments and in whatever pieces: the other side gets the same messages.

import { afterAll, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import net, { type AddressInfo, type Socket } from 'node:net'
import { until } from '../support/binary.ts'
import { type Message, randomFrames, serverFrame } from '../support/frames.ts'
import { howMany } from '../support/long.ts'
import { seeded } from '../support/random.ts'
import { realtimeScene } from '../support/realtime-scene.ts'
import { startRealtimeUpstream } from '../support/realtime-upstream.ts'
import { piecesOf } from '../upstream/pieces.ts'

const scene = await realtimeScene()
const sockets: Socket[] = []
/** A server that opens every WebSocket, and leaves the rest to its test. */
const server = net.createServer((socket) => {
  socket.once('data', (head) => {
    const key = /sec-websocket-key: (\S+)/i.exec(head.toString('latin1'))?.[1] ?? ''
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept.digest('base64')}\r\n\r\n`,
    )
    socket.on('data', () => {})
    sockets.push(socket)
  })
  socket.on('error', () => {})
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const rawUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
const upstream = startRealtimeUpstream()
const down = await scene.startGate(rawUrl)
const up = await scene.startGate(upstream.url)
afterAll(async () => {
  await scene.close()
  await upstream.stop()
  for (const each of sockets) each.destroy()
  server.close()
})

async function write(socket: Socket, pieces: readonly Uint8Array[]): Promise<void> {
  for (const [at, piece] of pieces.entries()) {
    socket.write(piece)
    if (at % 50 === 0) await new Promise(setImmediate)
  }
}

/** Only messages: how these and control frames are mixed, no WebSocket API tells. */
const carried = (messages: readonly Message[]): Message[] =>
  messages.filter(([kind]) => kind === 'text' || kind === 'binary')
const isSame = (a: readonly Message[], b: readonly Message[]): boolean =>
  a.length === b.length && a.every(([kind, text], at) => kind === b[at]?.[0] && text === b[at][1])
const asMessage = (message: string | Buffer): Message =>
  typeof message === 'string'
    ? ['text', Buffer.from(message).toString('latin1')]
    : ['binary', message.toString('latin1')]

test(
  'from the upstream to the client',
  seeded(async (random) => {
    const client = await down.open('down')
    const { bytes, messages } = randomFrames(random, howMany(1500, 10_000))
    await write(sockets.at(-1) as Socket, piecesOf(bytes, random))
    sockets.at(-1)?.write(serverFrame(8, Buffer.from([0x0f, 0xa0])))
    expect((await client.closed)[0]).toBe(4000)
    expect(isSame(client.messages.map(asMessage), carried(messages))).toBe(true)
    const pings = messages.filter(([kind]) => kind === 'ping').length
    expect(client.pings.length).toBe(pings)
  }),
)

test(
  'from the client to the upstream',
  seeded(async (random) => {
    upstream.messages.length = 0
    const { bytes, messages } = randomFrames(random, howMany(1500, 10_000), true)
    const socket = net.connect(up.gate.port, '127.0.0.1')
    const opened = Promise.withResolvers<void>()
    socket.once('data', () => opened.resolve())
    socket.write(
      `GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${scene.token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
    )
    await opened.promise
    socket.on('data', () => {})
    await write(socket, piecesOf(bytes, random))
    const wanted = carried(messages)
    await until(() => upstream.messages.length === wanted.length)
    expect(isSame(upstream.messages.map(asMessage), wanted)).toBe(true)
    socket.destroy()
    await until(() => upstream.sockets.size === 0)
  }),
)
