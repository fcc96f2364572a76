// The identities of people and devices: under the current key, and under former keys.

import { personKey } from '../budget/spend-limit.ts'
import type { Settings } from '../config/read.ts'
import type { Secret } from '../secret.ts'
import type { SpendCaps } from '../state/port.ts'
import {
  derivedIdentityKey,
  identities,
  type Identities,
  type Identify,
} from '../token/identity.ts'
import type { Instant } from '../turn/instant.ts'
import { isSame, type Configuration } from './reload-change.ts'
import { type Before, type Prepare, remade } from './remade.ts'
import type { Sources } from './sources.ts'

export interface GateIdentities {
  readonly identify: Identify
  /** Under the former keys. */
  readonly former: () => readonly Identify[]
  readonly prepare: Prepare
}

export function identitiesOf(first: Configuration, { login }: Sources): GateIdentities {
  const keysOf = ({ settings }: Configuration): readonly Secret[] =>
    identityKeys(settings, login !== undefined)
  const { now, prepare } = remade(
    first,
    (configuration, before?: Before<Identities>): Identities => {
      const keys = keysOf(configuration)
      // Without a configured key, the random key from the start stays.
      const isKept = before && isSame(keys, keysOf(before.configuration))
      return isKept ? before.made : identities(keys)
    },
  )
  return {
    identify: (issuer, subject) => now().identify(issuer, subject),
    former: () => now().former,
    prepare,
  }
}

/** In personal mode the identity key is derived from SESSION_SECRET, so that one secret is enough. */
function identityKeys(settings: Settings, isSignIn: boolean): readonly Secret[] {
  const { identityHashKey, identityHashKeyOld = [], sessionSecret = [] } = settings
  if (identityHashKey) return [identityHashKey, ...identityHashKeyOld]
  return isSignIn ? sessionSecret.map(derivedIdentityKey) : []
}

/** Whether a cap of this month or day counts spending for this identity. */
export function hasSpent(caps: SpendCaps, identity: string, { epochSeconds }: Instant): boolean {
  const key = personKey(identity)
  return (['month', 'day'] as const).some((period) => {
    const { spentMicroUsd, reservedMicroUsd } = caps.read(key, epochSeconds * 1000, period)
    return spentMicroUsd + reservedMicroUsd > 0
  })
}
