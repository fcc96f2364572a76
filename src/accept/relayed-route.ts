// A row of the tables of relayed routes.

import type { RouteGroup } from '../names.ts'
import type { Dialect } from '../refusal.ts'

/** A route that an upstream may serve, in each dialect that has it. */
export interface RelayedRoute {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** The segments `:id` and `:item` are names: of a model, a batch, a file. */
  readonly path: string
  readonly group: RouteGroup
  /** It runs no model: what it sends is kept, and paid for where it is used. */
  readonly runsNothing?: boolean
  /** The upstream's answer shows what every caller made; the gate keeps the caller's own of it. */
  readonly lists?: true
  /** It costs what nobody here can tell; in a few words. */
  readonly unpriced?: string
  /** If there are two, the request's headers decide. */
  readonly dialects: readonly Dialect[]
  readonly about: string
}
