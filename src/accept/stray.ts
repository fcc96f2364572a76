// A request that reaches no route: why, told in the words of the API that its client speaks.

import { type Dialect, type Refusal, refused } from '../refusal.ts'
import { type Arrival, routed } from './arrival.ts'
import { dialectOf } from './dialect.ts'
import { dialectOfPath, noSuchRoute, routeMeant } from './meant.ts'
import type { FindRoute } from './route-table.ts'
import { malformedTarget, mayBeRouted } from './target.ts'

/** Those that Elysia answers as it finds them; for HEAD it would run the handler of a GET. */
const ROUTED = new Set(['GET', 'POST', 'DELETE'])

/** Whether Elysia's router may decide; what it finds nothing for goes to `strayed` as well. */
export function isPlain({ misaddressed, hostless, target }: Arrival, method: string): boolean {
  return !misaddressed && !hostless && ROUTED.has(method) && mayBeRouted(target)
}

/** Undefined where there is a route after all. */
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
  // What CONNECT names is an authority and no path (RFC 9110 §9.3.6), so that goes first.
  if (method === 'CONNECT') return refused('method_not_allowed', { allow: 'GET, POST' })
  if (arrival.misaddressed) return refused('bad_host')
  const malformed = malformedTarget(target, known !== undefined)
  if (malformed) return malformed
  if (!known) {
    // TRACE means the way and not the path (RFC 9110 §9.3.8).
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
