// `arrival` in every context, set before other hooks run, and the instance that each group of our own
// routes starts from.

import { Elysia, status } from 'elysia'
import type { Dialect } from '../refusal.ts'
import { type Arrival, routed } from './arrival.ts'

/**
 * - `public`: anybody
 * - `relayed`: the callers that the settings let reach an upstream
 * - `caller`: any caller, for what is its own
 * - `own`: a device, for what is its own, or the operator
 * - `operator`: the operator alone
 */
export type Access = 'public' | 'relayed' | 'caller' | 'own' | 'operator'

/** Elysia omits undefined decorators, so null reserves the member that app.ts sets. */
export const arrivals = new Elysia({ name: 'arrivals' }).decorate(
  'arrival',
  null as never as Arrival,
)

/**
 * A group of routes for these callers, answered in this dialect. Both become OpenAPI tags, from which
 * route-table.ts reads them.
 *
 * The instance has no name. Elysia deduplicates hooks by the name of their instance, and a `group` or
 * `guard` inherits it: the hooks of the group, guards too, would be dropped silently.
 */
export function routesFor(access: Access, dialect: Dialect) {
  return new Elysia({ detail: { tags: [access, dialect] } })
    .use(arrivals)
    .onTransform(({ arrival: { exchange }, route }) => {
      routed(exchange, route, dialect)
    })
}

/**
 * Ends a request in a guard with this response. Elysia copies a Response whose `status` is not 200, which
 * turns its body into a stream; with 200 it is sent as it is, with its own status.
 */
export const early = (answer: Response) => status(200, answer)
