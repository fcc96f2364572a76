// The upstreams that a request may go to by its route, caller and headers.

import type { Admitted } from '../admit/admitted.ts'
import { NAMED_GROUPS, type RouteGroup } from '../names.ts'
import { isDecided, permittedOf, type Served } from '../dispatch/choose.ts'
import { isOwnAccount } from '../dispatch/stored.ts'
import { ENCAPSULATED_KEY } from '../upstream/inspected.ts'
import type { ServedRoute } from './routes.ts'

/** Whether a body for this route may name a stored object. */
export const isReferring = (routes: readonly ServedRoute[], path: string): boolean =>
  routes.some(({ choices, kinds }) =>
    kinds.some((kind) => choices[kind].some(({ upstream }) => upstream.referring?.(path))),
  )

/** What is known of a request by its route and its headers. */
export interface ToRoute {
  readonly request: Request
  readonly hasBody: boolean
  readonly group: RouteGroup
  /** The upstream's answer shows what every caller made. */
  readonly lists: true | undefined
}

const NAMED: ReadonlySet<RouteGroup> = new Set(NAMED_GROUPS)

export function amongOf(
  candidates: readonly Served[],
  { policy }: Admitted,
  { request, hasBody, group, lists }: ToRoute,
): readonly Served[] {
  if (isDecided(candidates)) return candidates
  const sealed = request.headers.has(ENCAPSULATED_KEY)
  const permitted = permittedOf(candidates, { sealed, hasBody, policy })
  const isNamed = policy.routes !== undefined || !NAMED.has(group)
  if (!lists && isNamed) return permitted
  // Nothing of an unnamed group may reach an upstream whose account others use, whatever its body says.
  const own = permitted.filter(isOwnAccount)
  if (own.length > 0) return own
  return isNamed ? permitted : permitted.slice(0, 1)
}
