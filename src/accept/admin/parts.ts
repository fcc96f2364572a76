// What the routes under /admin/ need.

import type { AdmitDevice } from '../../admit/device.ts'
import type { Breaker } from '../../budget/breaker.ts'
import type { Charges } from '../../budget/charge.ts'
import type { DeviceEnrollment } from '../../enroll/enrollment.ts'
import type { Register } from '../../enroll/records.ts'
import type { Reports } from '../../ledger/reports.ts'
import type { Secret } from '../../secret.ts'
import type { Answers } from '../answers.ts'

export interface AdminParts {
  readonly answers: Answers
  /**
   * Read on each use: a reload may change it. Undefined if none is set; the operator's routes are then
   * 404.
   */
  readonly adminToken: () => Secret | undefined
  readonly admitDevice: AdmitDevice | undefined
  readonly enrollment: DeviceEnrollment | undefined
  readonly reports: Reports
  readonly register: Register
  /** By the names of the current upstreams. */
  readonly breakers: () => Readonly<Record<string, Breaker>>
  readonly charges: Pick<Charges, 'reservations'>
  readonly bodyTimeoutMs: () => number
}
