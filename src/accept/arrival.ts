// A request as it arrives: its id, clock and target. Every response and every log line uses it, even for
// a request without a route.

import { type Exchange, exchangeOf } from '../exchange.ts'
import { instant } from '../turn/instant.ts'
import type { Dialect, Refusal } from '../refusal.ts'
import { isSilent } from './probes.ts'
import { probeTarget, type Target, targetOf } from './target.ts'

/** What we use of Bun's server. */
export interface ListeningServer {
  requestIP(request: Request): { readonly address: string; readonly port: number } | null
  timeout(request: Request, seconds: number): void
}

export interface Arrival {
  readonly exchange: Exchange
  readonly target: Target
  /** The Host is missing or malformed, so the request cannot be routed. */
  readonly misaddressed: boolean
  /** No Host at all, as HTTP/1.0 health checks send it. */
  readonly hostless: boolean
  /** Not `server` of Elysia's context: Elysia defines that property on each request that uses it. */
  readonly server: ListeningServer | null
  /** How long its connection may stay idle after the response; 0 means forever. */
  idleSeconds: number
  /** The body is chunked: unless the caller is admitted, the connection ends with the response. */
  closing: boolean
  /** Set by a group whose refusals are not JSON, for what a schema refuses. */
  refuse: ((refusal: Refusal) => Response) | undefined
}

/** A well-formed id from the client is kept: it ends up in logs, here and elsewhere. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/
const NOWHERE: Target = { path: '-', search: '' }
/** For every response. Copying them costs half of building them. */
const HEADERS = new Headers({ 'x-request-id': '', 'x-protocol-version': '1' })

export function arrive(request: Request, server: ListeningServer | null): Arrival {
  const { method, url, headers: sent } = request
  const host = sent.get('host')
  const found = targetOf(url, host) ?? probeTarget(url, host, isSilent)
  const target = found ?? NOWHERE
  const given = sent.get('x-request-id')
  const requestId = given !== null && REQUEST_ID.test(given) ? given : Bun.randomUUIDv7()
  const headers = new Headers(HEADERS)
  headers.set('x-request-id', requestId)
  const exchange = exchangeOf({
    requestId,
    at: instant(),
    method,
    route: '-',
    dialect: 'openai',
    silent: isSilent(target.path),
    headers,
  })
  return {
    exchange,
    target,
    misaddressed: found === undefined,
    hostless: host === null,
    server,
    idleSeconds: 0,
    closing: false,
    refuse: undefined,
  }
}

/** Records the request's route, and the dialect in which it is answered. */
export function routed(exchange: Exchange, pattern: string, dialect: Dialect): void {
  exchange.route = pattern
  exchange.dialect = dialect
  // Anthropic's clients report `request-id`. A relayed response has the upstream's instead.
  if (dialect === 'anthropic') exchange.headers.set('request-id', exchange.requestId)
}
