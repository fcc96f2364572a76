// The upstreams that a request may go to by its route, caller, path and headers, and whether the caller's
// policy allows that. It does not read the body.

import type { Admitted } from '../admit/admitted.ts'
import { type AskedModels, someAsk } from '../dispatch/asked-models.ts'
import { type Choices, isByModel, type Served, servedModel } from '../dispatch/choose.ts'
import { isMerged } from '../dispatch/merged-models.ts'
import { isOwnAccount, type OwnerOf, servingStored } from '../dispatch/stored.ts'
import type { Exchange } from '../exchange.ts'
import { allows } from '../policy/allows.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { Inspected } from '../upstream/inspected.ts'
import { amongOf, type ToRoute } from './among.ts'

export interface ChoosingParts {
  readonly askedModels: AskedModels
  readonly ownerOf: OwnerOf
}

/** For a request of an admitted caller. */
export interface ToChoose extends ToRoute {
  readonly path: string
  /** Its path names a stored object. */
  readonly isOwned: boolean
  /** From the path or the query, if it has no body. */
  readonly model: string | undefined
}

export interface Chosen {
  /** Never empty. */
  readonly among: readonly Served[]
  /** The first of them, or the one that the path decides. */
  readonly on: Served
  /** The inspection by `on`. */
  readonly inspected: Inspected
}

export type Choose = (
  choices: Choices,
  admitted: Admitted,
  asked: ToChoose,
  exchange: Exchange,
) => Decision<Chosen> | Promise<Decision<Chosen>>

export function choosing({ askedModels, ownerOf }: ChoosingParts): Choose {
  const inspect = (
    on: Served,
    among: readonly Served[],
    { policy }: Admitted,
    { request, hasBody, group }: ToChoose,
  ): Decision<Chosen> => {
    const inspected = on.upstream.inspect(request.headers, hasBody)
    if (!inspected.ok) return inspected
    const isOwn = isOwnAccount(on)
    const passes = allows(policy, group, on.upstream.name, hasBody, inspected.value, isOwn)
    return passes.ok ? granted({ among, on, inspected: inspected.value }) : passes
  }

  const keeping = (
    on: Served,
    among: readonly Served[],
    admitted: Admitted,
    asked: ToChoose,
  ): Decision<Chosen> => {
    if (!asked.isOwned) return inspect(on, among, admitted, asked)
    const found = servingStored(among, asked.path, admitted, ownerOf)
    return found.ok ? inspect(found.value, among, admitted, asked) : found
  }

  const first = (
    among: readonly Served[],
    admitted: Admitted,
    asked: ToChoose,
    { dialect, at }: Exchange,
  ): ReturnType<Choose> => {
    const [on] = among
    if (!on) return refused('upstream_not_allowed')
    const { model, hasBody } = asked
    if (model === undefined || hasBody) return keeping(on, among, admitted, asked)
    if (isMerged(among)) {
      return askedModels
        .having(among, model, dialect, at.monotonicMs)
        .then((found) => (found.ok ? keeping(found.value, among, admitted, asked) : found))
    }
    if (!isByModel(among)) return keeping(on, among, admitted, asked)
    const found = servedModel(among, model)
    return found.ok ? keeping(found.value, among, admitted, asked) : found
  }

  return (choices, admitted, asked, exchange) => {
    const { hasBody } = asked
    const among = amongOf(choices[admitted.kind], admitted, asked)
    if (!hasBody || !someAsk(among)) return first(among, admitted, asked, exchange)
    const told = askedModels.told(among, exchange.dialect, exchange.at.monotonicMs)
    return told instanceof Promise
      ? told.then((all) => first(all, admitted, asked, exchange))
      : first(told, admitted, asked, exchange)
  }
}
