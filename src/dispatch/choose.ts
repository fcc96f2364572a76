// Chooses the upstream of a request. Each upstream names its callers and its models. The candidates of a
// route are computed at the start and at a reload, so that a request with one candidate needs no
// decision. Policies restrict the rest.

import type { Breaker } from '../budget/breaker.ts'
import { CALLER_KINDS, type CallerKind } from '../names.ts'
import type { Policy } from '../policy/policy.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import { allowedModel } from '../token/model-pattern.ts'
import type { Endpoint, Upstream } from '../upstream/upstream.ts'

/** Anything that is not allowed here is refused. */
export interface Offered {
  readonly upstream: Upstream
  readonly callers: readonly CallerKind[]
  /** Exact names, or prefixes with a trailing `*`. Undefined: every model. */
  readonly models: readonly string[] | undefined
  /** Whether the upstream is asked for its models, of which `models` allows some. */
  readonly asks: boolean
}

export interface Served extends Offered {
  readonly breaker: Breaker
  /** The upstream is asked for its models, and has not answered yet. */
  readonly isUnknown?: boolean
}

/** For each kind of caller, the upstreams that it reaches on one route, in the settings' order. */
export type Choices = Readonly<Record<CallerKind, readonly Served[]>>

export function choicesOf(
  endpoint: Endpoint,
  upstreams: readonly Served[],
  /** The kinds of callers that this gate admits. */
  kinds: readonly CallerKind[] = CALLER_KINDS,
): Choices {
  const serving = upstreams.filter(({ upstream }) => upstream.serves(endpoint))
  const of = (kind: CallerKind): readonly Served[] =>
    kinds.includes(kind) ? serving.filter(({ callers }) => callers.includes(kind)) : []
  return { user: of('user'), device: of('device'), key: of('key'), session: of('session') }
}

/** What is known about a request before its body is read. */
export interface Routed {
  readonly sealed: boolean
  readonly hasBody: boolean
  readonly policy: Pick<Policy, 'upstreams'>
}

/** Whether the only candidate serves every model, so that nothing needs to be decided. */
export const isDecided = (candidates: readonly Served[]): boolean =>
  candidates.length === 1 && candidates[0]?.models === undefined && !candidates[0]?.asks

/**
 * The candidates that a request may go to. A sealed body goes to an upstream that opens sealed bodies, and a
 * plain body to one that accepts plain bodies, if there is one.
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
  // The gate cannot read the model in a sealed body.
  return sealed ? found.filter(({ models, asks }) => models === undefined && !asks) : found
}

/** Whether an upstream serves only some models, so that the body must be read first. */
export const isByModel = (candidates: readonly Served[]): boolean =>
  candidates.some(({ models }) => models !== undefined)

/** The first upstream that serves the model; `model` is the one that the upstream will read. */
export function servedModel(candidates: readonly Served[], model: string): Decision<Served> {
  const found = candidates.find(({ models }) => allowedModel(model, models))
  if (found) return granted(found)
  // One of the unknown upstreams may have it.
  if (candidates.some(({ isUnknown }) => isUnknown)) {
    return refused('upstream_unavailable', { reason: 'no list of models' })
  }
  return refused('not_found', { message: NO_SUCH_MODEL })
}

/** The models that they serve together; undefined means every model. */
export function servedModels(candidates: readonly Served[]): readonly string[] | undefined {
  if (candidates.some(({ models }) => models === undefined)) return undefined
  return candidates.flatMap(({ models }) => models ?? [])
}

const NO_SUCH_MODEL = 'no upstream of this gate serves that model to this token'
