// The two undocumented parts of Bun's sockets that this client uses, each tried once on a connection to
// this process itself. If one does not behave as in the Bun that this was written for, connections use
// the public API, 'data' events and `write`, at a fifth more CPU.

import net, { type AddressInfo, type Socket } from 'node:net'
import { Duplex } from 'node:stream'

export interface SocketHandles {
  /** A socket passes each chunk to its own `push` method, so that overriding it takes the chunk. */
  readonly push: boolean
  /** `_handle.write(bytes, offset, length)` returns how many bytes the kernel took, and buffers none. */
  readonly write: boolean
}

/** Bun's own socket below that of node:net. */
export interface NativeSocket {
  write(bytes: Uint8Array, offset: number, length: number): number
}

export const ALL_HANDLES: SocketHandles = { push: true, write: true }
export const NO_HANDLES: SocketHandles = { push: false, write: false }

const TRY_MS = 1000
const BEFORE = 3
const SENT = Buffer.from('---what is sent---')
const EXPECTED = SENT.toString('latin1').slice(BEFORE, -BEFORE)

type Open = (port: number) => Socket

const connectTo: Open = (port) => net.connect(port, '127.0.0.1')

/** Never rejects: what cannot be tried is not used. */
export async function tryHandles(open: Open = connectTo): Promise<SocketHandles> {
  const peers: Socket[] = []
  const arrived = Promise.withResolvers<string>()
  const server = net.createServer((peer) => {
    let text = ''
    peers.push(peer)
    peer.on('error', () => {})
    peer.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (text.length >= EXPECTED.length) arrived.resolve(text)
    })
    peer.write(EXPECTED)
  })
  const sockets: Socket[] = []
  const opened = (port: number): Socket => {
    const socket = open(port)
    socket.on('error', () => {})
    sockets.push(socket)
    return socket
  }
  const timeout = Promise.withResolvers<false>()
  const timer = setTimeout(() => timeout.resolve(false), TRY_MS)
  try {
    const port = await listening(server)
    const [push, write] = await Promise.all([
      Promise.race([pushes(opened(port)), timeout.promise]),
      Promise.race([writes(opened(port), arrived.promise), timeout.promise]),
    ])
    return { push, write }
  } catch {
    return NO_HANDLES
  } finally {
    clearTimeout(timer)
    for (const socket of [...sockets, ...peers]) socket.destroy()
    server.close()
  }
}

async function listening(server: net.Server): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen(0, '127.0.0.1', resolve)
  await promise
  return (server.address() as AddressInfo).port
}

async function pushes(socket: Socket): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  let text = ''
  socket.push = (chunk: Buffer | null) => {
    if (chunk === null) return Duplex.prototype.push.call(socket, chunk)
    text += chunk.toString('latin1')
    if (text.length >= EXPECTED.length) resolve(text === EXPECTED)
    return true
  }
  socket.on('data', () => resolve(false))
  return promise
}

async function writes(socket: Socket, arrived: Promise<string>): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<void>()
  socket.once('connect', resolve)
  await promise
  const { _handle: handle } = socket as { readonly _handle?: NativeSocket | null }
  if (typeof handle?.write !== 'function') return false
  const taken: unknown = handle.write(SENT, BEFORE, EXPECTED.length)
  return taken === EXPECTED.length && (await arrived) === EXPECTED
}
