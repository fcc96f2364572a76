// An upstream of bytes: hands each request to the test with its socket, so that an answer can be
// framed, cut off and left unfinished in ways that no HTTP library would let one.

import net, { type AddressInfo, type Socket } from 'node:net'

export interface RawRequest {
  readonly path: string
  readonly query: URLSearchParams
  readonly head: string
  readonly body: Buffer
  readonly socket: Socket
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>
}

export interface RawUpstream {
  readonly url: string
  readonly port: number
  readonly connections: { opened: number; open: number }
  close(): Promise<void>
}

export interface RawOptions {
  /** Answers on the head; the body stays on the socket, which is paused. */
  readonly early?: boolean
}

export async function rawUpstream(
  answer: (request: RawRequest) => void,
  { early = false }: RawOptions = {},
): Promise<RawUpstream> {
  const sockets = new Set<Socket>()
  const connections = { opened: 0, open: 0 }
  const server = net.createServer((socket) => {
    sockets.add(socket)
    connections.opened += 1
    connections.open += 1
    const { promise: closed, resolve } = Promise.withResolvers<void>()
    socket.on('error', () => {})
    socket.once('close', () => {
      sockets.delete(socket)
      connections.open -= 1
      resolve()
    })
    socket.setNoDelay(true)
    let pending = Buffer.alloc(0)
    const read = (bytes: Buffer): void => {
      pending = Buffer.concat([pending, bytes])
      const end = pending.indexOf('\r\n\r\n')
      if (end === -1) return
      const head = pending.toString('latin1', 0, end)
      const body = bodyOf(head, pending.subarray(end + 4))
      if (!body && !early) return
      pending = Buffer.alloc(0)
      const url = new URL(head.split(' ', 2)[1] ?? '/', 'http://upstream')
      if (early) {
        socket.off('data', read)
        socket.pause()
      }
      answer({
        path: url.pathname,
        query: url.searchParams,
        head,
        body: body ?? Buffer.alloc(0),
        socket,
        closed,
      })
    }
    socket.on('data', read)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    connections,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

/** Undefined where it has not all come; bodies here are short, one request at a time. */
function bodyOf(head: string, bytes: Buffer): Buffer | undefined {
  const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1]
  if (length !== undefined) return bytes.byteLength >= Number(length) ? bytes : undefined
  if (!/\r\ntransfer-encoding: chunked/i.test(head)) return bytes
  return bytes.subarray(-5).toString('latin1') === '0\r\n\r\n' ? bytes : undefined
}

export const SSE_HEAD =
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'

export function chunk(text: string | Uint8Array): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([Buffer.from(`${bytes.byteLength.toString(16)}\r\n`), bytes, CRLF])
}

export const LAST_CHUNK = '0\r\n\r\n'
const CRLF = Buffer.from('\r\n')

/** `data: 17 …`, padded to `bytes`. */
export function event(number: number, bytes = 60): string {
  return `${`data: ${number} `.padEnd(bytes - 2, '.')}\n\n`
}

/** The numbers of whole events, in the order in which they came. */
export function eventNumbers(body: Buffer | string): number[] {
  return [...body.toString().matchAll(/data: (\d+) \.*\n\n/g)].map(([, number]) => Number(number))
}

export function numbersTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}
