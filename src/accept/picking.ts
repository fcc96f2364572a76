// Chooses the upstream of a request by its body: the stored objects that it names, and its model; and
// between equal ones, by their load.

import type { PickByModel } from '../dispatch/by-model.ts'
import type { Permitted } from '../dispatch/bodies.ts'
import { isByModel } from '../dispatch/choose.ts'
import type { PickKept } from '../dispatch/stored.ts'
import type { Exchange } from '../exchange.ts'
import { bounded } from '../policy/allows.ts'
import { type Decision, granted } from '../refusal.ts'
import type { PickedUpstream } from './picked.ts'
import type { RouteFacts } from './route-facts.ts'
import { spreading, type SpreadingParts, type ToSpread } from './spreading.ts'

export interface PickingParts extends SpreadingParts {
  readonly pickByModel: PickByModel
  readonly pickKept: PickKept
}

export interface ToPick extends ToSpread {
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

export function pickingByBody(parts: PickingParts): PickByBody {
  const { pickByModel, pickKept } = parts
  const spreadOver = spreading(parts)

  return async (permitted, asked, exchange) => {
    const { policy } = permitted.admitted
    const { request, path, facts, from } = asked
    let { on, among, inspected, held } = from
    if (facts.mayRefer && !inspected.sealed) {
      const kept = await pickKept(permitted, { request, path, inspected, among }, exchange)
      if (!kept.ok) return kept
      ;({ among, held } = kept.value)
      on = among[0] ?? on
      inspected = bounded(policy, kept.value.inspected)
    }
    const spread = await spreadOver(permitted, asked, { on, among, inspected, held }, exchange)
    if (!spread.ok) return spread
    ;({ on, among, inspected, held } = spread.value)
    if (facts.isRun && isByModel(among)) {
      const byModel = { request, path, inspected, among, held }
      const picked = await pickByModel(permitted, byModel, exchange)
      if (!picked.ok) return picked
      ;({ on, held } = picked.value)
      inspected = bounded(policy, picked.value.inspected)
    }
    return granted({ on, among, inspected, held })
  }
}
