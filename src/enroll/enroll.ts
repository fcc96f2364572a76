// Device tokens, from enrolment to revocation: /bootstrap, /refresh, and verifying a token on a
// request. The first two write to the disk before they answer, and answer 503 if that fails.
// Verification never touches the disk, and works whatever the disk does.
//
// A refresh retires the token it replaces. If a retired token is used to refresh again, its family is
// revoked, because no honest client does that (RFC 9700 §4.14.2). For requests it stays valid until
// its own `exp`: an environment cannot be changed from outside, so a running program would otherwise
// fail whenever another one refreshes the token. Revoking the family ends it with all others.

import type { Database } from 'bun:sqlite'
import { type Instant, instant } from '../turn/instant.ts'
import { describeBug } from '../log.ts'
import { DatabaseUnusable } from '../database/trouble.ts'
import {
  BOOTSTRAP_LIMITS,
  type BootstrapPolicy,
  bootstrapPolicy,
  type PermitEnrollment,
} from './bootstrap.ts'
import {
  type DeviceClaims,
  type OpenedToken,
  openDeviceToken,
  signDeviceToken,
} from './device-token.ts'
import { ownToken } from '../token/bare.ts'
import { withDefaults } from './entitlements.ts'
import type { DeviceEnrollment, EnrollmentOptions, Minted } from './enrollment.ts'
import { createFamily, rotate, type RotatedFamily, type TokenTimes } from './families.ts'
import { findFamily } from './family-list.ts'
import { hasDevices, moveUser, NO_FORMER_KEYS, renewDeviceKey } from './former.ts'
import { finishRevoking } from './finish.ts'
import { declined, type EnrollDecision, type EnrollRefusal } from './refusals.ts'
import type { RememberedToken } from './remembered.ts'
import { revocations } from './revocations.ts'
import { seenDevices } from './seen.ts'
import { termsInForce } from './terms.ts'
import { beginRevoking } from './withdraw.ts'

const GRACE_SECONDS = 10
const STORAGE_RETRY_SECONDS = 5
/** Each refresh leaves a retired token in memory until that token's `exp`. */
const REFRESH_BURST = 5
const REFRESHES_PER_MINUTE = 0.2
/** About 150 MB. Above this nothing more is retired: /refresh answers 503 and requests go on. */
const MAX_RETIRED = 1_000_000

/** Throws if a secret is too short or the disk cannot be read: then nothing is served. */
export function enrollment(options: EnrollmentOptions): DeviceEnrollment {
  const { counters, connection, identify, proxyBaseUrl, log } = options
  const { graceSeconds = GRACE_SECONDS, former = NO_FORMER_KEYS, pollMs } = options
  const seen = seenDevices()
  const limits = options.limits ?? BOOTSTRAP_LIMITS
  const permitBy = (policy: BootstrapPolicy): PermitEnrollment =>
    bootstrapPolicy(counters, policy, identify, limits, seen.has, former)
  let terms = termsInForce(options, permitBy)
  const withdrawn = revocations({
    connection,
    graceSeconds,
    get allowanceSeconds() {
      return terms.allowanceSeconds
    },
    log,
    flush: (db) => seen.flush(db),
    ...(pollMs === undefined ? {} : { pollMs }),
  })
  const refreshes = counters.buckets({ perMinute: REFRESHES_PER_MINUTE, burst: REFRESH_BURST })
  const maxRetired = options.maxRetired ?? MAX_RETIRED

  const timesAt = (now: Instant): TokenTimes => ({
    now: now.epochSeconds,
    lifetimeSeconds: terms.lifetimeSeconds,
    graceSeconds,
  })
  /**
   * Runs a transaction that is on the disk, in the file at its path, when this returns; or a
   * refusal.
   */
  const onDisk = <T>(work: (db: Database) => T): EnrollDecision<T> => {
    try {
      const value = connection.write((db) => db.transaction(() => work(db)).immediate())
      return { ok: true, value }
    } catch (error) {
      log.error(describeBug(error), 'enrolment storage fails')
      return unavailable('storage fails')
    }
  }
  const minted = async (claims: DeviceClaims): Promise<EnrollDecision<Minted>> => ({
    ok: true,
    value: {
      wrapper_token: await signDeviceToken(claims, terms.keys),
      proxy_base_url: proxyBaseUrl(),
      expires_at: new Date(claims.expiresAt * 1000).toISOString(),
    },
  })
  /** Whether an opened token may be used for a request. */
  const usable = (known: RememberedToken, now: Instant): EnrollDecision<DeviceClaims> => {
    const { claims } = known
    if (withdrawn.standing(claims, now) === 'revoked') return revoked()
    seen.note(known, now.epochSeconds)
    return { ok: true, value: claims }
  }
  /** By the secrets of now, whichever there were when it began: one that was dropped opens nothing. */
  const opening = async (bare: string, now: Instant, allowance = 0): Promise<OpenedToken> => {
    const { keys } = terms
    const opened = await openDeviceToken(bare, keys, now.epochSeconds, allowance)
    return terms.keys === keys ? opened : opening(bare, now, allowance)
  }
  const verify = async (token: string, now: Instant): Promise<EnrollDecision<DeviceClaims>> => {
    const bare = ownToken(token)
    if (bare === undefined) return declined('invalid_token', { reason: 'too long' })
    const known = terms.remembered.recall(bare, now.epochSeconds)
    if (known) return usable(known, now)
    const opened = await opening(bare, now)
    if (!opened.ok) return notOpened(opened)
    return usable(terms.remembered.remember(bare, opened.value), now)
  }

  return {
    async bootstrap(request, context, now) {
      const permitted = terms.permit(request, context, now)
      if (!permitted.ok) return permitted
      const { deviceId, deviceName: name, appVersion } = request
      const enrolled = onDisk((db): EnrollDecision<DeviceClaims> => {
        const granted = permitted.value(db, now)
        if (!granted.ok) return granted
        if (granted.value.repeated) return { ok: true, value: granted.value.repeated }
        const entitlements = withDefaults(granted.value.entitlements, terms.defaults)
        const deviceKey = identify('device_id', deviceId)
        const family = { ...granted.value, deviceId, deviceKey, name, appVersion, entitlements }
        return { ok: true, value: createFamily(db, family, timesAt(now)) }
      })
      if (!enrolled.ok) return enrolled
      return enrolled.value.ok ? minted(enrolled.value.value) : enrolled.value
    },

    async refresh(token, now) {
      const bare = ownToken(token)
      if (bare === undefined) return declined('invalid_token', { reason: 'too long' })
      const opened = await opening(bare, now, terms.allowanceSeconds)
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
        const made = rotate(db, opened.value, timesAt(now), mayRotate, limits.maxDevicesPerUser)
        if (made.kind === 'rotated') renewDeviceKey(db, family, identify('device_id', deviceId))
        return made
      })
      if (!rotated.ok) return rotated
      return settleRotation(rotated.value, opened.value, now)
    },

    verify,

    async about(token, now) {
      const verified = await verify(token, now)
      if (!verified.ok) return verified
      const claims = verified.value
      const refreshableUntil = claims.expiresAt + terms.allowanceSeconds
      let family
      try {
        family = findFamily(connection.get(), claims.family)
      } catch {
        return { ok: true, value: { claims, family, replaced: false, refreshableUntil } }
      }
      if (!family) return declined('invalid_token', { reason: 'family is unknown' })
      if (family.revokedAt !== undefined) return revoked()
      const replaced = family.headJti !== claims.jti
      return { ok: true, value: { claims, family, replaced, refreshableUntil } }
    },

    async revoke(name, actor, now) {
      const by = { identify, former: former.identify(), actor, at: now.epochSeconds }
      const { left, ...begun } = connection.write((db) => beginRevoking(db, name, by))
      const { file } = connection
      withdrawn.written(now)
      if (left.length === 0) return begun
      const { families, error } = await finishRevoking(left, (work) => {
        if (connection.file !== file) throw new DatabaseUnusable('cannot_open', 'moved')
        const at = instant()
        const done = connection.write((db) => work(db, at.epochSeconds))
        withdrawn.written(at)
        return done
      })
      if (connection.file !== file) throw error ?? new DatabaseUnusable('cannot_open', 'moved')
      const unfinished = error === undefined ? {} : { unfinished: true as const }
      return { ...begun, families: [...begun.families, ...families], ...unfinished }
    },
    renameUser(identity, former) {
      try {
        if (!hasDevices(connection.get(), former)) return
        onDisk((db) => moveUser(db, identity, former))
      } catch {
        // The file cannot be read now.
      }
    },
    prepare(next) {
      const prepared = termsInForce(next, permitBy, terms)
      return () => {
        terms = prepared
      }
    },
    poll: withdrawn.poll,
    start: withdrawn.start,
    stop: withdrawn.stop,
    get storage() {
      return withdrawn.storage
    },
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

function revoked(reason = 'token is revoked'): EnrollRefusal {
  return declined('token_revoked', { reason })
}

function unavailable(reason: string): EnrollRefusal {
  return declined('enrollment_unavailable', { reason, retryAfterSeconds: STORAGE_RETRY_SECONDS })
}

function notOpened({ expired, reason }: OpenedToken & { ok: false }): EnrollRefusal {
  return declined(expired ? 'token_expired' : 'invalid_token', { reason })
}
