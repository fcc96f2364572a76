// A request the moment it arrives: its name, its clock, its route by our own table. Everything that
// follows, the refusals of a request that has no route included, is told and logged through this.

import type { Admitted } from '../admit/admitted.ts'
import { type Exchange, exchangeOf } from '../exchange.ts'
import { instant } from '../turn/instant.ts'
import { type Dialect, type Refusal, refused } from '../refusal.ts'
import { dialectOf } from './dialect.ts'
import { dialectOfPath, noSuchRoute, routeMeant } from './meant.ts'
import type { FindRoute, Found } from './route-finder.ts'
import { isSilent, type Route } from './routes.ts'
import { malformedTarget, probeTarget, type Target, targetOf } from './target.ts'

export interface Arrival {
  readonly exchange: Exchange
  readonly target: Target
  /** A health check of HTTP/1.0 without a Host. */
  readonly hostless: boolean
  /** Undefined only where there is a refusal. */
  readonly route: Route | undefined
  /** Why this request has no route; the others go on. */
  readonly refusal: Refusal | undefined
  /** How long its connection may stand idle after the answer; 0 is for ever. */
  idleSeconds: number
  /** Its connection ends with the answer, unless somebody is admitted: its body comes in chunks. */
  closing: boolean
  /** Once the door of the protected group was passed. */
  admitted: Admitted | undefined
}

/** A client's own id is kept where it is one: it ends up in logs, here and elsewhere. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/
/** Well under the 32 KiB that URL and headers may have together (gate/header-limit.ts). */
const MAX_TARGET_LENGTH = 8192
const NONE: readonly Route[] = []
const NOWHERE: Target = { path: '-', search: '' }
/** On every answer. To copy them costs half of what it costs to make them anew. */
const HEADERS = new Headers({ 'x-request-id': '', 'x-protocol-version': '1' })
/** Anthropic's clients report `request-id`; an upstream's own takes the place of ours. */
const ANTHROPIC_HEADERS = new Headers({
  'x-request-id': '',
  'x-protocol-version': '1',
  'request-id': '',
})

export function arrive(request: Request, find: FindRoute): Arrival {
  const { method, headers: sent } = request
  const host = sent.get('host')
  const found = targetOf(request.url, host) ?? probeTarget(request.url, host, isSilent)
  const target = found ?? NOWHERE
  const known = find(target.path)
  const route = chosen(known?.routes(method) ?? NONE, sent)
  const given = sent.get('x-request-id')
  const requestId = given !== null && REQUEST_ID.test(given) ? given : Bun.randomUUIDv7()
  const meant = known ? undefined : routeMeant(target.path, find)
  const dialect = route?.dialect ?? known?.dialect ?? dialectHere(sent, target.path, meant)
  const headers = new Headers(dialect === 'anthropic' ? ANTHROPIC_HEADERS : HEADERS)
  headers.set('x-request-id', requestId)
  if (dialect === 'anthropic') headers.set('request-id', requestId)
  const exchange = exchangeOf({
    requestId,
    at: instant(),
    method,
    route: known?.pattern ?? '-',
    dialect,
    silent: isSilent(target.path),
    headers,
  })
  const refusal = routeRefusal(found, known, method, meant && noSuchRoute(meant, dialectOf(sent)))
  return {
    exchange,
    target,
    hostless: host === null,
    route,
    refusal,
    idleSeconds: 0,
    closing: false,
    admitted: undefined,
  }
}

/** Where two dialects share a path, the request says which it speaks. */
function chosen(routes: readonly Route[], headers: Headers): Route | undefined {
  if (routes.length < 2) return routes[0]
  const isAnthropic = headers.has('anthropic-version') || headers.has('x-api-key')
  const dialect = isAnthropic ? 'anthropic' : 'openai'
  return routes.find((route) => route.dialect === dialect)
}

/** Of a request that has no route. */
function dialectHere(headers: Headers, path: string, meant: Found | undefined): Dialect {
  return dialectOf(headers) ?? meant?.dialect ?? dialectOfPath(path) ?? 'openai'
}

function routeRefusal(
  target: Target | undefined,
  known: Found | undefined,
  method: string,
  meant: string | undefined,
): Refusal | undefined {
  // What CONNECT names is an authority and no path (RFC 9110 §9.3.6), so that goes first.
  if (method === 'CONNECT') return refused('method_not_allowed', { allow: 'GET, POST' })
  if (!target) return refused('bad_host')
  if (target.path.length + target.search.length > MAX_TARGET_LENGTH) return refused('uri_too_long')
  const malformed = malformedTarget(target, known !== undefined)
  if (malformed !== undefined) return refused('bad_request', { message: malformed })
  if (!known) {
    // TRACE means the way and not the path (RFC 9110 §9.3.8).
    return method === 'TRACE'
      ? refused('method_not_allowed', { allow: 'GET, POST' })
      : refused('not_found', meant === undefined ? {} : { message: meant })
  }
  if (known.methods.has(method)) return undefined
  return refused('method_not_allowed', { allow: [...known.methods].join(', ') })
}
