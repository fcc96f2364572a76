// The last checks before a request goes out: do its limits allow it, and is the upstream healthy?
// Everything taken here is given back or settled when the request has ended, for whatever reason.

import type { Admitted } from '../admit/admitted.ts'
import { type Decision, granted, type Refusal, refused } from '../refusal.ts'
import type { SpendCaps } from '../state/port.ts'
import type { Instant } from '../turn/instant.ts'
import type { Costly } from '../upstream/costly.ts'
import type { CircuitRequest, Breaker } from './breaker.ts'
import type { CircuitPermit } from './pass.ts'
import { decideAll, type HeldReservation, type Limit } from './limit.ts'
import { modelLimit } from './model-limit.ts'
import type { Prices } from './prices.ts'
import { streamUsageLimit } from './stream-usage.ts'
import { circuitOpen, unknownCost } from './refusals.ts'
import { type CapStanding, type HeldByCap, spendLimit } from './spend-limit.ts'

export interface Charge extends HeldReservation {
  readonly pass: CircuitPermit
}

/** What is known about a request that is about to go out. */
export interface ChargeableRequest extends Omit<CircuitRequest, 'caller'> {
  readonly hasBody: boolean
  readonly sealed: boolean
}

export interface Charges {
  /**
   * Whether the body has to be read for this caller; a refusal if it is sealed and cannot be read.
   * `route`: `POST /v1/messages`.
   */
  needsBody(admitted: Admitted, route: string, sealed: boolean): Decision<boolean>
  /** The refusal of a request that costs what nobody here can tell, for a caller with a cap. */
  unpriced(admitted: Admitted, what: string): Refusal | undefined
  take(
    admitted: Admitted,
    costly: Costly | undefined,
    breaker: Breaker,
    charged: ChargeableRequest,
    now: Instant,
  ): Decision<Charge>
  /** For one more response of a connection whose handshake was charged: its limits, without the circuit. */
  hold(
    admitted: Admitted,
    costly: Costly,
    charged: Pick<ChargeableRequest, 'route' | 'sealed'>,
    now: Instant,
  ): Decision<HeldReservation>
  /** The standing of each cap that this caller's requests count against. */
  standing(admitted: Admitted, now: Instant): readonly CapStanding[]
  /** What running requests hold, for each caller and organisation with a reservation. */
  reservations(now: Instant): readonly HeldByCap[]
}

export interface ChargeOptions {
  readonly caps: SpendCaps
  readonly prices: Prices
}

const UNREAD = granted(false)
const READ = granted(true)

export function charges({ caps, prices }: ChargeOptions): Charges {
  const spend = spendLimit(caps, prices)
  /** In this order: a request that is refused for its model needs no price. */
  const limits: readonly Limit[] = [modelLimit, streamUsageLimit, spend]
  return {
    needsBody(admitted, route, sealed) {
      for (const limit of limits) {
        if (limit.needsBody(admitted, route, sealed))
          return sealed ? refused('sealed_body_limited') : READ
      }
      return UNREAD
    },
    unpriced: (admitted, what) => (spend.isCapped(admitted) ? unknownCost(what) : undefined),
    take(admitted, costly, breaker, { host, route, model, hasBody, sealed }, now) {
      const held = decideAll(limits, admitted, { costly, hasBody, route, sealed }, now)
      if (!held.ok) return held
      // Last, because a probe's slot is taken from here on.
      const asking = { caller: admitted.identity, host, route, model }
      const entry = breaker.enter(asking, now.monotonicMs)
      if (entry.ok) return granted({ pass: entry.pass, ...held.value })
      held.value.reservation?.release()
      return circuitOpen(entry.own, entry.retryAfterSeconds)
    },
    hold: (admitted, costly, { route, sealed }, now) =>
      decideAll(limits, admitted, { costly, hasBody: true, route, sealed }, now),
    standing: spend.standing,
    reservations: spend.reservations,
  }
}
