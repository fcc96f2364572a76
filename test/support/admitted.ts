// Somebody who was admitted, for tests of what comes after that.

import type { Admitted } from '../../src/admit/admitted.ts'
import { type Limits, NO_LIMITS, type Policy, policy } from '../../src/policy/policy.ts'

export interface Said extends Partial<Omit<Admitted, 'policy'>> {
  readonly models?: readonly string[]
  readonly streamUsage?: boolean
  readonly person?: Partial<Limits>
  readonly organisation?: Partial<Limits>
}

export const EVERYTHING: Policy = policy({ name: 'everything' })
/** For an admission whose callers may do everything. */
export const everything = (): Policy => EVERYTHING

/** With a policy of its own, where anything of one is said. */
export function somebody(identity: string, said: Said = {}): Admitted {
  const { models, streamUsage = false, person, organisation, ...rest } = said
  const own = policy({
    name: 'own',
    models,
    streamUsage,
    person: { ...NO_LIMITS, ...person },
    organisation: { ...NO_LIMITS, ...organisation },
  })
  return { identity, kind: 'user', org: undefined, groups: [], policy: own, ...rest } as Admitted
}
