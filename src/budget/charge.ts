// What a request that is about to go out is charged with, and the last two questions: is its model
// allowed and affordable, and is the upstream well? Everything taken here is given back or settled
// when the request has ended, whichever way.

import type { Admitted } from '../admit/admitted.ts'
import { allowedModel } from '../token/model-pattern.ts'
import type { Instant } from '../turn/instant.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { Asking, Breaker, Pass } from './breaker.ts'
import type { Costly } from '../upstream/costly.ts'
import { BATCH, type Prices } from './prices.ts'
import { circuitOpen, modelNotAllowed, modelNotPriced, overspent, unknownCost } from './refusals.ts'
import type { Reservation, SpendCaps, SpendScope } from '../state/memory/spend.ts'
import { monthEndMs } from '../turn/calendar.ts'
import { mostOf } from './worst-case.ts'

export interface Charge extends Held {
  readonly pass: Pass
}

/** What was reserved, and what it was reserved for. */
export interface Held {
  readonly reservation: Reservation | undefined
  readonly maxTokens?: number | undefined
  /** What the request can have cost if it was stopped after so many tokens of output. */
  readonly atMost?: ((outputTokens: number) => number) | undefined
}

/** How a cap stands in this month. */
export interface CapStanding {
  readonly scope: 'device' | 'org'
  readonly limitMicroUsd: number
  /** Less what was credited. */
  readonly spentMicroUsd: number
  /** What of it was estimated, because an answer was cut. */
  readonly estimatedMicroUsd: number
  readonly creditedMicroUsd: number
  /** Held by requests under way. */
  readonly reservedMicroUsd: number
  readonly leftMicroUsd: number
  readonly resetsAtMs: number
}

export interface Charges {
  /** Whether the body of such a request must be read: only where a list or a cap applies. */
  concern(admitted: Admitted): boolean
  take(
    admitted: Admitted,
    costly: Costly | undefined,
    breaker: Breaker,
    asking: Omit<Asking, 'caller'>,
    now: Instant,
  ): Decision<Charge>
  /** Of each cap that requests of this identity count against. */
  standing(admitted: Admitted, now: Instant): readonly CapStanding[]
}

export interface ChargeOptions {
  readonly caps: SpendCaps
  readonly prices: Prices
  readonly orgSpendCapMicroUsd: number | undefined
}

export function charges({ caps, prices, orgSpendCapMicroUsd }: ChargeOptions): Charges {
  const scopesOf = ({ identity, device }: Admitted): SpendScope[] => [
    ...(device?.spendCapMicroUsd === undefined
      ? []
      : [{ key: deviceKey(identity), capMicroUsd: device.spendCapMicroUsd }]),
    ...(device?.org === undefined || orgSpendCapMicroUsd === undefined
      ? []
      : [{ key: orgKey(device.org), capMicroUsd: orgSpendCapMicroUsd }]),
  ]

  const reserve = (
    admitted: Admitted,
    costly: Costly,
    { epochSeconds }: Instant,
  ): Decision<Held> => {
    const scopes = scopesOf(admitted)
    const { maxTokens } = costly
    if (costly.free || scopes.length === 0) return granted(NOTHING_HELD)
    if (maxTokens === undefined) return refused('max_tokens_required')
    const most = mostOf(costly, maxTokens, prices)
    if (!most.ok) return modelNotPriced(most.model, most.what)
    const amount = most.microUsd
    const nowMs = epochSeconds * 1000
    const taken = caps.reserve(scopes, amount, nowMs)
    if (taken.ok) {
      const { reservation } = taken
      const atMost = (outputTokens: number): number =>
        stoppedAfter(Math.min(maxTokens, Math.ceil(outputTokens)), costly, prices, amount)
      return granted({ reservation, maxTokens, atMost })
    }
    const { key, reason, retryAfterSeconds } = taken
    const { spentMicroUsd: spent, reservedMicroUsd: reserved } = caps.read(key, nowMs)
    const cap = scopes.find((each) => each.key === key)?.capMicroUsd ?? 0
    const whose = key === deviceKey(admitted.identity) ? 'device' : 'organisation'
    return overspent({ reason, whose, amount, cap, spent, reserved, retryAfterSeconds }, nowMs)
  }

  return {
    concern: (admitted) =>
      admitted.device !== undefined &&
      (admitted.device.models.length > 0 || scopesOf(admitted).length > 0),
    take(admitted, costly, breaker, { host, route, model }, now) {
      const allowed = costly
        ? mayUse(costly, admitted, scopesOf(admitted).length > 0)
        : granted(undefined)
      if (!allowed.ok) return allowed
      const reserved = costly ? reserve(admitted, costly, now) : granted(NOTHING_HELD)
      if (!reserved.ok) return reserved
      // Last, since a probe's place is taken from here on.
      const asking = { caller: admitted.identity, host, route, model }
      const entry = breaker.enter(asking, now.monotonicMs)
      if (entry.ok) return granted({ pass: entry.pass, ...reserved.value })
      reserved.value.reservation?.release()
      return circuitOpen(entry.own, entry.retryAfterSeconds)
    },
    standing: (admitted, { epochSeconds }) =>
      scopesOf(admitted).map(({ key, capMicroUsd }) => {
        const nowMs = epochSeconds * 1000
        const standing = caps.read(key, nowMs)
        const { spentMicroUsd, reservedMicroUsd } = standing
        return Object.assign(standing, {
          scope: key.startsWith(ORG_PREFIX) ? ('org' as const) : ('device' as const),
          limitMicroUsd: capMicroUsd,
          leftMicroUsd: Math.max(0, capMicroUsd - spentMicroUsd - reservedMicroUsd),
          resetsAtMs: monthEndMs(nowMs),
        })
      }),
  }
}

const NOTHING_HELD: Held = { reservation: undefined }

/** A batch runs on when nobody waits for it. */
function stoppedAfter(
  outputTokens: number,
  costly: Costly,
  prices: Prices,
  reserved: number,
): number {
  if (costly.priceClasses.includes(BATCH)) return reserved
  const most = mostOf(costly, outputTokens, prices)
  return most.ok ? Math.min(reserved, most.microUsd) : reserved
}

const ORG_PREFIX = 'org:'

export const deviceKey = (hash: string): string => `device:${hash}`
export const orgKey = (org: string): string => ORG_PREFIX + org

/** Every model that is named must be on the list; what nobody knows may name one, or cost something. */
function mayUse(costly: Costly, { device }: Admitted, isCapped: boolean): Decision<undefined> {
  const patterns = device?.models ?? []
  const { model, fallbacks, advisors, models, unknown, free } = costly
  const named = [model, ...[...fallbacks, ...advisors].map((each) => each.model), ...models]
  const denied = named.find((each) => !allowedModel(each, patterns))
  if (denied !== undefined) return modelNotAllowed(denied, patterns)
  const [what] = unknown
  const isListed = patterns.length > 0 && !patterns.includes('*')
  const isLimited = isListed || (isCapped && !free)
  return what !== undefined && isLimited ? unknownCost(what) : granted(undefined)
}
