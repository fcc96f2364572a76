// Spend caps of a caller and of their organisation, by day and by month. A request is charged before
// it goes out with the most that it can cost, so its body has to be read.

import type { Admitted } from '../admit/admitted.ts'
import type { Limits, Policy } from '../policy/policy.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { Reservation, SpendCaps, SpendScope } from '../state/port.ts'
import type { Instant } from '../turn/instant.ts'
import { spanOf } from '../turn/calendar.ts'
import { type Costly, requestsOf } from '../upstream/costly.ts'
import { type HeldReservation, type Limit, NOTHING_HELD } from './limit.ts'
import { BATCH, type Prices } from './prices.ts'
import { modelNotPriced, overspent, unknownCost, type CapOwner } from './refusals.ts'
import { mostOf } from './worst-case.ts'

/** The standing of a cap in this month or day. */
export interface CapStanding {
  readonly scope: Admitted['kind'] | 'org'
  readonly period: SpendScope['period']
  readonly limitMicroUsd: number
  /** Charges minus credits. */
  readonly spentMicroUsd: number
  /** The part that was estimated because an answer was cut. */
  readonly estimatedMicroUsd: number
  readonly creditedMicroUsd: number
  /** Held by running requests. */
  readonly reservedMicroUsd: number
  readonly leftMicroUsd: number
  readonly resetsAtMs: number
}

export interface SpendLimit extends Limit {
  isCapped(admitted: Admitted): boolean
  /** The standing of each cap that this caller's requests count against. */
  standing(admitted: Admitted, now: Instant): readonly CapStanding[]
  /** What running requests hold, for each caller and organisation with a reservation. */
  reservations(now: Instant): readonly HeldByCap[]
}

/** The reservations of one caller, by identity, or of one organisation, by its id. */
export interface HeldByCap {
  readonly of: 'caller' | 'organisation'
  readonly name: string
  readonly period: SpendScope['period']
  readonly reservedMicroUsd: number
}

export function spendLimit(caps: SpendCaps, prices: Prices): SpendLimit {
  return {
    isCapped: isCappedCaller,
    needsBody: isCappedCaller,
    decide(admitted, costly, { epochSeconds }) {
      if (costly.free) return granted(NOTHING_HELD)
      const most = mostOfAll(costly, prices)
      if (!most.ok) return most
      const { amount, maxTokens } = most.value
      const nowMs = epochSeconds * 1000
      const taken = caps.reserve(scopesOf(admitted), amount, nowMs)
      if (taken.ok) {
        const { reservation } = taken
        const isBatch = maxTokens === undefined
        return granted(isBatch ? { reservation } : held(reservation, maxTokens, costly, prices))
      }
      const { scope, reason, retryAfterSeconds } = taken
      const { key, period, capMicroUsd: cap, former } = scope
      const { spentMicroUsd: spent, reservedMicroUsd: reserved } = caps.read(
        key,
        nowMs,
        period,
        former,
      )
      const whose: CapOwner = key === personKey(admitted.identity) ? admitted.kind : 'organisation'
      const over = { reason, whose, period, amount, cap, spent, reserved, retryAfterSeconds }
      return overspent(over, nowMs)
    },
    reservations: ({ epochSeconds }) => heldByCaps(caps, epochSeconds * 1000),
    standing: (admitted, { epochSeconds }) =>
      scopesOf(admitted).map(({ key, period, capMicroUsd, former }) => {
        const nowMs = epochSeconds * 1000
        const standing = caps.read(key, nowMs, period, former)
        const { spentMicroUsd, reservedMicroUsd } = standing
        return Object.assign(standing, {
          scope: key.startsWith(ORG_PREFIX) ? ('org' as const) : admitted.kind,
          period,
          limitMicroUsd: capMicroUsd,
          leftMicroUsd: Math.max(0, capMicroUsd - spentMicroUsd - reservedMicroUsd),
          resetsAtMs: spanOf(period, nowMs).endMs,
        })
      }),
  }
}

const ORG_PREFIX = 'org:'
const PERSON_PREFIX = 'person:'

function heldByCaps(caps: SpendCaps, nowMs: number): HeldByCap[] {
  return caps.reservations(nowMs).map(({ key, period, reservedMicroUsd }) => {
    const isOrg = key.startsWith(ORG_PREFIX)
    const name = key.slice((isOrg ? ORG_PREFIX : PERSON_PREFIX).length)
    return { of: isOrg ? 'organisation' : 'caller', name, period, reservedMicroUsd }
  })
}

/** Identities of users, devices and keys are hashes that never collide. */
export const personKey = (identity: string): string => PERSON_PREFIX + identity
export const orgKey = (org: string): string => ORG_PREFIX + org

const isCapped = ({ spendPerDay, spendPerMonth }: Limits): boolean =>
  spendPerDay !== undefined || spendPerMonth !== undefined

const isCappedCaller = ({ org, policy }: Admitted): boolean =>
  isCapped(policy.person) || (org !== undefined && isCapped(policy.organisation))

function scopesOf({ identity, former, org, policy }: Admitted): SpendScope[] {
  return [
    ...scopes(personKey(identity), policy.person, former?.map(personKey)),
    ...(org === undefined ? [] : scopes(orgKey(org), policy.organisation)),
  ]
}

function scopes(
  key: string,
  { spendPerMonth, spendPerDay }: Policy['person'],
  former?: readonly string[],
): SpendScope[] {
  const found: SpendScope[] = []
  const add = (period: SpendScope['period'], capMicroUsd: number | undefined): void => {
    if (capMicroUsd === undefined) return
    found.push(former ? { key, period, capMicroUsd, former } : { key, period, capMicroUsd })
  }
  add('month', spendPerMonth)
  add('day', spendPerDay)
  return found
}

interface MostOfAll {
  readonly amount: number
  /** Undefined for a batch, which goes on when nobody waits for it. */
  readonly maxTokens: number | undefined
}

function mostOfAll(costly: Costly, prices: Prices): Decision<MostOfAll> {
  let amount = 0
  let last: number | undefined
  for (const each of requestsOf(costly)) {
    const [what] = [...each.unknown, ...(each.unpriced ?? [])]
    if (what !== undefined) return unknownCost(what)
    last = each.maxTokens ?? boundOf(each, prices)
    if (last === undefined) return refused('max_tokens_required')
    const most = mostOf(each, last, prices)
    if (!most.ok) return modelNotPriced(most.model, most.what)
    amount = Math.min(Number.MAX_SAFE_INTEGER, amount + most.microUsd)
  }
  return granted({ amount, maxTokens: costly.requests ? undefined : last })
}

/** The longest answer that one of its models can write; undefined if a table does not say. */
function boundOf({ isBoundByModel, model, models }: Costly, prices: Prices): number | undefined {
  if (isBoundByModel !== true) return undefined
  const bounds = [model, ...models].map((each) => {
    const price = prices.priceOf(each)
    // A model without a price is refused for that reason.
    return price ? (price.maxOutputTokens ?? price.contextTokens) : 0
  })
  return bounds.includes(undefined) ? undefined : Math.max(...bounds.map(Number))
}

function held(
  reservation: Reservation,
  maxTokens: number,
  costly: Costly,
  prices: Prices,
): HeldReservation {
  const { amountMicroUsd } = reservation
  const { answers = 1 } = costly
  // `outputTokens` is the sum of all answers.
  const atMost = (outputTokens: number): number => {
    const each = Math.min(maxTokens, Math.ceil(outputTokens / answers))
    return stoppedAfter(each, costly, prices, amountMicroUsd)
  }
  return { reservation, maxTokens, answers, atMost }
}

/** A batch goes on when nobody waits for it. */
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
