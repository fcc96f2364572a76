// What a device may do, and whom it belongs to. It comes from an enrolment code, from a user's claims
// or from the settings, never from the body of /bootstrap. A value that cannot be applied as written
// is refused: a dropped value would mean no limit at all.

import { isModelPattern } from '../token/model-pattern.ts'
import type { JsonObject } from '../token/strict-json.ts'

export interface Entitlements {
  /** Exact names, or prefixes with a trailing `*`; undefined means every model. */
  readonly models: readonly string[] | undefined
  /** Requests a minute. */
  readonly rateLimit: number | undefined
  /** US dollars in a calendar month. */
  readonly spendCap: number | undefined
  /** The name of the device's policy, which all of the above narrow. */
  readonly policy: string | undefined
  /** The name of the policy of the user who enrolled it, which narrows that one. */
  readonly userPolicy?: string | undefined
  readonly orgId: string | undefined
  readonly userId: string | undefined
}

export type EntitlementsRead =
  | { readonly ok: true; readonly value: Entitlements }
  | { readonly ok: false; readonly reason: string }

export const NO_ENTITLEMENTS: Entitlements = {
  models: undefined,
  rateLimit: undefined,
  spendCap: undefined,
  policy: undefined,
  orgId: undefined,
  userId: undefined,
}

/** Together with the ids, these bounds keep a token under the 8 KiB of bare.ts. */
const MAX_MODELS = 64
const MAX_MODELS_BYTES = 3072
export const MAX_RATE_LIMIT = 1_000_000
export const MAX_SPEND_CAP_USD = 1_000_000_000
/** Printable ASCII that neither begins nor ends with a space. */
const ID = /^[\x21-\x7e](?:[\x20-\x7e]{0,198}[\x21-\x7e])?$/

const POLICY = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/**
 * Reads members named as in a token: `models`, `rate_limit`, `spend_cap`, `policy`, `user_policy`,
 * `org_id`, `user_id`.
 */
export function readEntitlements(members: JsonObject): EntitlementsRead {
  const { models, rate_limit: rateLimit, spend_cap: spendCap, org_id: orgId } = members
  const { policy, user_policy: userPolicy, user_id: userId } = members
  if (models !== undefined && !areModels(models)) return wrong('models')
  if (rateLimit !== undefined && !isRateLimit(rateLimit)) return wrong('rate_limit')
  if (spendCap !== undefined && !isSpendCap(spendCap)) return wrong('spend_cap')
  if (policy !== undefined && !isPolicyName(policy)) return wrong('policy')
  if (userPolicy !== undefined && !isPolicyName(userPolicy)) return wrong('user_policy')
  if (orgId !== undefined && !isId(orgId)) return wrong('org_id')
  if (userId !== undefined && !isId(userId)) return wrong('user_id')
  const own = { models, rateLimit, spendCap, policy, orgId, userId }
  return { ok: true, value: userPolicy === undefined ? own : { ...own, userPolicy } }
}

/** The inverse; JSON leaves out undefined members. */
export function entitlementMembers(of: Entitlements): JsonObject {
  return {
    user_id: of.userId,
    org_id: of.orgId,
    models: of.models,
    rate_limit: of.rateLimit,
    spend_cap: of.spendCap,
    policy: of.policy,
    user_policy: of.userPolicy,
  }
}

/** Member by member: what `own` leaves out comes from the settings for every device. */
export function withDefaults(own: Entitlements, defaults: Entitlements): Entitlements {
  return {
    models: own.models ?? defaults.models,
    rateLimit: own.rateLimit ?? defaults.rateLimit,
    spendCap: own.spendCap ?? defaults.spendCap,
    policy: own.policy ?? defaults.policy,
    ...(own.userPolicy !== undefined && { userPolicy: own.userPolicy }),
    orgId: own.orgId ?? defaults.orgId,
    userId: own.userId ?? defaults.userId,
  }
}

function wrong(name: string): EntitlementsRead {
  return { ok: false, reason: `${name} cannot be applied` }
}

/** An empty list could mean nothing or everything, so it is refused. */
function areModels(value: unknown): value is string[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.length <= MAX_MODELS &&
    value.every((each) => typeof each === 'string' && isModelPattern(each)) &&
    JSON.stringify(value).length <= MAX_MODELS_BYTES
  )
}

function isRateLimit(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MAX_RATE_LIMIT
}

function isSpendCap(value: unknown): value is number {
  return typeof value === 'number' && value > 0 && value <= MAX_SPEND_CAP_USD
}

export function isPolicyName(value: unknown): value is string {
  return typeof value === 'string' && POLICY.test(value)
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && ID.test(value)
}
