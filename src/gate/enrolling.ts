// Assembles devices: their enrolment, their admission and their routes.

import { type DeviceParts, type DeviceRoutes, deviceRoutes } from '../accept/devices.ts'
import { type AdmitDevice, deviceAdmission } from '../admit/device.ts'
import type { AdmitKey } from '../admit/key.ts'
import type { Identify } from '../token/identity.ts'
import type { Settings } from '../config/read.ts'
import { enrollment } from '../enroll/enroll.ts'
import type { DeviceEnrollment, EnrollmentTerms } from '../enroll/enrollment.ts'
import type { FormerKeys } from '../enroll/former.ts'
import type { DeviceClaims } from '../enroll/device-token.ts'
import type { Policy } from '../policy/policy.ts'
import type { Logger } from '../log.ts'
import type { Counters } from '../state/port.ts'
import type { Prepare } from './remade.ts'
import type { Sources } from './sources.ts'
import type { DatabaseConnection } from '../database/connection.ts'

type Common = Omit<DeviceParts, 'enrollment' | 'policy'>

export interface Enrolling {
  /** Also makes admission use the new policies. */
  readonly prepare: Prepare
  readonly enrollment: DeviceEnrollment
  readonly admitDevice: AdmitDevice
  routes(common: Common): DeviceRoutes
}

export interface EnrollingOptions {
  readonly counters: Counters
  readonly settings: Settings
  readonly from: Sources
  readonly connection: DatabaseConnection
  readonly identify: Identify
  readonly former: FormerKeys
  readonly policyOf: (claims: DeviceClaims) => Policy | undefined
  readonly log: Logger
  readonly listeningAt: () => URL
  readonly admitKey: AdmitKey
}

/** Development mode runs on one machine, where ten enrolments an hour from 127.0.0.1 are too few. */
const DEVELOPMENT_LIMITS = {
  openPerAddressPerHour: 10_000,
  openPerSitePerHour: 10_000,
  openPerBlockPerHour: 10_000,
  openPerHour: 10_000,
  maxDevicesPerUser: 1000,
  perUserPerHour: 10_000,
}

/** In development mode the signing secret is generated. */
function termsOf(settings: Settings, from: Pick<Sources, 'deviceSecrets'>): EnrollmentTerms {
  return {
    secrets: settings.jwtSecret ?? from.deviceSecrets,
    policy: settings.bootstrap,
    lifetimeSeconds: settings.jwtExpirationHours * 3600,
    allowanceSeconds: settings.deviceIdleDays * 86_400,
    defaults: {
      models: settings.deviceModels,
      rateLimit: settings.deviceRateLimit,
      spendCap: settings.deviceSpendCap,
      policy: undefined,
      orgId: undefined,
      userId: undefined,
    },
  }
}

/** Throws if the tables of enrolment cannot be used. */
export function enrolling(options: EnrollingOptions): Enrolling {
  const { counters, settings, from, connection, identify, log, listeningAt } = options
  const devices = enrollment({
    counters,
    connection,
    ...termsOf(settings, from),
    identify,
    former: options.former,
    proxyBaseUrl: () => (settings.proxyBaseUrl ?? listeningAt()).href.replace(/\/$/, ''),
    log,
    ...(settings.devMode && { limits: DEVELOPMENT_LIMITS }),
  })
  const decided = (): AdmitDevice =>
    deviceAdmission(devices.verify, options.policyOf, options.admitKey)
  let admission = decided()
  let policy = settings.bootstrap
  const admitDevice: AdmitDevice = (sent, now) => admission(sent, now)
  return {
    enrollment: devices,
    admitDevice,
    prepare({ settings: next }) {
      const commit = devices.prepare(termsOf(next, from))
      return () => {
        commit()
        policy = next.bootstrap
        admission = decided()
      }
    },
    routes: (common) =>
      deviceRoutes({
        ...common,
        enrollment: devices,
        policy: () => policy,
      }),
  }
}
