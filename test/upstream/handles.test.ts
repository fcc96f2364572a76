// What of Bun's sockets is used though nothing documents it: tried before it is used, and done without
// where it is not what it was.

import { expect, test } from 'bun:test'
import net, { type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { tryHandles } from '../../src/http1/handles.ts'

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

test('where nothing can be connected, nothing is used, and nothing is thrown', async () => {
  const open = (): Socket => net.connect(1, '127.0.0.1')
  expect(await tryHandles(open)).toEqual({ push: false, write: false })
})
