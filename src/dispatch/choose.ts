// Where a request goes. A table of rules says which callers reach which upstream; what it says of one
// route is worked out when the gate starts, so that a request with one way to go is not asked anything.

import { CALLER_KINDS, type CallerKind, type RouteGroup } from '../names.ts'
import type { Breaker } from '../budget/breaker.ts'
import type { Policy } from '../policy/policy.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import { allowedModel } from '../token/model-pattern.ts'
import type { Endpoint, Upstream } from '../upstream/upstream.ts'

export interface Served {
  readonly upstream: Upstream
  readonly breaker: Breaker
}

/** What no rule allows is refused. */
export interface RouteRule {
  /** By name. */
  readonly upstream: string
  readonly callers: readonly CallerKind[]
  /** Undefined: every route that the upstream serves. */
  readonly groups?: readonly RouteGroup[] | undefined
  /** Exact names, or beginnings with a trailing `*`. Undefined: every model. */
  readonly models?: readonly string[] | undefined
}

export interface Candidate {
  readonly served: Served
  readonly models: readonly string[] | undefined
}

/** By the kind of the caller: the upstreams that it reaches on one route, in the table's order. */
export type Choices = Readonly<Record<CallerKind, readonly Candidate[]>>

export interface GroupedEndpoint extends Endpoint {
  readonly group: RouteGroup
}

export function choicesOf(
  endpoint: GroupedEndpoint,
  rules: readonly RouteRule[],
  upstreams: readonly Served[],
  /** Who can come to this gate at all. */
  kinds: readonly CallerKind[] = CALLER_KINDS,
): Choices {
  const of = (kind: CallerKind): readonly Candidate[] =>
    rules
      .filter(
        ({ callers, groups }) =>
          kinds.includes(kind) &&
          callers.includes(kind) &&
          (groups?.includes(endpoint.group) ?? true),
      )
      .flatMap(({ upstream: name, models }) => {
        const served = upstreams.find(({ upstream }) => upstream.name === name)
        return served?.upstream.serves(endpoint) ? [{ served, models }] : []
      })
  return { user: of('user'), device: of('device'), key: of('key'), session: of('session') }
}

/** What is known of a request before its body is read. */
export interface Routed {
  readonly sealed: boolean
  readonly hasBody: boolean
  readonly policy: Pick<Policy, 'upstreams'>
}

/** Of one way to go, whatever the model, nothing is asked. */
export const isDecided = (candidates: readonly Candidate[]): boolean =>
  candidates.length === 1 && candidates[0]?.models === undefined

/**
 * Those of several candidates that a request may go to. A sealed body is for an upstream that opens
 * it, and a plain one for an upstream that takes it so, wherever there is one.
 */
export function permittedOf(
  candidates: readonly Candidate[],
  { sealed, hasBody, policy }: Routed,
): readonly Candidate[] {
  const allowed = candidates.filter(
    ({ served }) => policy.upstreams?.includes(served.upstream.name) ?? true,
  )
  if (!hasBody) return allowed
  const fit = allowed.filter(({ served: { upstream } }) =>
    sealed ? upstream.bodies !== 'plain' : upstream.bodies !== 'sealed',
  )
  const found = fit.length === 0 ? allowed : fit
  // Which model is in a sealed body nobody here can tell.
  return sealed ? found.filter(({ models }) => models === undefined) : found
}

/** Whether a rule names models, so that the body has to be read first. */
export const isByModel = (candidates: readonly Candidate[]): boolean =>
  candidates.some(({ models }) => models !== undefined)

/** The first that serves the model; `model` is what the upstream will read too. */
export function servedModel(candidates: readonly Candidate[], model: string): Decision<Served> {
  const found = candidates.find(({ models }) => allowedModel(model, models))
  return found ? granted(found.served) : refused('not_found', { message: NO_SUCH_MODEL })
}

const NO_SUCH_MODEL = 'no upstream of this gate serves that model to this token'
