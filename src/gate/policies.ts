// Which policies a gate has, and who gets which. The flat settings make one for each kind of caller.

import type { Settings } from '../config/read.ts'
import { devicePolicies, type DeviceEntitlements } from '../policy/device.ts'
import { defaultPolicies } from '../policy/from-settings.ts'
import type { Policy } from '../policy/policy.ts'
import { type PolicyOf, policySelector, type PolicyTable } from '../policy/select.ts'

export interface Policies {
  readonly policyOf: PolicyOf
  readonly ofDevice: (own: DeviceEntitlements) => Policy | undefined
}

const NONE = { named: new Map<string, Policy>(), rules: [] }

/** `said`: named policies and who gets them, before what the flat settings say. */
export function policies(
  settings: Settings,
  said: Pick<PolicyTable, 'named' | 'rules'> = NONE,
): Policies {
  const defaults = defaultPolicies(settings)
  const policyOf = policySelector({ ...said, defaults })
  return { policyOf, ofDevice: devicePolicies(policyOf, defaults) }
}
