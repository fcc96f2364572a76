// A forward proxy of a test's own: CONNECT alone, to where the test says a name leads, with or without
// credentials and TLS. It keeps what it was asked.

import net, { type AddressInfo, type Socket } from 'node:net'
import tls from 'node:tls'

export interface ConnectProxy {
  readonly url: string
  readonly port: number
  /** `host:port`, of each CONNECT. */
  readonly asked: string[]
  /** All that was said before a tunnel stood, in latin1. */
  readonly heads: string[]
  close(): Promise<void>
}

export interface ConnectProxyOptions {
  /** `user:password`. */
  readonly credentials?: string
  readonly tls?: { readonly cert: string; readonly key: string }
  /** Where all names lead. */
  readonly to?: { readonly host: string; readonly port: number }
  /** Said instead of letting anything through. */
  readonly refuse?: string
}

export async function startConnectProxy(options: ConnectProxyOptions = {}): Promise<ConnectProxy> {
  const asked: string[] = []
  const heads: string[] = []
  const open = new Set<Socket>()
  const expected =
    options.credentials && `Basic ${Buffer.from(options.credentials).toString('base64')}`

  const serve = (socket: Socket): void => {
    open.add(socket)
    socket.on('error', () => {}).on('close', () => open.delete(socket))
    let head = ''
    const onData = (chunk: Buffer): void => {
      head += chunk.toString('latin1')
      if (!head.includes('\r\n\r\n')) return
      socket.off('data', onData)
      heads.push(head)
      const [, host = '', port = ''] = /^CONNECT \[?([^\s\]]+)\]?:(\d+) HTTP/.exec(head) ?? []
      asked.push(`${host}:${port}`)
      const sent = /^proxy-authorization: (.*)\r$/im.exec(head)?.[1]
      if (options.refuse !== undefined) return void socket.end(options.refuse)
      if (expected && sent !== expected) {
        return void socket.end('HTTP/1.1 407 Authentication Required\r\nContent-Length: 0\r\n\r\n')
      }
      const to = options.to ?? { host, port: Number(port) }
      const other = net.connect(to, () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
        socket.pipe(other).pipe(socket)
      })
      open.add(other)
      other.on('error', () => socket.destroy()).on('close', () => open.delete(other))
    }
    socket.on('data', onData)
  }
  const server = options.tls ? tls.createServer(options.tls, serve) : net.createServer(serve)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    port,
    asked,
    heads,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of open) socket.destroy()
      }),
  }
}
