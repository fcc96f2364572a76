// Warns of keys that are refused because their policy is not in the settings: at the start, and after a
// reload that took a policy away.

import type { Keyring } from '../keys/keyring.ts'
import type { Logger } from '../log.ts'
import type { PolicyOf } from '../policy/select.ts'
import type { Instant } from '../turn/instant.ts'

/** Names in the log, at most. */
const MAX_NAMES = 10

export function warnOfLostPolicies(
  keys: Pick<Keyring, 'policies'>,
  policyOf: PolicyOf,
  log: Pick<Logger, 'warn'>,
  now: Instant,
): void {
  const lost = keys.policies(now).filter((name) => !policyOf({ kind: 'key', policy: name }))
  if (lost.length === 0) return
  const policies = lost.slice(0, MAX_NAMES).join(', ')
  log.warn({ policies, count: lost.length }, 'keys name policies that are not there; refused')
}
