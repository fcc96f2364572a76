// What a caller may do. A policy is one frozen object that all of its callers share: limits keep their
// state beside that object, so that a request allocates nothing for it.

import { type RouteGroup, USUAL_GROUPS } from '../names.ts'
import { intersection } from '../token/model-pattern.ts'

export interface Rate {
  readonly perMinute: number
  /** Requests that may come at once. */
  readonly burst: number
}

/** Undefined means no limit. Spending is in whole micro-USD, by UTC day and by UTC month. */
export interface Limits {
  readonly rate: Rate | undefined
  readonly concurrency: number | undefined
  readonly spendPerDay: number | undefined
  readonly spendPerMonth: number | undefined
}

export interface Policy {
  readonly name: string
  /**
   * Exact names, or prefixes with a trailing `*`. Undefined means every model, an empty list none.
   */
  readonly models: readonly string[] | undefined
  /** By name. Undefined means every upstream, an empty list none. */
  readonly upstreams: readonly string[] | undefined
  /** Undefined means every route but those that must be named, an empty list none. */
  readonly routes: readonly RouteGroup[] | undefined
  /** In addition to the upstream's own maximum. */
  readonly maxBodyBytes: number | undefined
  /** False: a body must be sealed, so that only the enclave can read it. */
  readonly plaintext: boolean
  /** True: a stream that tells its usage only when asked must be asked for it. */
  readonly streamUsage: boolean
  /** True: callers are told to which upstream their requests went. */
  readonly tellsUpstream: boolean
  /** False: another upstream never stands in for the first. */
  readonly fallback: boolean
  /** True: a conversation stays at one upstream where requests are spread over several. */
  readonly keepsConversations: boolean
  /** For each caller: a user, a device, a key or a session. */
  readonly person: Limits
  /** For all callers of one organisation together; ignored for callers without one. */
  readonly organisation: Limits
}

export const NO_LIMITS: Limits = Object.freeze({
  rate: undefined,
  concurrency: undefined,
  spendPerDay: undefined,
  spendPerMonth: undefined,
})

/** The defaults of a policy. */
const UNLIMITED: Omit<Policy, 'name'> = {
  models: undefined,
  upstreams: undefined,
  routes: undefined,
  maxBodyBytes: undefined,
  plaintext: true,
  streamUsage: false,
  tellsUpstream: false,
  fallback: true,
  keepsConversations: false,
  person: NO_LIMITS,
  organisation: NO_LIMITS,
}

/**
 * Anything that is not given is not limited. Throws if a limit is invalid: NaN would let everything
 * pass.
 */
export function policy(said: Partial<Policy> & Pick<Policy, 'name'>): Policy {
  const made: Policy = { ...UNLIMITED, ...said }
  for (const { rate, concurrency, spendPerDay, spendPerMonth } of [
    made.person,
    made.organisation,
  ]) {
    if (rate) mustBe(rate.perMinute > 0 && Number.isFinite(rate.perMinute), 'rate')
    if (rate) mustBe(Number.isSafeInteger(rate.burst) && rate.burst >= 1, 'burst')
    for (const amount of [concurrency, spendPerDay, spendPerMonth]) mustBeAmount(amount)
  }
  mustBeAmount(made.maxBodyBytes)
  return Object.freeze(made)
}

function mustBeAmount(amount: number | undefined): void {
  if (amount !== undefined) mustBe(Number.isSafeInteger(amount) && amount >= 0, 'limit')
}

function mustBe(isOne: boolean, what: string): void {
  if (!isOne) throw new RangeError(`a policy has an invalid ${what}`)
}

/**
 * What both policies allow, under the name of `a`; `a` itself if `b` does not narrow it, so that
 * callers without limits of their own share one object.
 */
export function narrowed(a: Policy, b: Omit<Policy, 'name'>): Policy {
  const both: Policy = {
    name: a.name,
    models: whereBoth(a.models, b.models, intersection),
    upstreams: whereBoth(a.upstreams, b.upstreams, common),
    routes: bothRoutes(a.routes, b.routes),
    maxBodyBytes: least(a.maxBodyBytes, b.maxBodyBytes),
    plaintext: a.plaintext && b.plaintext,
    streamUsage: a.streamUsage || b.streamUsage,
    // It limits nothing.
    tellsUpstream: a.tellsUpstream || b.tellsUpstream,
    fallback: a.fallback && b.fallback,
    keepsConversations: a.keepsConversations || b.keepsConversations,
    person: narrowedLimits(a.person, b.person),
    organisation: narrowedLimits(a.organisation, b.organisation),
  }
  return Bun.deepEquals(both, a, true) ? a : Object.freeze(both)
}

function narrowedLimits(a: Limits, b: Limits): Limits {
  return Object.freeze({
    rate: whereBoth(a.rate, b.rate, slower),
    concurrency: least(a.concurrency, b.concurrency),
    spendPerDay: least(a.spendPerDay, b.spendPerDay),
    spendPerMonth: least(a.spendPerMonth, b.spendPerMonth),
  })
}

function whereBoth<T>(a: T | undefined, b: T | undefined, meet: (a: T, b: T) => T): T | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return meet(a, b)
}

/** Whoever names none means the usual ones; undefined if that is what is left. */
function bothRoutes(a: Policy['routes'], b: Policy['routes']): Policy['routes'] {
  if (a === b) return a
  const both = common(a ?? USUAL_GROUPS, b ?? USUAL_GROUPS)
  const isUsual = a === undefined || b === undefined
  return isUsual && both.length === USUAL_GROUPS.length ? undefined : both
}

const least = (a: number | undefined, b: number | undefined): number | undefined =>
  whereBoth(a, b, Math.min)

const common = <T>(a: readonly T[], b: readonly T[]): readonly T[] =>
  a.filter((each) => b.includes(each))

const slower = (a: Rate, b: Rate): Rate => ({
  perMinute: Math.min(a.perMinute, b.perMinute),
  burst: Math.min(a.burst, b.burst),
})
