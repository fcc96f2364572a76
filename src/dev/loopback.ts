// What the stand-ins share: a server on a free loopback port, a bounded body, and the one key that they
// accept.

import { createHash, timingSafeEqual } from 'node:crypto'
// Not Bun.serve, which cannot send the trailers that carry a stream's usage.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'

export interface Loopback {
  readonly url: string
  close(): Promise<void>
}

export async function listenOnLoopback(
  serve: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
  upgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => void,
): Promise<Loopback> {
  const server = createServer((request, response) => {
    // Only the connection itself can still fail here, and then nobody can be told.
    serve(request, response).catch(() => response.destroy())
  })
  if (upgrade) server.on('upgrade', upgrade)
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

/** A refusal that is sent while the body still arrives is lost with the connection. */
const MAX_LINGER_MS = 1000

/**
 * The body in the pieces in which it arrived; nothing if it is longer than the bound. Then it returns
 * when the body has ended and the excess was dropped, or after a short wait.
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

/** Compares digests, so that the time reveals neither content nor length. */
export function keyMatcher(apiKey: string): (given: string) => boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  const expected = digest(apiKey)
  return (given) => timingSafeEqual(digest(given), expected)
}
