// What of Bun's sockets is used though nothing documents it: tried before it is used, and done without
// where it is not what it was.

import { expect, test } from 'bun:test'
import net, { type AddressInfo, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { destinationOf } from '../../src/http1/destination.ts'
import { ALL_HANDLES, tryHandles } from '../../src/http1/handles.ts'
import { transport } from '../../src/http1/transport.ts'

interface Below {
  write(bytes: Uint8Array, offset: number, length: number): unknown
}

/** Sockets of another runtime, once they are connected. */
const changed =
  (change: (socket: Socket & { _handle: Below }) => void) =>
  (port: number): Socket => {
    const socket = net.connect(port, '127.0.0.1')
    socket.prependOnceListener('connect', () => change(socket as Socket & { _handle: Below }))
    return socket
  }

test('this Bun has both', async () => {
  expect(await tryHandles()).toEqual({ push: true, write: true })
})

test.each<readonly [string, (below: Below, write: Below['write']) => void]>([
  ['is gone', (below) => Object.assign(below, { write: undefined })],
  [
    'says something else than how much was taken',
    (below, write) => (below.write = (...words) => (write(...words), true)),
  ],
  [
    'takes less than it says',
    (below, write) => (below.write = (b, o, n) => (write(b, o, n - 1), n)),
  ],
  ['begins elsewhere', (below, write) => (below.write = (b, _, n) => write(b, 0, n))],
  ['takes nothing', (below) => (below.write = () => 0)],
])('a `_handle.write` that %s is not used', async (_, change) => {
  const open = changed(({ _handle: below }) => change(below, below.write.bind(below)))
  expect(await tryHandles(open)).toEqual({ push: true, write: false })
})

test('sockets without a handle are written to in public', async () => {
  const open = changed((socket) => Object.defineProperty(socket, '_handle', { value: null }))
  expect(await tryHandles(open)).toMatchObject({ write: false })
})

test('a `push` that chunks do not come by is not used', async () => {
  const open = (port: number): Socket => {
    const socket = net.connect(port, '127.0.0.1')
    // Whatever is put there, chunks go where the runtime sends them.
    Object.defineProperty(socket, 'push', { get: () => Duplex.prototype.push, set: () => {} })
    return socket
  }
  expect(await tryHandles(open)).toEqual({ push: false, write: true })
})

test('if nothing can be connected, the handles stay unused, and nothing throws', async () => {
  const open = (): Socket => net.connect(1, '127.0.0.1')
  expect(await tryHandles(open)).toEqual({ push: false, write: false })
})

test('connections from before the test are not reused', async () => {
  let connections = 0
  const server = net.createServer((socket) => {
    connections += 1
    socket.on('error', () => {})
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  const wire = transport()
  const to = destinationOf(new URL(`http://127.0.0.1:${port}/`))
  const timeouts = { connectMs: 5000, headersMs: 5000, bodyMs: 5000 }
  const ask = async (meanwhile = (): void => {}): Promise<string> => {
    const head = await wire.send({ method: 'GET', to, headers: {}, body: undefined }, timeouts).head
    if (!head.ok) throw new Error(head.reason)
    meanwhile()
    const { promise, resolve } = Promise.withResolvers<string>()
    let text = ''
    head.body.listen({
      onData: (chunk) => void (text += Buffer.from(chunk).toString()),
      onEnd: (end) => resolve(`${end} ${text}`),
    })
    return promise
  }
  try {
    expect([await ask(), await ask(), connections]).toEqual(['complete ok', 'complete ok', 1])
    wire.use(ALL_HANDLES)
    expect([await ask(), await ask(), connections]).toEqual(['complete ok', 'complete ok', 2])
    // Of one that is under way, the answer is still read, and the connection not kept.
    expect(await ask(() => wire.use({ ...ALL_HANDLES }))).toBe('complete ok')
    expect([await ask(), connections]).toEqual(['complete ok', 3])
  } finally {
    wire.close()
    server.close()
  }
})
