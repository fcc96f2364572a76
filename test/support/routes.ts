// Every route of a gate with these upstreams, read from its app as the gate itself reads them.

import { gate, type Parts } from '../../src/accept/app.ts'
import { type Route, routesOf } from '../../src/accept/route-table.ts'
import { UPSTREAM_KINDS, type UpstreamKind } from '../../src/names.ts'
import { nothingBehindTheDoor } from './closed-gate.ts'
import { servedBy } from './served.ts'

/** A gate that admits nobody, with what its upstreams bring and no more. */
export function partsWith(...kinds: readonly UpstreamKind[]): Parts {
  const { open, devices, login, realtime, ...parts } = nothingBehindTheDoor()
  const has = (kind: UpstreamKind): boolean => kinds.includes(kind)
  return {
    ...parts,
    routes: servedBy(...kinds),
    open: { ...open, documents: has('tinfoil') ? open.documents : undefined },
    devices: has('anthropic') ? devices : undefined,
    realtime: has('openai') ? realtime : undefined,
    login: has('anthropic-oauth') ? login : undefined,
  }
}

export function routesWith(...kinds: readonly UpstreamKind[]): readonly Route[] {
  return routesOf(gate(partsWith(...kinds)).routes)
}

/** Of every upstream at once. */
export const EVERY_ROUTE: readonly Route[] = routesWith(...UPSTREAM_KINDS)
