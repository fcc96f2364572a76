// A request that is sent in one piece arrives in one piece, however little of it the kernel takes.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import net, { type AddressInfo, type Server, type Socket } from 'node:net'
import { until } from '../support/binary.ts'
import { type Carried, Connection } from '../../src/http1/connection.ts'
import { ALL_HANDLES } from '../../src/http1/handles.ts'

/** Of Bun's own socket below that of node:net. */
interface Below {
  write(bytes: Uint8Array, offset: number, length: number): number
}

const sockets: Socket[] = []
const received: Buffer[] = []
let server: Server
beforeAll(async () => {
  server = net.createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => received.push(chunk))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
})
afterAll(() => {
  for (const socket of sockets) socket.destroy()
  server.close()
})

/** A connection of which the kernel takes as much as `takes` says of what it is given. */
async function connected(takes?: (bytes: number) => number) {
  received.length = 0
  const socket = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
  const gone: (string | undefined)[] = []
  const connection = new Connection('x', ALL_HANDLES)
  connection.own(socket, 'connect')
  const carried: Carried = {
    onConnected() {},
    onRead() {},
    onDrain() {},
    onGone: (code) => void gone.push(code),
    onHead() {},
    onData() {},
    onEnd() {},
    onInvalid() {},
  }
  connection.carry(carried)
  await until(() => connection.connected)
  const { _handle: below } = socket as unknown as { _handle: Below }
  const write = below.write.bind(below)
  let asked = 0
  below.write = (bytes, offset, length) => {
    asked += 1
    const taken = takes ? takes(length) : length
    return taken <= 0 ? taken : write(bytes, offset, taken)
  }
  return { connection, gone, asked: () => asked }
}

const HEAD = 'POST /x HTTP/1.1\r\nx-name: \xe9\r\ncontent-length: 1000\r\n\r\n'
const BODY = new Uint8Array(1000).map((_, at) => at % 251)
const REQUEST = Buffer.concat([Buffer.from(HEAD, 'latin1'), BODY])

describe('a request of which the kernel takes', () => {
  const TAKES: Readonly<Record<string, (bytes: number) => number>> = {
    all: (bytes) => bytes,
    'all but a byte': (bytes) => bytes - 1,
    'its head': () => HEAD.length,
    'a byte': () => 1,
    nothing: () => 0,
    'nothing, since it is closed for writing': () => -1,
  }
  for (const [name, takes] of Object.entries(TAKES)) {
    test(name, async () => {
      const { connection, asked } = await connected(takes)
      connection.send(HEAD, BODY)
      // What waits is not what the next one is put together in.
      connection.send(HEAD.replace('/x', '/y'), BODY.toReversed())
      const next = Buffer.concat([
        Buffer.from(HEAD.replace('/x', '/y'), 'latin1'),
        BODY.toReversed(),
      ])
      await until(() => Buffer.concat(received).length >= 2 * REQUEST.length)
      expect(Buffer.concat(received)).toEqual(Buffer.concat([REQUEST, next]))
      expect(asked()).toBeGreaterThan(0)
    })
  }
})

test('bytes that wait for the kernel stay ahead of later ones', async () => {
  const { connection, asked } = await connected()
  sockets.at(-1)?.pause()
  const before = new Uint8Array(16 * 1_048_576).fill(120)
  connection.write(before)
  expect(connection.flushed).toBe(false)
  connection.send(HEAD, BODY)
  connection.send('GET / HTTP/1.1\r\n\r\n', undefined)
  expect(asked()).toBe(0)
  sockets.at(-1)?.resume()
  const expected = Buffer.concat([before, REQUEST, Buffer.from('GET / HTTP/1.1\r\n\r\n')])
  await until(() => received.reduce((sum, { length }) => sum + length, 0) >= expected.length)
  expect(Bun.hash(Buffer.concat(received))).toBe(Bun.hash(expected))
})

test('a write to a closed connection sends nothing, and reports it', async () => {
  const { connection, gone } = await connected()
  sockets.at(-1)?.resetAndDestroy()
  await until(() => gone.length === 1)
  connection.send(HEAD, BODY)
  expect(connection.usable).toBe(false)
  expect(received).toEqual([])
})
