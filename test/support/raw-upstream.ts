// An upstream, or a proxy, that answers with bytes: for what no HTTP library would let one send.

import net, { type AddressInfo } from 'node:net'

export interface RawUpstream {
  readonly url: string
  readonly port: number
  /** What came in on each connection ever opened, in latin1. */
  readonly connections: string[]
  /** Sent, and the connection ended, as soon as a request's headers are there. */
  answer(bytes: string | Uint8Array): void
  close(): Promise<void>
}

export async function startRawUpstream(): Promise<RawUpstream> {
  let reply: string | Uint8Array = ''
  const connections: string[] = []
  const open = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    const index = connections.push('') - 1
    open.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => open.delete(socket))
    socket.on('data', (chunk: Buffer) => {
      const before = connections[index] ?? ''
      const now = before + chunk.toString('latin1')
      connections[index] = now
      if (now.includes('\r\n\r\n') && !before.includes('\r\n\r\n')) socket.end(reply)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    connections,
    answer(bytes) {
      reply = bytes
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of open) socket.destroy()
      }),
  }
}
