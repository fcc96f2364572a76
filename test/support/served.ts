// The relayed routes of a gate with these upstreams, as its environment sets it up.

import type { RealtimeRoutes } from '../../src/accept/realtime/route.ts'
import {
  CLIENT_SECRETS_ROUTE,
  REALTIME_ROUTE,
  type ServedRoute,
  servedRoutes,
} from '../../src/accept/routes.ts'
import { usualCallers } from '../../src/config/upstreams.ts'
import { choicesOf, type Served } from '../../src/dispatch/choose.ts'
import { KINDS } from '../../src/gate/upstreams.ts'
import type { UpstreamKind } from '../../src/names.ts'
import { refused } from '../../src/refusal.ts'
import type { Endpoint, Upstream } from '../../src/upstream/upstream.ts'

/** An upstream that serves its kind's routes to its usual callers, and is reached by no request. */
export function unreached(kind: UpstreamKind, name: string = kind): Served {
  const account = kind === 'anthropic-oauth' && { credential: async () => refused('session_ended') }
  const upstream = { name, kind, serves: KINDS[kind].serves, ...account } as unknown as Upstream
  return {
    upstream,
    breaker: {} as Served['breaker'],
    callers: usualCallers(kind),
    models: undefined,
    asks: false,
  }
}

export function servedBy(...kinds: readonly UpstreamKind[]): readonly ServedRoute[] {
  const served = kinds.map((kind) => unreached(kind))
  return servedRoutes((endpoint) => choicesOf(endpoint, served))
}

export function realtimeServedBy(...kinds: readonly UpstreamKind[]): RealtimeRoutes {
  const served = kinds.map((kind) => unreached(kind))
  const choose = (endpoint: Endpoint) => choicesOf(endpoint, served)
  const [sessions, secrets] = servedRoutes(choose, [REALTIME_ROUTE, CLIENT_SECRETS_ROUTE])
  return { sessions, secrets } as RealtimeRoutes
}
