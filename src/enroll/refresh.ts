// A device's next token for its current one (`/refresh`).
//
// A refresh retires the token it replaces. If a retired token is used to refresh again, its family is
// revoked, because no honest client does that (RFC 9700 §4.14.2). For requests it stays valid until
// its own `exp`: an environment cannot be changed from outside, so a running program would otherwise
// fail whenever another one refreshes the token. Revoking the family ends it with all others.

import type { Database } from 'bun:sqlite'
import type { Counters } from '../state/port.ts'
import { ownToken } from '../token/bare.ts'
import type { Instant } from '../turn/instant.ts'
import type { DeviceClaims, OpenedToken } from './device-token.ts'
import type { DeviceEnrollment, Minted } from './enrollment.ts'
import { rotate, type RotatedFamily, type TokenTimes } from './families.ts'
import { renewDeviceKey } from './former.ts'
import {
  declined,
  type EnrollDecision,
  type EnrollRefusal,
  notOpened,
  revoked,
  unavailable,
} from './refusals.ts'
import type { Revocations } from './revocations.ts'
import type { IdentifyAs } from './withdraw.ts'

export interface DeviceRefreshParts {
  readonly counters: Counters
  readonly withdrawn: Pick<Revocations, 'standing' | 'reused' | 'written' | 'retired'>
  /** Opens a token that may have expired, within the allowance for refreshes. */
  readonly opening: (bare: string, now: Instant) => Promise<OpenedToken>
  readonly timesAt: (now: Instant) => TokenTimes
  readonly onDisk: <T>(work: (db: Database) => T) => EnrollDecision<T>
  readonly minted: (claims: DeviceClaims) => Promise<EnrollDecision<Minted>>
  readonly identify: IdentifyAs
  readonly maxDevicesPerUser: number
  readonly maxRetired: number | undefined
}

/** Each refresh leaves a retired token in memory until that token's `exp`. */
const REFRESH_BURST = 5
const REFRESHES_PER_MINUTE = 0.2
/** About 150 MB. Above this nothing more is retired: /refresh answers 503 and requests go on. */
const MAX_RETIRED = 1_000_000

export function deviceRefresh(parts: DeviceRefreshParts): DeviceEnrollment['refresh'] {
  const { withdrawn, opening, timesAt, onDisk, minted, identify, maxDevicesPerUser } = parts
  const { maxRetired = MAX_RETIRED } = parts
  const refreshes = parts.counters.buckets({
    perMinute: REFRESHES_PER_MINUTE,
    burst: REFRESH_BURST,
  })

  return async (token, now) => {
    const bare = ownToken(token)
    if (bare === undefined) return declined('invalid_token', { reason: 'too long' })
    const opened = await opening(bare, now)
    if (!opened.ok) return notOpened(opened)
    const standing = withdrawn.standing(opened.value, now)
    if (standing === 'retired') withdrawn.reused(opened.value.family, now)
    if (standing !== 'live') return revoked(`token is ${standing}`)
    if (withdrawn.retired >= maxRetired) return unavailable('too many retired tokens')
    const mayRotate = (): number | undefined => {
      const decision = refreshes.take(opened.value.family, now.monotonicMs)
      return decision.allowed ? undefined : decision.retryAfterSeconds
    }
    const { deviceId, family } = opened.value
    const rotated = onDisk((db) => {
      const made = rotate(db, opened.value, timesAt(now), mayRotate, maxDevicesPerUser)
      if (made.kind === 'rotated') renewDeviceKey(db, family, identify('device_id', deviceId))
      return made
    })
    if (!rotated.ok) return rotated
    return settleRotation(rotated.value, opened.value, now)
  }

  function settleRotation(
    rotated: RotatedFamily,
    presented: DeviceClaims,
    now: Instant,
  ): Promise<EnrollDecision<Minted>> | EnrollRefusal {
    switch (rotated.kind) {
      case 'rotated':
        withdrawn.written(now)
        return minted(rotated.claims)
      case 'repeated':
        return minted(rotated.claims)
      case 'too_fast':
        return declined('rate_limit_exceeded', {
          reason: 'refreshes of one family',
          retryAfterSeconds: rotated.retryAfterSeconds,
        })
      case 'reused':
        withdrawn.reused(presented.family, now)
        return revoked('token is retired')
      case 'revoked':
        return revoked()
      case 'too_many':
        return declined('enrollment_limit', {
          reason: 'devices of one user',
          retryAfterSeconds: 3600,
        })
      case 'unknown':
        return declined('invalid_token', { reason: 'family or token is unknown' })
    }
  }
}
