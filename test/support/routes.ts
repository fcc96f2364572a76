// The routes of a gate with these upstreams, as its environment sets it up.

import type { UpstreamKind } from '../../src/names.ts'
import { type Feature, type Route, servedRoutes } from '../../src/accept/routes.ts'
import { choicesOf, type Served } from '../../src/dispatch/choose.ts'
import { KINDS, routeRules } from '../../src/gate/upstreams.ts'
import type { Upstream } from '../../src/upstream/upstream.ts'

/** As they are where nobody sets them. */
const CALLERS = {
  tinfoilCallers: ['user'],
  anthropicCallers: ['device', 'key'],
} as const

const FEATURES: Readonly<Record<UpstreamKind, Feature>> = {
  tinfoil: 'enclave',
  anthropic: 'devices',
  'anthropic-oauth': 'sign-in',
}

/** An upstream that serves its kind's routes, and is reached by no request. */
export function unreached(kind: UpstreamKind, name: string = kind): Served {
  const upstream = { name, kind, serves: KINDS[kind].serves } as Upstream
  return { upstream, breaker: {} as Served['breaker'] }
}

export function routesWith(...kinds: readonly UpstreamKind[]): readonly Route[] {
  const served = kinds.map((kind) => unreached(kind))
  const rules = routeRules(
    served.map(({ upstream }) => upstream),
    CALLERS,
  )
  return servedRoutes(
    (feature) => kinds.some((kind) => FEATURES[kind] === feature),
    (endpoint) => choicesOf(endpoint, rules, served),
  )
}

/** Of every upstream at once. */
export const EVERY_ROUTE: readonly Route[] = routesWith('tinfoil', 'anthropic', 'anthropic-oauth')
