// Which upstreams stand in for one that gives no answer, and when a request may be sent again. Pure; the
// settings say it (config/fallback.ts), and without a word of theirs nothing is ever sent twice.

import type { Failure } from '../http1/transport.ts'
import type { FallbackCause, RouteGroup } from '../names.ts'
import type { Upstream } from '../upstream/upstream.ts'

export interface FallbackPlan {
  /** Names of upstreams, in the order in which they are tried. */
  readonly from: readonly string[]
  readonly on: ReadonlySet<FallbackCause>
  /** In all. */
  readonly attempts: number
  /** After a request's arrival; no attempt begins later. */
  readonly withinMs: number
  readonly againIfBilled: boolean
  /** Which is asked first: that of the settings' order, or the one with the fewest requests. */
  readonly first: 'listed' | 'fewest'
  /** One for each of `from`; undefined: in their order. */
  readonly weights: readonly number[] | undefined
}

export interface FallbackPlans {
  readonly planOf: PlanOf
  /** Whether any of them spreads requests. */
  readonly spreads: boolean
}

/** Undefined where nothing stands in for this upstream on these routes. */
export type PlanOf = (group: RouteGroup, upstream: string) => FallbackPlan | undefined

/** What a request has behind it. */
export interface Attempted {
  readonly attempts: number
  readonly sinceArrivalMs: number
  /** Its caller counts on that it is done once at most, or what it makes stays. */
  isOnce(): boolean
}

/** An upstream may have run, and bill, what it has not answered. */
const MAY_BE_BILLED: ReadonlySet<FallbackCause> = new Set(['5xx', 'unanswered'])

export function mayTryAgain(
  { on, attempts, withinMs, againIfBilled }: FallbackPlan,
  cause: FallbackCause,
  before: Attempted,
): boolean {
  if (!on.has(cause)) return false
  if (MAY_BE_BILLED.has(cause) && (!againIfBilled || before.isOnce())) return false
  return before.attempts < attempts && before.sinceArrivalMs < withinMs
}

/** Where another upstream may answer a request at all. A sealed body is for one enclave. */
export function planFor(
  planOf: PlanOf,
  group: RouteGroup | undefined,
  upstream: Pick<Upstream, 'name' | 'credential'>,
  sealed: boolean,
): FallbackPlan | undefined {
  // Another account than the caller's own never stands in for it.
  if (sealed || group === undefined || upstream.credential) return undefined
  return planOf(group, upstream.name)
}

/**
 * Undefined for what another upstream would change nothing about, or might do a second time. `begun`: a
 * byte of the request has left.
 */
export function causeOfFailure({ kind }: Failure, begun: boolean): FallbackCause | undefined {
  if (kind === 'unreachable' || kind === 'connect_timeout') return begun ? undefined : 'unreachable'
  return kind === 'unanswered' && begun ? 'unanswered' : undefined
}

/**
 * `isOverload`: it says that it refused for its load. Of other failures that may be their caller's own words
 * in an echo, and they may be billed.
 */
export function causeOfStatus(status: number, isOverload: boolean): FallbackCause | undefined {
  if (status === 429 || status === 529 || (status === 503 && isOverload)) return 'overloaded'
  return status >= 500 ? '5xx' : undefined
}

/** The others of a plan. `draw`: a number from 0 to 1 that belongs to the request. */
export function inOrder(
  { from, weights }: FallbackPlan,
  except: string,
  draw: number,
): readonly string[] {
  const left = from.flatMap((name, at) =>
    name === except ? [] : [{ name, weight: weights?.[at] ?? 1 }],
  )
  if (!weights) return left.map(({ name }) => name)
  const ordered: string[] = []
  let part = draw
  while (left.length > 0) {
    const whole = left.reduce((sum, { weight }) => sum + weight, 0)
    let to = part * whole
    const found = left.findIndex(({ weight }) => (to -= weight) < 0)
    const [next] = left.splice(found === -1 ? left.length - 1 : found, 1)
    if (!next) break
    // What is left of the number, within the part that was drawn.
    part = Math.min(1, Math.max(0, (to + next.weight) / next.weight))
    ordered.push(next.name)
  }
  return ordered
}
