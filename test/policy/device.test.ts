// What a device may do: its gate's policy, narrowed by its own token and never widened; and what the flat
// settings make of it, which is what it was before there were policies.

import { describe, expect, test } from 'bun:test'
import { type DeviceEntitlements, devicePolicies } from '../../src/policy/device.ts'
import { defaultPolicies } from '../../src/policy/from-settings.ts'
import { narrowed, NO_LIMITS, policy } from '../../src/policy/policy.ts'
import { policySelector } from '../../src/policy/select.ts'
import { seeded } from '../support/random.ts'
import { randomPolicy } from './random-policy.ts'

const NOTHING: DeviceEntitlements = {
  models: undefined,
  rateLimit: undefined,
  spendCap: undefined,
  policy: undefined,
  orgId: undefined,
}
const settings = { rateLimitRpm: 60, rateLimitBurst: 10, maxIdentityConcurrency: 16 }
const defaults = defaultPolicies({ ...settings, orgSpendCap: 2.5 })
const staff = policy({
  name: 'staff',
  models: ['claude-*'],
  person: { ...NO_LIMITS, rate: { perMinute: 30, burst: 5 }, spendPerMonth: 1_000_000 },
})
const of = devicePolicies(
  policySelector({
    named: new Map([['staff', staff]]),
    rules: [{ kind: 'device', organisation: 'acme', policy: staff }],
    defaults,
  }),
  defaults,
)

describe('by the flat settings alone', () => {
  test('a device whose token says nothing shares one policy with all of them', () => {
    expect(of(NOTHING)).toBe(defaults.device)
    expect(defaults.device).toMatchObject({
      name: 'devices',
      models: undefined,
      maxBodyBytes: undefined,
      plaintext: true,
      person: { rate: { perMinute: 60, burst: 10 }, concurrency: 16, spendPerMonth: undefined },
      organisation: { ...NO_LIMITS, spendPerMonth: 2_500_000 },
    })
  })
  test("a rate in its token stands in place of the gate's, also above it", () => {
    for (const rateLimit of [1, 60, 5000]) {
      const rate = { perMinute: rateLimit, burst: rateLimit }
      expect(of({ ...NOTHING, rateLimit })?.person).toMatchObject({ rate, concurrency: 16 })
    }
  })
  test('RATE_LIMIT_RPM=0 is no rate', () => {
    expect(defaultPolicies({ ...settings, rateLimitRpm: 0 }).user.person.rate).toBeUndefined()
  })
})

describe('by a policy that is given', () => {
  test('a higher rate is cut, and two model lists allow what both allow', () => {
    const own = { ...NOTHING, orgId: 'acme', rateLimit: 5000, models: ['claude-haiku-*', 'gpt-x'] }
    expect(of(own)).toMatchObject({
      name: 'staff',
      models: ['claude-haiku-*'],
      person: { rate: { perMinute: 30, burst: 5 }, spendPerMonth: 1_000_000 },
    })
    expect(of({ ...own, spendCap: 0.5 })?.person.spendPerMonth).toBe(500_000)
    expect(of({ ...own, spendCap: 50 })?.person.spendPerMonth).toBe(1_000_000)
  })
  test('a code may name it, and a missing one refuses the device', () => {
    expect(of({ ...NOTHING, policy: 'staff' })).toBe(staff)
    expect(of({ ...NOTHING, policy: 'gone' })).toBeUndefined()
    expect(of({ ...NOTHING, policy: 'gone', orgId: 'acme' })).toBeUndefined()
  })
  test("that of the user who enrolled it narrows it, and is the gate's own where that has none", () => {
    expect(of({ ...NOTHING, userPolicy: 'staff' })).toMatchObject({
      name: 'staff',
      models: ['claude-*'],
      person: { rate: { perMinute: 30, burst: 5 }, concurrency: 16, spendPerMonth: 1_000_000 },
    })
    expect(of({ ...NOTHING, userPolicy: 'gone' })).toBeUndefined()
    expect(of({ ...NOTHING, userPolicy: 'staff', policy: 'gone' })).toBeUndefined()
    expect(of({ ...NOTHING, userPolicy: 'staff', rateLimit: 5000 })?.person.rate).toEqual({
      perMinute: 30,
      burst: 5,
    })
  })
  test(
    "property: neither the device's nor its user's is widened",
    seeded((random) => {
      for (let round = 0; round < 2000; round += 1) {
        const [given, users] = [randomPolicy(random), randomPolicy(random)]
        const both = devicePolicies(({ policy: name }) => (name ? users : given), defaults)
        const held = both({ ...NOTHING, userPolicy: 'users' })
        expect(held && narrowed(held, given)).toBe(held as never)
        expect(held && narrowed(held, users)).toBe(held as never)
      }
    }),
  )
  test(
    'property: no token widens it',
    seeded((random) => {
      for (let round = 0; round < 2000; round += 1) {
        const given = randomPolicy(random)
        const rated = devicePolicies(() => given, defaults)
        const own = {
          ...NOTHING,
          models: random.pick([undefined, ['*'], ['a*'], ['ab', 'c']]),
          rateLimit: random.pick([undefined, 1, 5, 1_000_000]),
          spendCap: random.pick([undefined, 0.000001, 1, 1e9]),
        }
        const held = rated(own)
        // Nothing is left for the gate's own policy to take away.
        expect(held && narrowed(held, given)).toBe(held as never)
      }
    }),
  )
})
