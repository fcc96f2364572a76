// Where a request goes. Each upstream says which callers it takes and which models it serves; what that
// means for one route is worked out at the start and at a reload, so that a request with one way to go is
// not asked anything. Whatever else may go where, a caller's policy says.

import type { Breaker } from '../budget/breaker.ts'
import { CALLER_KINDS, type CallerKind } from '../names.ts'
import type { Policy } from '../policy/policy.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import { allowedModel } from '../token/model-pattern.ts'
import type { Endpoint, Upstream } from '../upstream/upstream.ts'

/** What is not allowed here is refused. */
export interface Offered {
  readonly upstream: Upstream
  readonly callers: readonly CallerKind[]
  /** Exact names, or beginnings with a trailing `*`. Undefined: every model. */
  readonly models: readonly string[] | undefined
  /** It is asked which models it has: of those, what `models` lets. */
  readonly asks: boolean
}

export interface Served extends Offered {
  readonly breaker: Breaker
  /** It is asked which models it has, and has told none yet. */
  readonly isUnknown?: boolean
}

/** By the kind of the caller: the upstreams that it reaches on one route, in the settings' order. */
export type Choices = Readonly<Record<CallerKind, readonly Served[]>>

export function choicesOf(
  endpoint: Endpoint,
  upstreams: readonly Served[],
  /** Who can come to this gate at all. */
  kinds: readonly CallerKind[] = CALLER_KINDS,
): Choices {
  const serving = upstreams.filter(({ upstream }) => upstream.serves(endpoint))
  const of = (kind: CallerKind): readonly Served[] =>
    kinds.includes(kind) ? serving.filter(({ callers }) => callers.includes(kind)) : []
  return { user: of('user'), device: of('device'), key: of('key'), session: of('session') }
}

/** What is known of a request before its body is read. */
export interface Routed {
  readonly sealed: boolean
  readonly hasBody: boolean
  readonly policy: Pick<Policy, 'upstreams'>
}

/** Of one way to go, whatever the model, nothing is asked. */
export const isDecided = (candidates: readonly Served[]): boolean =>
  candidates.length === 1 && candidates[0]?.models === undefined && !candidates[0]?.asks

/**
 * Those of several candidates that a request may go to. A sealed body is for an upstream that opens
 * it, and a plain one for an upstream that takes it so, wherever there is one.
 */
export function permittedOf(
  candidates: readonly Served[],
  { sealed, hasBody, policy }: Routed,
): readonly Served[] {
  const allowed = candidates.filter(
    ({ upstream }) => policy.upstreams?.includes(upstream.name) ?? true,
  )
  if (!hasBody) return allowed
  const fit = allowed.filter(({ upstream }) =>
    sealed ? upstream.bodies !== 'plain' : upstream.bodies !== 'sealed',
  )
  const found = fit.length === 0 ? allowed : fit
  // Which model is in a sealed body nobody here can tell.
  return sealed ? found.filter(({ models, asks }) => models === undefined && !asks) : found
}

/** Whether an upstream serves some models alone, so that the body has to be read first. */
export const isByModel = (candidates: readonly Served[]): boolean =>
  candidates.some(({ models }) => models !== undefined)

/** The first that serves the model; `model` is what the upstream will read too. */
export function servedModel(candidates: readonly Served[], model: string): Decision<Served> {
  const found = candidates.find(({ models }) => allowedModel(model, models))
  if (found) return granted(found)
  // One of them may have it.
  if (candidates.some(({ isUnknown }) => isUnknown)) {
    return refused('upstream_unavailable', { reason: 'no list of models' })
  }
  return refused('not_found', { message: NO_SUCH_MODEL })
}

/** What all of them serve together; undefined: every model. */
export function servedModels(candidates: readonly Served[]): readonly string[] | undefined {
  if (candidates.some(({ models }) => models === undefined)) return undefined
  return candidates.flatMap(({ models }) => models ?? [])
}

const NO_SUCH_MODEL = 'no upstream of this gate serves that model to this token'
