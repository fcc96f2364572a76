// Facts about one relayed route that hold for every request, computed when the gate starts.

import { isEnding, isStored } from '../dispatch/stored.ts'
import { isReferring } from './among.ts'
import type { RelayedRoute } from './relayed-route.ts'
import type { ServedRoute } from './routes.ts'

export interface RouteFacts {
  /** `POST /v1/messages`. */
  readonly named: string
  readonly method: RelayedRoute['method']
  /** The pattern. */
  readonly path: string
  /** Its path names a stored object. */
  readonly isOwned: boolean
  readonly hasBody: boolean
  /** It runs a model. */
  readonly isRun: boolean
  /** Its body may name a stored object. */
  readonly mayRefer: boolean
}

/** `routes`: the routes of one method and path, one for each dialect. */
export function factsOf(routes: readonly ServedRoute[]): RouteFacts {
  const [{ method, path, runsNothing }] = routes as [ServedRoute]
  const isOwned = isStored(path)
  const hasBody = method === 'POST' && !(isOwned && isEnding(path))
  return {
    named: `${method} ${path}`,
    method,
    path,
    isOwned,
    hasBody,
    isRun: hasBody && runsNothing !== true,
    mayRefer: hasBody && isReferring(routes, path),
  }
}
