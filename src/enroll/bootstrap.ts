// Who may enrol a device, and with what: the four policies of /bootstrap. The body says what the
// device calls itself and may carry a code; what it says of models or limits is not looked at.

import type { Database } from 'bun:sqlite'
import { type JsonObject, parseStrictObject } from '../admit/strict-json.ts'
import { type BucketDecision, buckets } from '../budget/bucket.ts'
import type { Instant } from '../instant.ts'
import { consumeCode, isCode } from './codes.ts'
import { isDeviceId } from './device-token.ts'
import { type Entitlements, NO_ENTITLEMENTS, readEntitlements } from './entitlements.ts'
import { countOtherDevices } from './families.ts'
import { declined, type EnrollDecision } from './refusals.ts'
import type { IdentifyAs } from './withdraw.ts'

export type BootstrapPolicy = 'off' | 'code' | 'jwt' | 'open'

export interface BootstrapRequest {
  /** Without the white space around it. */
  readonly deviceId: string
  readonly appVersion: string | undefined
  readonly code: string | undefined
}

export interface BootstrapContext {
  /** What limits count a stranger's address under: see accept/address.ts. */
  readonly addressKey: string
  /** The bearer token of the request as it came; under `code` it may be the code. */
  readonly credential: string | undefined
  /** Under `jwt`: whom admit/ has let in with that token. */
  readonly user: EnrollingUser | undefined
}

export interface EnrollingUser {
  /** The HMAC that stands for issuer and subject; becomes the device's `user_id`. */
  readonly identity: string
  /** Of the verified token. `models`, `rate_limit`, `spend_cap` and `org_id` are read. */
  readonly claims: JsonObject
}

export interface BootstrapLimits {
  readonly openPerAddressPerHour: number
  /** Of the whole gate: many addresses can use it up, and then nobody enrols until it refills. */
  readonly openPerHour: number
  /** Each device has limits of its own, so that a user's devices multiply what he may spend. */
  readonly maxDevicesPerUser: number
  readonly perUserPerHour: number
}

export const BOOTSTRAP_LIMITS: BootstrapLimits = {
  openPerAddressPerHour: 10,
  openPerHour: 1000,
  maxDevicesPerUser: 10,
  perUserPerHour: 30,
}

export interface Granted {
  readonly owner: string
  readonly deviceHash: string
  readonly entitlements: Entitlements
}

/** What is left to do on the disk, inside the transaction that makes the family. */
export type Take = (db: Database, now: Instant) => EnrollDecision<Granted>

export type Permit = (
  request: BootstrapRequest,
  context: BootstrapContext,
  now: Instant,
) => EnrollDecision<Take>

export const MAX_BOOTSTRAP_BODY_BYTES = 4096
const APP_VERSION = /^[\x20-\x7e]{1,64}$/

export function parseBootstrap(body: string): EnrollDecision<BootstrapRequest> {
  if (Buffer.byteLength(body) > MAX_BOOTSTRAP_BODY_BYTES) return declined('request_too_large')
  const members = parseStrictObject(body)
  if (!members) {
    return declined('bad_request', { reason: 'body is not an object with distinct members' })
  }
  const { device_id: id, app_version: version, enrollment_code: code } = members
  const deviceId = typeof id === 'string' ? id.trim() : id
  if (!isDeviceId(deviceId)) return declined('invalid_device_id')
  const appVersion = version ?? undefined
  if (appVersion !== undefined && !(typeof appVersion === 'string' && APP_VERSION.test(appVersion)))
    return declined('bad_request', { reason: 'app_version is malformed' })
  if (code !== undefined && typeof code !== 'string') {
    return declined('bad_request', { reason: 'enrollment_code is no string' })
  }
  return { ok: true, value: { deviceId, appVersion, code } }
}

/** The one policy that is set; each asks the memory first, and the disk only for who passed. */
export function bootstrapPolicy(
  policy: BootstrapPolicy,
  identify: IdentifyAs,
  limits: BootstrapLimits = BOOTSTRAP_LIMITS,
): Permit {
  const granted = (
    owner: string,
    deviceId: string,
    entitlements: Entitlements,
  ): { ok: true; value: Granted } => {
    // Bound to who enrolled it: a device's id is its own word, and whoever enrolled with another's
    // would read its usage and spend its cap.
    const deviceHash = identify('device', `${owner}\0${deviceId}`)
    return { ok: true, value: { owner, deviceHash, entitlements } }
  }

  const permits: Readonly<Record<BootstrapPolicy, () => Permit>> = {
    off: () => () => declined('enrollment_closed'),

    code:
      () =>
      ({ deviceId, code: inBody }, { credential }) => {
        if (inBody !== undefined && credential !== undefined && inBody !== credential) {
          return declined('ambiguous_credentials')
        }
        const code = inBody ?? credential
        if (code === undefined) return declined('enrollment_required')
        if (!isCode(code)) return declined('enrollment_refused', { reason: 'code is malformed' })
        return take((db, now) => {
          const used = consumeCode(db, code, now.epochSeconds)
          if (!used) {
            return declined('enrollment_refused', { reason: 'code is unknown, used or expired' })
          }
          return granted(used.name, deviceId, used.entitlements)
        })
      },

    jwt: () => {
      const perUser = perHour(limits.perUserPerHour)
      return ({ deviceId }, { user }, now) => {
        if (!user) return declined('enrollment_required')
        const { models, rate_limit, spend_cap, org_id } = user.claims
        const own = { models, rate_limit, spend_cap, org_id, user_id: user.identity }
        const read = readEntitlements(own)
        if (!read.ok) return declined('enrollment_refused', { reason: `claim ${read.reason}` })
        const counted = perUser.take(user.identity, now.monotonicMs)
        if (!counted.allowed) return tooMany(counted, 'rate of one user')
        return take((db, at) => {
          const decision = granted(`user:${user.identity}`, deviceId, read.value)
          const { owner, deviceHash } = decision.value
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
      const perAddress = perHour(limits.openPerAddressPerHour)
      const overall = perHour(limits.openPerHour)
      return ({ deviceId }, { addressKey }, now) => {
        const mine = perAddress.take(addressKey, now.monotonicMs)
        if (!mine.allowed) return tooMany(mine, 'rate of one address')
        const all = overall.take('', now.monotonicMs)
        if (!all.allowed) {
          perAddress.giveBack(addressKey, now.monotonicMs)
          return tooMany(all, 'rate of all addresses')
        }
        return take(() => granted('open', deviceId, NO_ENTITLEMENTS))
      }
    },
  }
  return permits[policy]()
}

function take(value: Take): EnrollDecision<Take> {
  return { ok: true, value }
}

function perHour(count: number) {
  return buckets({ perMinute: count / 60, burst: count })
}

function tooMany({ retryAfterSeconds }: BucketDecision, reason: string): EnrollDecision<never> {
  return declined('enrollment_limit', { reason, retryAfterSeconds })
}
