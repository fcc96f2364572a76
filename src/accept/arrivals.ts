// What every request carries through the app, set before any other hook runs; and the plugin with
// which each group of our own routes begins.

import { Elysia, status } from 'elysia'
import type { Dialect } from '../refusal.ts'
import { type Arrival, routed } from './arrival.ts'

/**
 * - `public`: anybody
 * - `relayed`: the callers that the table of upstreams allows
 * - `caller`: any caller, for what is its own
 * - `own`: a device, for what is its own, or the operator
 * - `operator`: the operator alone
 */
export type Access = 'public' | 'relayed' | 'caller' | 'own' | 'operator'

/** Elysia leaves out what is undefined; null gives every context the place that app.ts fills. */
export const arrivals = new Elysia({ name: 'arrivals' }).decorate(
  'arrival',
  null as never as Arrival,
)

/**
 * A group of routes: who they are for, and the API in whose words they answer. Both stand in the
 * routes' OpenAPI tags, where the table of routes (route-table.ts) and the README find them.
 *
 * It has no name: Elysia takes all hooks of one name for the same hook, and so would drop those of a
 * `group` or a `guard` inside it, whatever they guard.
 */
export function routesFor(access: Access, dialect: Dialect) {
  return new Elysia({ detail: { tags: [access, dialect] } })
    .use(arrivals)
    .onTransform(({ arrival: { exchange }, route }) => {
      routed(exchange, route, dialect)
    })
}

/**
 * A guard's answer, as it is. With a status of its own Elysia would copy the Response, and with it
 * make a stream of its body; with 200 it passes it on, whatever status it has.
 */
export const early = (answer: Response) => status(200, answer)
