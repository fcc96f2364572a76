// The upstreams that a request may go to by its route, caller and headers.

import type { Admitted } from '../admit/admitted.ts'
import { isDecided, permittedOf, type Served } from '../dispatch/choose.ts'
import { ENCAPSULATED_KEY } from '../upstream/inspected.ts'
import type { ServedRoute } from './routes.ts'

/** Whether a body for this route may name a stored object. */
export const isReferring = (routes: readonly ServedRoute[], path: string): boolean =>
  routes.some(({ choices, kinds }) =>
    kinds.some((kind) => choices[kind].some(({ upstream }) => upstream.referring?.(path))),
  )

export function amongOf(
  candidates: readonly Served[],
  { policy }: Admitted,
  { headers }: Request,
  hasBody: boolean,
): readonly Served[] {
  if (isDecided(candidates)) return candidates
  return permittedOf(candidates, { sealed: headers.has(ENCAPSULATED_KEY), hasBody, policy })
}
