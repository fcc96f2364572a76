// The terms that enrolment and its tokens have at present, made anew where settings are exchanged. What
// keys have verified is remembered beside them, so that it is dropped with them, whatever was under way.

import { areSameSecrets } from '../secret.ts'
import type { PermitEnrollment } from './bootstrap.ts'
import { MAX_LIFETIME_SECONDS } from './device-token.ts'
import type { EnrollmentTerms } from './enrollment.ts'
import { type DeviceKeys, deviceKeys } from './keys.ts'
import { rememberedTokens, type RememberedTokens } from './remembered.ts'

export interface TermsInForce extends Required<EnrollmentTerms> {
  readonly keys: DeviceKeys
  readonly remembered: RememberedTokens
  readonly permit: PermitEnrollment
}

/** What has not changed goes on, with what it has counted. Throws if a term cannot be applied. */
export function termsInForce(
  terms: EnrollmentTerms,
  permitBy: (policy: EnrollmentTerms['policy']) => PermitEnrollment,
  before?: TermsInForce,
): TermsInForce {
  const { lifetimeSeconds, allowanceSeconds = 0, secrets, policy } = terms
  if (!(lifetimeSeconds > 0 && lifetimeSeconds <= MAX_LIFETIME_SECONDS)) {
    throw new RangeError('the lifetime of a device token is out of range')
  }
  const signing = before && areSameSecrets(before.secrets, secrets) ? before : undefined
  return {
    ...terms,
    allowanceSeconds,
    keys: signing?.keys ?? deviceKeys(secrets),
    remembered: signing?.remembered ?? rememberedTokens(),
    permit: before?.policy === policy ? before.permit : permitBy(policy),
  }
}
