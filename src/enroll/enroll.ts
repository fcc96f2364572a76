// Device tokens, from enrolment to revocation: /bootstrap, /refresh, and verifying a token on a
// request. The first two write to the disk before they answer, and answer 503 if that fails.
// Verification never touches the disk, and works whatever the disk does.

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
import { createFamily, type TokenTimes } from './families.ts'
import { findFamily } from './family-list.ts'
import { hasDevices, moveUser, NO_FORMER_KEYS } from './former.ts'
import { finishRevoking } from './finish.ts'
import { deviceRefresh } from './refresh.ts'
import { declined, type EnrollDecision, notOpened, revoked, unavailable } from './refusals.ts'
import type { RememberedToken } from './remembered.ts'
import { type RevokedNames, revocations } from './revocations.ts'
import { seenDevices } from './seen.ts'
import { termsInForce } from './terms.ts'
import { beginRevoking } from './withdraw.ts'
import type { Withdrawn } from './records.ts'

const GRACE_SECONDS = 10

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
  const refreshes = deviceRefresh({
    counters,
    withdrawn,
    opening: (bare, now) => opening(bare, now, terms.allowanceSeconds),
    timesAt,
    onDisk,
    minted,
    identify,
    maxDevicesPerUser: limits.maxDevicesPerUser,
    maxRetired: options.maxRetired,
  })
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

    refresh: refreshes,

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
      withdrawn.revoked(namesOf(begun, name), now)
      if (left.length === 0) return begun
      const { families, error } = await finishRevoking(left, (work) => {
        if (connection.file !== file) throw new DatabaseUnusable('cannot_open', 'moved')
        const at = instant()
        const done = connection.write((db) => work(db, at.epochSeconds))
        withdrawn.revoked(done, at)
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
}

/** A family or token is revoked under its own name, whether or not the disk knows it. */
function namesOf({ kind, families }: Withdrawn, name: string): RevokedNames {
  if (kind === 'family') return { families: [name] }
  return kind === 'token' ? { families, tokens: [name] } : { families }
}
