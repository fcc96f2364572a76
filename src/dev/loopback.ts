// What the embedded upstreams share: a server on a free port of loopback, a body within bounds, and
// the one key that they take.

import { createHash, timingSafeEqual } from 'node:crypto'
// Not Bun.serve, which cannot send the trailers that carry a stream's usage.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Loopback {
  readonly url: string
  close(): Promise<void>
}

export async function listenOnLoopback(
  serve: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
): Promise<Loopback> {
  const server = createServer((request, response) => {
    // What can still fail here is the connection itself, and then there is nobody to tell.
    serve(request, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** A refusal that goes out under a body still arriving is lost with the connection. */
const MAX_LINGER_MS = 1000

/**
 * The body in the pieces it came in, or nothing when it is over the bound: then when it has ended, and
 * what it had more was dropped, or a little later.
 */
export async function readBody(
  request: IncomingMessage,
  maxBytes: number,
): Promise<Buffer[] | undefined> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) return undefined
  return new Promise((resolve, reject) => {
    let chunks: Buffer[] | undefined = []
    let bodyBytes = 0
    request.on('data', (chunk: Buffer) => {
      bodyBytes += chunk.byteLength
      if (bodyBytes <= maxBytes) {
        chunks?.push(chunk)
      } else if (chunks) {
        chunks = undefined
        setTimeout(resolve, MAX_LINGER_MS, undefined)
      }
    })
    request.once('end', () => resolve(chunks))
    request.once('error', reject)
  })
}

/** Compared as digests, so that neither the content nor the length shows in the time it takes. */
export function keyMatcher(apiKey: string): (given: string) => boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  const expected = digest(apiKey)
  return (given) => timingSafeEqual(digest(given), expected)
}
