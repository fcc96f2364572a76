// Which of several equal upstreams is asked first: the one with the fewest requests under way, or the one
// that keeps the caller's conversation in its prompt cache.

import type { RouteGroup } from '../names.ts'
import type { Served } from './choose.ts'
import type { PlanOf } from './plan.ts'

/** Counts the running requests at each upstream that shares load. */
export interface Running {
  of(upstream: string): number
  enter(upstream: string): RunningAt
}

/** One request, at the upstream that it runs at; it keeps nothing else of the request. */
export interface RunningAt {
  move(upstream: string): void
  leave(): void
}

export function running(): Running {
  const counts = new Map<string, number>()
  const add = (upstream: string, more: number): void => {
    counts.set(upstream, (counts.get(upstream) ?? 0) + more)
  }
  return {
    of: (upstream) => counts.get(upstream) ?? 0,
    enter(upstream) {
      let at: string | undefined = upstream
      add(upstream, 1)
      return {
        move(next) {
          if (at === undefined) return
          add(at, -1)
          add(next, 1)
          at = next
        },
        leave() {
          if (at !== undefined) add(at, -1)
          at = undefined
        },
      }
    },
  }
}

/** `conversation`: undefined where it decides nothing. */
export interface SpreadBy {
  readonly running: Pick<Running, 'of'>
  readonly conversation: string | undefined
  /** Monotonic milliseconds. */
  readonly now: number
}

/**
 * The same upstreams: those that a plan spreads change places with one another, best first. An upstream
 * that nobody can connect to comes last, or having nothing to do it would draw every request.
 */
export function spread(
  among: readonly Served[],
  planOf: PlanOf,
  group: RouteGroup,
  { running, conversation, now }: SpreadBy,
): readonly Served[] {
  const plans = among.map(({ upstream }) => {
    const plan = planOf(group, upstream.name)
    return plan?.first === 'fewest' ? plan : undefined
  })
  const rank = (on: Served): readonly [shut: number, load: number | bigint] => {
    const { name } = on.upstream
    const load = conversation === undefined ? running.of(name) : wanted(conversation, name)
    return [on.breaker.isShut(now) ? 1 : 0, load]
  }
  const sorted = new Map(
    [...new Set(plans)].flatMap((plan) => {
      if (!plan) return []
      const members = among.flatMap((on, at) =>
        plans[at] === plan ? [{ on, rank: rank(on) }] : [],
      )
      const best = members.toSorted(
        (a, b) => compare(a.rank[0], b.rank[0]) || compare(a.rank[1], b.rank[1]),
      )
      return [[plan, best.map(({ on }) => on)] as const]
    }),
  )
  return among.map((on, at) => {
    const plan = plans[at]
    return (plan && sorted.get(plan)?.shift()) ?? on
  })
}

const compare = (a: number | bigint, b: number | bigint): number => (a < b ? -1 : a > b ? 1 : 0)

/** Rendezvous hashing: where one upstream is gone, the conversations of the others stay. */
const wanted = (conversation: string, upstream: string): bigint =>
  BigInt(Bun.hash(`${conversation} ${upstream}`))
