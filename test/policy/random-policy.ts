// Policies out of few words and small numbers, so that two of them often meet.

import { ROUTE_GROUPS } from '../../src/names.ts'
import { type Limits, type Policy, policy } from '../../src/policy/policy.ts'
import type { Random } from '../support/random.ts'

const PATTERNS = ['*', 'a', 'a*', 'ab', 'ab*', 'abc*', 'b*', 'ba', 'b*b']
export const UPSTREAMS = ['tinfoil', 'anthropic', 'other']

export function randomPolicy(random: Random, name = 'p'): Policy {
  const maybe = <T>(make: () => T): T | undefined => (random.int(2) === 0 ? undefined : make())
  const some = <T>(from: readonly T[]): T[] => from.filter(() => random.int(3) === 0)
  const amount = (): number => random.int(6)
  const limits = (): Limits => ({
    rate: maybe(() => ({ perMinute: 1 + amount(), burst: 1 + amount() })),
    concurrency: maybe(amount),
    spendPerDay: maybe(amount),
    spendPerMonth: maybe(amount),
  })
  return policy({
    name,
    models: maybe(() => some(PATTERNS)),
    upstreams: maybe(() => some(UPSTREAMS)),
    routes: maybe(() => some(ROUTE_GROUPS)),
    maxBodyBytes: maybe(amount),
    plaintext: random.int(2) === 0,
    streamUsage: random.int(2) === 0,
    tellsUpstream: random.int(2) === 0,
    person: limits(),
    organisation: limits(),
  })
}
