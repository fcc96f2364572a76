// Why a request has no route, in the dialect of its client.

import { type Dialect, type Refusal, refused } from '../refusal.ts'
import { type Arrival, routed } from './arrival.ts'
import { dialectOf } from './dialect.ts'
import { dialectOfPath, noSuchRoute, routeMeant } from './meant.ts'
import type { FindRoute } from './route-table.ts'
import { malformedTarget, mayBeRouted } from './target.ts'

/** Not HEAD: Elysia would run the handler of GET for it. */
const ROUTED = new Set(['GET', 'POST', 'DELETE'])

/** Whether Elysia's router may see the request. If that finds no route, `strayed` says why. */
export function isPlain({ misaddressed, hostless, target }: Arrival, method: string): boolean {
  return !misaddressed && !hostless && ROUTED.has(method) && mayBeRouted(target)
}

/** Undefined if there is a route. */
export function strayed(
  arrival: Arrival,
  { method, headers }: Request,
  find: FindRoute,
): Refusal | undefined {
  const { target } = arrival
  const known = find(target.path)
  const meant = known ? undefined : routeMeant(target.path, find)
  const dialect = known?.dialect ?? dialectHere(headers, target.path, meant?.dialect)
  routed(arrival.exchange, known?.pattern ?? '-', dialect)
  // First, because CONNECT names an authority and no path (RFC 9110 §9.3.6).
  if (method === 'CONNECT') return refused('method_not_allowed', { allow: 'GET, POST' })
  if (arrival.misaddressed) return refused('bad_host')
  const malformed = malformedTarget(target, known !== undefined)
  if (malformed) return malformed
  if (!known) {
    // TRACE asks about the route to the server, not about a path (RFC 9110 §9.3.8).
    if (method === 'TRACE') return refused('method_not_allowed', { allow: 'GET, POST' })
    const message = meant && noSuchRoute(meant, dialectOf(headers))
    return refused('not_found', message === undefined ? {} : { message })
  }
  if (known.methods.has(method)) return undefined
  return refused('method_not_allowed', { allow: [...known.methods].join(', ') })
}

function dialectHere(headers: Headers, path: string, meant: Dialect | undefined): Dialect {
  return dialectOf(headers) ?? meant ?? dialectOfPath(path) ?? 'openai'
}
