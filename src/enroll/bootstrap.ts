// Who may enrol a device, and with which credential: the four policies of /bootstrap. The body says
// what the device calls itself and may carry a code; anything it says about models or limits is
// ignored.

import type { Database } from 'bun:sqlite'
import type { JsonObject } from '../token/strict-json.ts'
import type { BucketDecision, Counters } from '../state/port.ts'
import type { Instant } from '../turn/instant.ts'
import { codeNamed, consumeCode, isCode } from './codes.ts'
import type { DeviceClaims } from './device-token.ts'
import { type Entitlements, NO_ENTITLEMENTS, readEntitlements } from './entitlements.ts'
import {
  deviceHashOf,
  type EnrollingDevice,
  type FormerKeys,
  moveUser,
  NO_FORMER_KEYS,
  ownerOf,
} from './former.ts'
import { countOtherDevices, unusedEnrolment } from './families.ts'
import { openEnrolments, type OpenLimits, perHour } from './open-limits.ts'
import { declined, type EnrollDecision } from './refusals.ts'
import type { IdentifyAs } from './withdraw.ts'

export type BootstrapPolicy = 'off' | 'code' | 'jwt' | 'open'

export interface BootstrapRequest {
  /** Trimmed. */
  readonly deviceId: string
  /** What the device calls itself, for the operator's list only: anybody may take any name. */
  readonly deviceName?: string | undefined
  readonly appVersion: string | undefined
  readonly code: string | undefined
}

export interface BootstrapContext {
  /** The key under which limits count a stranger's address: see accept/address.ts. */
  readonly addressKey: string
  /** The request's bearer token as it came; under `code` it may be the code. */
  readonly credential: string | undefined
  /** Under `jwt`: the user whom admit/ accepted by that token. */
  readonly user: EnrollingUser | undefined
}

export interface EnrollingUser {
  /** The HMAC of issuer and subject; becomes the device's `user_id`. */
  readonly identity: string
  /** The same under former keys. */
  readonly former?: readonly string[]
  /**
   * The claims of the verified token. `models`, `rate_limit`, `spend_cap` and `org_id` are used.
   */
  readonly claims: JsonObject
  /** The organisation, by the issuer's `organisation_claim`. */
  readonly org?: string | undefined
  /** The name of the policy that a rule gives the user. */
  readonly policy?: string | undefined
}

export interface BootstrapLimits extends OpenLimits {
  /** Each device has its own limits, so a user's devices multiply what the user may spend. */
  readonly maxDevicesPerUser: number
  readonly perUserPerHour: number
}

export const BOOTSTRAP_LIMITS: BootstrapLimits = {
  openPerAddressPerHour: 10,
  openPerSitePerHour: 100,
  openPerBlockPerHour: 400,
  openPerHour: 1000,
  maxDevicesPerUser: 10,
  perUserPerHour: 30,
}

export interface GrantedEnrollment {
  readonly owner: string
  /** The code's label, from the operator. */
  readonly label?: string | undefined
  /** The earlier enrolment that this one repeats, because its answer was lost. */
  readonly repeated?: DeviceClaims | undefined
  readonly deviceHash: string
  readonly entitlements: Entitlements
}

/** The part that needs the disk, run inside the transaction that creates the family. */
export type TakeEnrollment = (db: Database, now: Instant) => EnrollDecision<GrantedEnrollment>

export type PermitEnrollment = (
  request: BootstrapRequest,
  context: BootstrapContext,
  now: Instant,
) => EnrollDecision<TakeEnrollment>

/** The configured policy. Each asks memory first, and the disk only for a request that passed. */
export function bootstrapPolicy(
  counters: Counters,
  policy: BootstrapPolicy,
  identify: IdentifyAs,
  limits: BootstrapLimits = BOOTSTRAP_LIMITS,
  /** Whether a token of this family was seen in use that the disk does not know about yet. */
  isUsed: (family: string) => boolean = () => false,
  former: FormerKeys = NO_FORMER_KEYS,
): PermitEnrollment {
  const granted = (
    db: Database,
    now: Instant,
    device: EnrollingDevice,
    entitlements: Entitlements,
  ): { ok: true; value: GrantedEnrollment } => {
    // Bound to the user who enrolled it. A device chooses its own id, so otherwise anybody could enrol
    // under another's id, read its usage and spend its cap.
    const deviceHash = deviceHashOf(db, device, identify, former, now)
    return { ok: true, value: { owner: device.owner, deviceHash, entitlements } }
  }

  const permits: Readonly<Record<BootstrapPolicy, () => PermitEnrollment>> = {
    off: () => () => declined('enrollment_closed'),

    code:
      () =>
      ({ deviceId, code: inBody }, { credential }) => {
        if (inBody !== undefined && credential !== undefined && inBody !== credential) {
          return declined('ambiguous_credentials')
        }
        const code = inBody ?? credential
        if (code === undefined) return declined('enrollment_required', { message: NO_CODE })
        if (!isCode(code)) return wrongCode('code is malformed')
        return take((db, now) => {
          const known = codeNamed(db, code)
          if (!known) return wrongCode()
          const device = { owner: known, deviceId }
          const { deviceHash } = granted(db, now, device, NO_ENTITLEMENTS).value
          const repeated = unusedEnrolment(db, { deviceHash, deviceId }, now.epochSeconds, isUsed)
          if (repeated) {
            return {
              ok: true,
              value: { owner: known, deviceHash, entitlements: repeated, repeated },
            }
          }
          const used = consumeCode(db, code, now.epochSeconds)
          if (!used) return wrongCode()
          const { value } = granted(db, now, { owner: used.name, deviceId }, used.entitlements)
          return { ok: true, value: { ...value, label: used.label } }
        })
      },

    jwt: () => {
      const perUser = perHour(counters, limits.perUserPerHour)
      return ({ deviceId }, { user }, now) => {
        if (!user) return declined('enrollment_required', { message: NO_USER })
        const { models, rate_limit, spend_cap, org_id } = user.claims
        const own = {
          models,
          rate_limit,
          spend_cap,
          org_id: user.org ?? org_id,
          user_id: user.identity,
          user_policy: user.policy,
        }
        const read = readEntitlements(own)
        if (!read.ok) {
          const reason = `claim ${read.reason}`
          return declined('enrollment_refused', { reason, message: UNFIT_CLAIM })
        }
        const counted = perUser.take(user.identity, now.monotonicMs)
        if (!counted.allowed) return tooMany(counted, 'rate of one user')
        return take((db, at) => {
          const owner = ownerOf(user.identity)
          const formerOwners = (user.former ?? []).map(ownerOf)
          const decision = granted(db, at, { owner, formerOwners, deviceId }, read.value)
          moveUser(db, user.identity, user.former ?? [])
          const { deviceHash } = decision.value
          const others = countOtherDevices(db, owner, deviceHash, at.epochSeconds)
          if (others < limits.maxDevicesPerUser) return decision
          return declined('enrollment_limit', {
            reason: 'devices of one user',
            retryAfterSeconds: 3600,
          })
        })
      }
    },

    open: () => {
      const count = openEnrolments(counters, limits)
      return ({ deviceId }, { addressKey }, now) => {
        const counted = count(addressKey, now.monotonicMs)
        if (!counted.allowed) return tooMany(counted.decision, counted.by)
        return take((db, at) => granted(db, at, { owner: 'open', deviceId }, NO_ENTITLEMENTS))
      }
    },
  }
  return permits[policy]()
}

const NO_CODE =
  'an enrolment is required: this gate enrols with a code, and none was sent; ask its operator for one'
const WRONG_CODE =
  "the enrolment was not accepted: its code is unknown, used or expired; ask the gate's operator for a new one"
const NO_USER = 'an enrolment is required: this gate enrols its users, and no user token was sent'
const UNFIT_CLAIM = 'the enrolment was not accepted: a claim of the token cannot be applied'

function wrongCode(reason = 'code is unknown, used or expired'): EnrollDecision<never> {
  return declined('enrollment_refused', { reason, message: WRONG_CODE })
}

function take(value: TakeEnrollment): EnrollDecision<TakeEnrollment> {
  return { ok: true, value }
}

function tooMany({ retryAfterSeconds }: BucketDecision, reason: string): EnrollDecision<never> {
  return declined('enrollment_limit', { reason, retryAfterSeconds })
}
