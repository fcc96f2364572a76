// Decides whether a caller may use a route: the credential is valid, its policy reaches an upstream, and
// the caller is within its rate. Then it opens the request's row in the ledger. Every way to an upstream
// goes through it: the guard of the relayed routes, and a handshake that is not a route.

import type { Admitted } from '../admit/admitted.ts'
import type { Budget } from '../budget/budget.ts'
import { isDecided, type Served } from '../dispatch/choose.ts'
import type { Exchange } from '../exchange.ts'
import type { Ledger } from '../ledger/port.ts'
import { type Decision, granted, type Refusal } from '../refusal.ts'
import { type Arrival, routed } from './arrival.ts'
import { type Admissions, door } from './door.ts'
import { otherKind } from './other-kind.ts'
import type { ServedRoute } from './routes.ts'

export interface EnteringParts {
  readonly admissions: Admissions
  readonly budget: Pick<Budget, 'spend'>
  readonly ledger: Pick<Ledger, 'open'>
}

/** A caller who may use the route now. */
export interface Entered {
  readonly admitted: Admitted
  /** In the caller's dialect. */
  readonly relayed: ServedRoute
}

/** Takes several routes if dialects share the path. Returns a promise only if the token is new. */
export type Enter = (
  routes: readonly ServedRoute[],
  arrival: Arrival,
  request: Request,
) => Decision<Entered> | Promise<Decision<Entered>>

/** Opens a row of the ledger for a request of this caller's, or for a part of one. */
export function openRow(
  ledger: Pick<Ledger, 'open'>,
  exchange: Exchange,
  { identity, kind, org, policy }: Admitted,
): void {
  const opening = {
    openedAtMs: exchange.at.epochSeconds * 1000,
    requestId: exchange.requestId,
    identity,
    policy: policy.name,
    route: exchange.route,
    upstream: exchange.upstream ?? '-',
  }
  // The usage of keys is recorded and shown like that of devices.
  const hasOwn = kind === 'device' || kind === 'key'
  exchange.entry = ledger.open(
    hasOwn || org !== undefined
      ? { ...opening, ...(hasOwn && { device: identity }), ...(org && { org }) }
      : opening,
  )
}

export function entering({ admissions, budget, ledger }: EnteringParts): Enter {
  const { admit, explain } = door(admissions)

  const begin = (exchange: Exchange, admitted: Admitted, candidates: readonly Served[]) => {
    // If the body may decide between upstreams, the row gets the name when it is closed.
    exchange.upstream = isDecided(candidates) ? (candidates[0]?.upstream.name ?? '-') : '-'
    openRow(ledger, exchange, admitted)
  }

  /** Whether an admitted caller may use this route now. */
  const admittedTo = (
    arrival: Arrival,
    admitted: Admitted,
    { choices, kinds }: ServedRoute,
    headers: Headers,
  ): Refusal | undefined => {
    const { exchange } = arrival
    const { identity, kind, org } = admitted
    exchange.identity = identity
    if (org !== undefined) exchange.org = org
    const candidates = choices[kind]
    if (candidates.length === 0) return otherKind(kind, kinds, arrival, headers)
    const spent = budget.spend(admitted, exchange)
    if (!spent.ok) return spent
    if (arrival.closing) exchange.headers.delete('connection')
    begin(exchange, admitted, candidates)
    return undefined
  }

  const decided = (
    admitted: Decision<Admitted>,
    relayed: ServedRoute,
    arrival: Arrival,
    headers: Headers,
  ): Decision<Entered> => {
    if (!admitted.ok) return admitted
    const refusal = admittedTo(arrival, admitted.value, relayed, headers)
    return refusal ?? granted({ admitted: admitted.value, relayed })
  }

  /** For a token that must be verified, or that is refused. */
  const later = async (
    asked: Decision<Admitted> | Promise<Decision<Admitted>>,
    route: ServedRoute,
    arrival: Arrival,
    request: Request,
  ): Promise<Decision<Entered>> => {
    let admitted = await asked
    if (!admitted.ok && admitted.code === 'invalid_token') {
      admitted = await explain(admitted, route.kinds, arrival, request)
    }
    return decided(admitted, route, arrival, request.headers)
  }

  return (routes, arrival, request) => {
    const { headers } = request
    const route = spokenOf(routes, headers)
    routed(arrival.exchange, route.path, route.dialect)
    const asked = admit(route.kinds, arrival, request)
    // Most tokens are known and need no promise.
    if (asked instanceof Promise || !asked.ok) return later(asked, route, arrival, request)
    return decided(asked, route, arrival, headers)
  }
}

/** If two dialects share a path, the request's headers decide. */
function spokenOf(routes: readonly ServedRoute[], headers: Headers): ServedRoute {
  const [first] = routes as [ServedRoute]
  if (routes.length === 1) return first
  const isAnthropic = headers.has('anthropic-version') || headers.has('x-api-key')
  const dialect = isAnthropic ? 'anthropic' : 'openai'
  return routes.find((route) => route.dialect === dialect) ?? first
}
