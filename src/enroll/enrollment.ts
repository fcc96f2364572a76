// What enrolment offers to the rest of the gate, and what it needs.

import type { DatabaseConnection } from '../database/connection.ts'
import type { Logger } from '../log.ts'
import type { Secret } from '../secret.ts'
import type { Counters } from '../state/port.ts'
import type { Instant } from '../turn/instant.ts'
import type {
  BootstrapContext,
  BootstrapLimits,
  BootstrapPolicy,
  BootstrapRequest,
} from './bootstrap.ts'
import type { DeviceClaims } from './device-token.ts'
import type { Entitlements } from './entitlements.ts'
import type { FormerKeys } from './former.ts'
import type { FamilyListed, Withdrawn } from './records.ts'
import type { EnrollDecision } from './refusals.ts'
import type { Revocations } from './revocations.ts'
import type { IdentifyAs } from './withdraw.ts'

/** The response body of /bootstrap and /refresh. */
export interface Minted {
  readonly wrapper_token: string
  readonly proxy_base_url: string
  /** ISO 8601 in UTC, with milliseconds. */
  readonly expires_at: string
}

/** A device's token, and what its enrolment says. */
export interface DeviceAbout {
  readonly claims: DeviceClaims
  /** Undefined if the disk cannot be read. */
  readonly family: FamilyListed | undefined
  /** Whether a refresh has issued a newer token. */
  readonly replaced: boolean
  /** Seconds since the epoch: until then the token can be refreshed, unless it is revoked. */
  readonly refreshableUntil: number
}

export interface DeviceEnrollment {
  bootstrap(
    request: BootstrapRequest,
    context: BootstrapContext,
    now: Instant,
  ): Promise<EnrollDecision<Minted>>
  /** `token` as it came, with or without its prefix. */
  refresh(token: string, now: Instant): Promise<EnrollDecision<Minted>>
  verify(token: string, now: Instant): Promise<EnrollDecision<DeviceClaims>>
  /** For `GET /device`: also asks the disk, so that a family missing there is reported at once. */
  about(token: string, now: Instant): Promise<EnrollDecision<DeviceAbout>>
  /**
   * For /admin/revoke: in effect for the first `verify` after it resolves. Rejects if the disk
   * fails before anything is done, or if the gate switched to another file meanwhile.
   */
  revoke(name: string, actor: string, now: Instant): Promise<Withdrawn>
  /**
   * Returns a function that applies these terms; after it, a token that only a dropped secret
   * verifies is invalid. Throws if the terms cannot be applied.
   */
  prepare(terms: EnrollmentTerms): () => void
  /**
   * The devices that stand under a user's former identities belong to the present one from then on.
   * Never throws: what fails is done at the next opportunity.
   */
  renameUser(identity: string, former: readonly string[]): void
  /** Checks the disk now, as the timer does: for when the gate has switched to another file. */
  poll(now: Instant): void
  start(): void
  stop(): void
  readonly storage: Revocations['storage']
}

/** What may change while tokens are in use. */
export interface EnrollmentTerms {
  /** The first signs, all verify. */
  readonly secrets: readonly Secret[]
  readonly policy: BootstrapPolicy
  readonly lifetimeSeconds: number
  /** DEVICE_MODELS, DEVICE_RATE_LIMIT, DEVICE_SPEND_CAP. */
  readonly defaults: Entitlements
  /** DEVICE_IDLE_DAYS: how long an expired token can still be refreshed; 0 by default. */
  readonly allowanceSeconds?: number
}

export interface EnrollmentOptions extends EnrollmentTerms {
  readonly counters: Counters
  /** With ENROLL_PRAGMAS and the tables of enrolment. */
  readonly connection: DatabaseConnection
  readonly identify: IdentifyAs
  readonly former?: FormerKeys
  /** Where devices reach the gate; read for each token, because a free port is known late. */
  readonly proxyBaseUrl: () => string
  readonly log: Logger
  readonly limits?: BootstrapLimits
  readonly graceSeconds?: number
  readonly maxRetired?: number
  readonly pollMs?: number
}
