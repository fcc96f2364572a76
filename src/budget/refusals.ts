// The messages for a request that its credential does not allow: which model and which are allowed,
// what it may cost and what is left. A model's name is a stranger's text, so it is cut and made
// printable here.

import { dayOf, type Period } from '../turn/calendar.ts'
import { type Refusal, refused } from '../refusal.ts'
import { printable } from '../token/model-pattern.ts'
import type { SpendRefusalReason } from '../state/port.ts'

/** How many names of a list are shown; the rest is counted. */
const MAX_NAMES = 12
/** Rows become free when the month turns; a client that asks often costs little. */
const FULL_RETRY_SECONDS = 5

/** `patterns`: what this credential may use. */
export function modelNotAllowed(model: string, patterns: readonly string[]): Refusal {
  const name = printable(model)
  const may = `this token may use ${listed(patterns)}`
  return refused('model_not_allowed', {
    message: {
      anthropic: `model: ${name} (${may})`,
      openai: `The model \`${name}\` does not exist or you do not have access to it; ${may}`,
    },
  })
}

/** `what`: a price class or tool that has no price. */
export function modelNotPriced(model: string, what?: string): Refusal {
  const of = what === undefined ? '' : ` for ${printable(what)}`
  const message = `${printable(model)} has no price${of} at this gate, so a token with a spend cap cannot use it`
  return refused('model_not_priced', { message })
}

/** For a member that may run models or cost something unknown to this gate. */
export function unknownCost(what: string): Refusal {
  return refused('unknown_cost', {
    message: `this token is limited in models or spending, and the request has ${printable(what)}: this gate cannot tell which models that runs or what it costs`,
  })
}

/** `own`: the upstream answers others, and only this caller's requests of this kind fail. */
export function circuitOpen(own: boolean, retryAfterSeconds: number): Refusal {
  if (!own) return refused('circuit_open', { retryAfterSeconds })
  return refused('circuit_open', {
    reason: "the caller's own",
    message: 'the upstream fails your requests of this kind and answers others; try again later',
    retryAfterSeconds,
  })
}

export type CapOwner = 'user' | 'device' | 'key' | 'session' | 'organisation'

/** Amounts in micro-USD, of the cap without room. */
export interface SpendOverrun {
  readonly reason: SpendRefusalReason
  readonly whose: CapOwner
  readonly period: Period
  readonly amount: number
  readonly cap: number
  readonly spent: number
  readonly reserved: number
  readonly retryAfterSeconds: number
}

/** A refusal that waiting does not help has no Retry-After. */
export function overspent(over: SpendOverrun, nowEpochMs: number): Refusal {
  const { reason, whose, period, amount, cap, spent, reserved, retryAfterSeconds } = over
  const may = `this request may cost up to ${usd(amount, Math.ceil)}`
  const of = `the ${whose}'s ${usd(cap, Math.floor)} a ${period}`
  const left = usd(Math.max(0, cap - spent), Math.floor)
  const free = usd(Math.max(0, cap - spent - reserved), Math.floor)
  switch (reason) {
    case 'exceeds_cap':
      return refused('spend_cap_reached', {
        reason,
        message: `${may}, which is more than ${of}; lower max_tokens or send less`,
      })
    case 'cap_reached':
      return refused('spend_cap_reached', {
        reason,
        retryAfterSeconds,
        message: `${may}, and ${left} is left of ${of} until ${dayOf(nowEpochMs + retryAfterSeconds * 1000)}`,
      })
    case 'reserved':
      return refused('spend_reserved', {
        reason,
        retryAfterSeconds,
        message: `${may}, and ${free} of ${of} is free while requests under way hold ${usd(reserved, Math.ceil)}`,
      })
    case 'table_full':
      return refused('spend_unavailable', { reason, retryAfterSeconds: FULL_RETRY_SECONDS })
  }
}

/** `$4.80`; amounts below a dollar get more decimals if they have them. */
function usd(microUsd: number, round: (value: number) => number): string {
  const small = microUsd < 10_000 ? 6 : 4
  const decimals = microUsd < 1_000_000 && microUsd % 10_000 !== 0 ? small : 2
  const unit = 10 ** (6 - decimals)
  return `$${(round(microUsd / unit) / 10 ** decimals).toFixed(decimals)}`
}

function listed(patterns: readonly string[]): string {
  const names = patterns.slice(0, MAX_NAMES).map(printable).join(', ')
  const more = patterns.length - MAX_NAMES
  return more > 0 ? `${names} and ${more} more` : names
}
