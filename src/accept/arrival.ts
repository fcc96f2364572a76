// A request the moment it arrives: its name, its clock, its target. Everything that follows, the
// refusals of a request that has no route included, is told and logged through this.

import { type Exchange, exchangeOf } from '../exchange.ts'
import { instant } from '../turn/instant.ts'
import type { Dialect, Refusal } from '../refusal.ts'
import { isSilent } from './probes.ts'
import { probeTarget, type Target, targetOf } from './target.ts'

/** What is asked of the socket behind a request: Bun's server. */
export interface ListeningServer {
  requestIP(request: Request): { readonly address: string; readonly port: number } | null
  timeout(request: Request, seconds: number): void
}

export interface Arrival {
  readonly exchange: Exchange
  readonly target: Target
  /** The Host is missing or malformed, so that nothing can be routed by it. */
  readonly misaddressed: boolean
  /** A health check of HTTP/1.0 without a Host. */
  readonly hostless: boolean
  /** Not Elysia's `server`, which a hook that names it has defined anew for each request. */
  readonly server: ListeningServer | null
  /** How long its connection may stand idle after the answer; 0 is for ever. */
  idleSeconds: number
  /** Its connection ends with the answer, unless somebody is admitted: its body comes in chunks. */
  closing: boolean
  /** Where a group tells refusals otherwise than in JSON: what a schema refuses is told through it. */
  refuse: ((refusal: Refusal) => Response) | undefined
}

/** A client's own id is kept where it is one: it ends up in logs, here and elsewhere. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/
const NOWHERE: Target = { path: '-', search: '' }
/** On every answer. To copy them costs half of what it costs to make them anew. */
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

/** From now on it is of this route, and is answered in these words. */
export function routed(exchange: Exchange, pattern: string, dialect: Dialect): void {
  exchange.route = pattern
  exchange.dialect = dialect
  // Anthropic's clients report `request-id`; an upstream's own takes the place of ours.
  if (dialect === 'anthropic') exchange.headers.set('request-id', exchange.requestId)
}
