// Chooses the upstream of a request by its body: the stored objects that it names, and its model.

import type { PickByModel } from '../dispatch/by-model.ts'
import type { Permitted } from '../dispatch/bodies.ts'
import { isByModel, type Served } from '../dispatch/choose.ts'
import type { PickKept } from '../dispatch/stored.ts'
import type { Exchange } from '../exchange.ts'
import { bounded } from '../policy/allows.ts'
import { type Decision, granted } from '../refusal.ts'
import type { Inspected } from '../upstream/inspected.ts'
import type { RouteFacts } from './route-facts.ts'

export interface PickingParts {
  readonly pickByModel: PickByModel
  readonly pickKept: PickKept
}

export interface PickedUpstream {
  readonly on: Served
  /** The candidates, `on` among them, before the model decides. */
  readonly among: readonly Served[]
  /** The inspection by `on`, within the policy. */
  readonly inspected: Inspected
  /** Undefined if the body was not read. */
  readonly held: Decision<Uint8Array> | undefined
}

export interface ToPick {
  readonly request: Request
  readonly path: string
  readonly facts: RouteFacts
  /** The choice by the headers. */
  readonly from: PickedUpstream
}

/** Most requests have one candidate, and their body is not read for it. */
export const isPickedByBody = (
  { mayRefer, isRun }: RouteFacts,
  { among, inspected: { sealed } }: PickedUpstream,
): boolean => (mayRefer && !sealed) || (isRun && isByModel(among))

export type PickByBody = (
  permitted: Permitted,
  asked: ToPick,
  exchange: Exchange,
) => Promise<Decision<PickedUpstream>>

export function pickingByBody({ pickByModel, pickKept }: PickingParts): PickByBody {
  return async (permitted, { request, path, facts, from }, exchange) => {
    const { policy } = permitted.admitted
    let { on, among, inspected, held } = from
    if (facts.mayRefer && !inspected.sealed) {
      const kept = await pickKept(permitted, { request, path, inspected, among }, exchange)
      if (!kept.ok) return kept
      ;({ among, held } = kept.value)
      on = among[0] ?? on
      inspected = bounded(policy, kept.value.inspected)
    }
    if (facts.isRun && isByModel(among)) {
      const asked = { request, path, inspected, among, held }
      const picked = await pickByModel(permitted, asked, exchange)
      if (!picked.ok) return picked
      ;({ on, held } = picked.value)
      inspected = bounded(policy, picked.value.inspected)
    }
    return granted({ on, among, inspected, held })
  }
}
