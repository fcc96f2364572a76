// A key set's server, of a test's own, and sources that ask it.

import pino from 'pino'
import { type JwksOptions, jwksSource, type KeySource } from '../../src/admit/jwks.ts'
import type { Logger } from '../../src/log.ts'
import { asking } from '../../src/http1/ask.ts'
import { transport } from '../../src/http1/transport.ts'
import { type Respond, startUpstream } from './upstream.ts'

export interface KeyServer {
  readonly url: URL
  /** Requests so far. */
  readonly asked: number
  serve(keys: readonly unknown[]): void
  respond(with_: Respond): void
  close(): Promise<void>
}

export async function keyServer(keys: readonly unknown[] = []): Promise<KeyServer> {
  const server = await startUpstream()
  const serve = (keys: readonly unknown[]): void => {
    const body = JSON.stringify({ keys })
    server.respond((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(body)
    })
  }
  serve(keys)
  return {
    url: new URL(`${server.url}/jwks.json`),
    get asked() {
      return server.seen.length
    },
    serve,
    respond: server.respond,
    close: server.close,
  }
}

export interface Collected {
  readonly log: Logger
  readonly text: () => string
}

export function collector(): Collected {
  let text = ''
  const stream = {
    write(line: string): void {
      text += line
    },
  }
  return { log: pino({ level: 'debug' }, stream), text: () => text }
}

export const silent: Logger = pino({ level: 'silent' })

/** `now`s at which an unknown `kid` may ask again: the source stamps the real monotonic clock. */
export const afterCooldown = (): number => performance.now() + 30_001

/** As the gate asks where nothing is configured. */
export const ask = asking(transport(), { connectMs: 5000, headersMs: 5000, bodyMs: 5000 })

export function source(
  { url }: KeyServer,
  more: Partial<Omit<JwksOptions, 'url'>> = {},
): KeySource {
  return jwksSource({ ask, url, refreshMs: 900_000, maxStaleMs: 86_400_000, log: silent, ...more })
}
