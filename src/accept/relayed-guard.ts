// The guard of the relayed routes: it validates the token, checks that the caller may use the route and
// that it is within its rate, and opens the request's row in the ledger.

import { Elysia } from 'elysia'
import type { Admitted } from '../admit/admitted.ts'
import type { Budget } from '../budget/budget.ts'
import { isDecided, type Served } from '../dispatch/choose.ts'
import type { Exchange } from '../exchange.ts'
import type { Ledger } from '../ledger/port.ts'
import type { Refusal } from '../refusal.ts'
import type { Answers } from './answers.ts'
import { type Arrival, routed } from './arrival.ts'
import { arrivals, early } from './arrivals.ts'
import { type Admissions, door } from './door.ts'
import { otherKind } from './other-kind.ts'
import type { ServedRoute } from './routes.ts'

export interface GuardParts {
  readonly answers: Answers
  readonly admissions: Admissions
  readonly budget: Pick<Budget, 'spend'>
  readonly ledger: Pick<Ledger, 'open'>
}

/** A plugin with the macro `relayed`, which guards a route and gives its handler `admitted`. */
export function relayedGuard({ answers, admissions, budget, ledger }: GuardParts) {
  const { admit, explain } = door(admissions)

  const begin = (
    exchange: Exchange,
    { identity, kind, org, policy }: Admitted,
    candidates: readonly Served[],
  ) => {
    // If the body may decide between upstreams, the row gets the name when it is closed.
    exchange.upstream = isDecided(candidates) ? (candidates[0]?.upstream.name ?? '-') : '-'
    const opening = {
      openedAtMs: exchange.at.epochSeconds * 1000,
      requestId: exchange.requestId,
      identity,
      policy: policy.name,
      route: exchange.route,
      upstream: exchange.upstream,
    }
    // The usage of keys is recorded and shown like that of devices.
    const hasOwn = kind === 'device' || kind === 'key'
    exchange.entry = ledger.open(
      hasOwn || org !== undefined
        ? { ...opening, ...(hasOwn && { device: identity }), ...(org && { org }) }
        : opening,
    )
  }

  /** Whether an admitted caller may use this route now. */
  const enter = (
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

  return new Elysia().use(arrivals).macro({
    /** Takes several routes if dialects share the path. */
    relayed: (routes: readonly ServedRoute[]) => ({
      // Without a seed Elysia would serialise the argument as JSON to tell uses of the macro apart.
      seed: routes.map(({ method, path }) => `${method} ${path}`),
      // Elysia decides by a hook's text whether to await it; it always awaits an `async` function.
      async resolve({ arrival, request }) {
        const { headers } = request
        const route = spokenOf(routes, headers)
        const { exchange } = arrival
        routed(exchange, route.path, route.dialect)
        const asked = admit(route.kinds, arrival, request)
        // Most tokens are known and need no promise.
        let admitted = asked instanceof Promise ? await asked : asked
        if (!admitted.ok && admitted.code === 'invalid_token') {
          admitted = await explain(admitted, route.kinds, arrival, request)
        }
        if (!admitted.ok) return early(answers.refuse(exchange, admitted))
        const refusal = enter(arrival, admitted.value, route, headers)
        if (refusal) return early(answers.refuse(exchange, refusal))
        return { admitted: admitted.value, relayed: route }
      },
    }),
  })
}

/** If two dialects share a path, the request's headers decide. */
function spokenOf(routes: readonly ServedRoute[], headers: Headers): ServedRoute {
  const [first] = routes as [ServedRoute]
  if (routes.length === 1) return first
  const isAnthropic = headers.has('anthropic-version') || headers.has('x-api-key')
  const dialect = isAnthropic ? 'anthropic' : 'openai'
  return routes.find((route) => route.dialect === dialect) ?? first
}
