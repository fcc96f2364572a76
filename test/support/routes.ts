// The routes of a gate with these upstreams, as its environment sets it up.

import { type Feature, type Route, servedRoutes } from '../../src/accept/routes.ts'
import { usualCallers } from '../../src/config/upstreams.ts'
import { choicesOf, type Served } from '../../src/dispatch/choose.ts'
import { KINDS } from '../../src/gate/upstreams.ts'
import { UPSTREAM_KINDS, type UpstreamKind } from '../../src/names.ts'
import type { Upstream } from '../../src/upstream/upstream.ts'

const FEATURES: Readonly<Partial<Record<UpstreamKind, Feature>>> = {
  tinfoil: 'enclave',
  anthropic: 'devices',
  'anthropic-oauth': 'sign-in',
}

/** An upstream that serves its kind's routes to its usual callers, and is reached by no request. */
export function unreached(kind: UpstreamKind, name: string = kind): Served {
  const upstream = { name, kind, serves: KINDS[kind].serves } as Upstream
  return {
    upstream,
    breaker: {} as Served['breaker'],
    callers: usualCallers(kind),
    models: undefined,
  }
}

export function routesWith(...kinds: readonly UpstreamKind[]): readonly Route[] {
  const served = kinds.map((kind) => unreached(kind))
  return servedRoutes(
    (feature) => kinds.some((kind) => FEATURES[kind] === feature),
    (endpoint) => choicesOf(endpoint, served),
  )
}

/** Of every upstream at once. */
export const EVERY_ROUTE: readonly Route[] = routesWith(...UPSTREAM_KINDS)
