// An upstream of a test's own: records every connection and request that reaches it (the `sink` of
// the attacks), and answers as the test says. node:http, because Bun.serve cannot send trailers.

import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly rawHeaders: readonly string[]
  readonly trailers: IncomingMessage['trailers']
  readonly body: Buffer
}

export type Respond = (
  request: IncomingMessage,
  response: ServerResponse,
  body: Buffer,
) => void | Promise<void>

export interface Upstream {
  readonly url: string
  readonly port: number
  readonly seen: Seen[]
  /** Connections ever opened, and open now. */
  readonly connections: { opened: number; open: number }
  /** Replaces the answer; the first is 200 `{"ok":true}`. */
  respond(with_: Respond): void
  close(): Promise<void>
}

/** `eager`: respond on the request's headers, before its body has arrived (body is then empty). */
export async function startUpstream({ eager = false } = {}): Promise<Upstream> {
  let respond: Respond = (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}')
  }
  const seen: Seen[] = []
  const connections = { opened: 0, open: 0 }
  // Five seconds by default: a busy machine may reuse a connection just as it is closed.
  const keepAliveTimeout = 120_000
  const server = http.createServer({ keepAliveTimeout }, (request, response) => {
    const chunks: Buffer[] = []
    const record = (): Buffer => {
      const { method = '', url = '', headers, rawHeaders, trailers } = request
      const body = Buffer.concat(chunks)
      seen.push({ method, url, headers, rawHeaders, trailers, body })
      return body
    }
    response.on('error', () => {})
    request.on('error', () => {})
    if (eager) {
      record()
      request.resume()
      void respond(request, response, Buffer.alloc(0))
      return
    }
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => void respond(request, response, record()))
  })
  server.on('connection', (socket) => {
    connections.opened += 1
    connections.open += 1
    socket.on('close', () => {
      connections.open -= 1
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    seen,
    connections,
    respond(with_) {
      respond = with_
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
