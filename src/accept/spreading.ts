// Puts the best of several equal upstreams first: by the requests that run there, or by the conversation
// whose beginning is in its prompt cache.

import type { Reserved } from '../budget/budget.ts'
import { MAX_HELD_BYTES } from '../dispatch/body.ts'
import type { Bodies, Permitted } from '../dispatch/bodies.ts'
import { conversationOf } from '../dispatch/conversation.ts'
import { type Running, type RunningAt, spread } from '../dispatch/load.ts'
import type { FallbackPlan, PlanOf } from '../dispatch/plan.ts'
import type { Exchange } from '../exchange.ts'
import type { RouteGroup } from '../names.ts'
import { bounded } from '../policy/allows.ts'
import { type Decision, granted } from '../refusal.ts'
import type { PickedUpstream } from './picked.ts'

export interface SpreadingParts {
  readonly bodies: Pick<Bodies, 'read'>
  readonly running: Pick<Running, 'of'>
}

export interface ToSpread {
  readonly request: Request
  readonly group: RouteGroup | undefined
  /** Undefined if no plan spreads requests. */
  readonly planOf: PlanOf | undefined
}

/** Whether another upstream may be better than the first. */
export const isSpread = ({ among, inspected }: PickedUpstream): boolean =>
  among.length > 1 && !inspected.sealed

/** Counts a request where it runs, until its slot is released. */
export function placeAt(
  running: Running,
  upstream: string,
  { first }: Pick<FallbackPlan, 'first'>,
  reserved: Reserved,
): RunningAt | undefined {
  if (first !== 'fewest') return undefined
  const place = running.enter(upstream)
  reserved.also(() => place.leave())
  return place
}

export type SpreadOver = (
  permitted: Permitted,
  asked: ToSpread,
  from: PickedUpstream,
  exchange: Exchange,
) => Promise<Decision<PickedUpstream>>

export function spreading({ bodies, running }: SpreadingParts): SpreadOver {
  return async (permitted, { request, group, planOf }, from, exchange) => {
    const { policy, identity } = permitted.admitted
    if (!planOf || group === undefined || !isSpread(from)) return granted(from)
    let { held } = from
    let conversation: string | undefined
    if (policy.keepsConversations && isReadable(request, from)) {
      const sender = { request, method: 'POST', limited: false }
      const body = held ?? (await bodies.read(permitted, sender, from.inspected, exchange))
      if (!body.ok) return body
      if (body.value instanceof Uint8Array) {
        held = granted(body.value)
        conversation = conversationOf(identity, body.value)
      }
    }
    const by = { running, conversation, now: performance.now() }
    const among = spread(from.among, planOf, group, by)
    const [on = from.on] = among
    if (on === from.on) return granted({ ...from, among, held })
    const seen = on.upstream.inspect(request.headers, true)
    if (!seen.ok) return seen
    return granted({ on, among, inspected: bounded(policy, seen.value), held })
  }
}

/** Only a body that is small, and so held whole in any case. */
function isReadable({ headers }: Request, { held, inspected: { length } }: PickedUpstream) {
  if (headers.has('content-encoding')) return false
  return held !== undefined || (length !== undefined && length <= MAX_HELD_BYTES)
}
