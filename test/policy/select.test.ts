// Who gets which policy: the first rule that fits, and nothing of any other.

import type { CallerKind } from '../../src/names.ts'
import { describe, expect, test } from 'bun:test'
import { policy } from '../../src/policy/policy.ts'
import { type Caller, type PolicyRule, policySelector } from '../../src/policy/select.ts'
import { seeded } from '../support/random.ts'

const named = (name: string) => policy({ name })
const KINDS: readonly CallerKind[] = ['user', 'device', 'key', 'session']
const defaults = {
  user: named('users'),
  device: named('devices'),
  key: named('keys'),
  session: named('sessions'),
}
const nameOf = (rules: readonly PolicyRule[], caller: Caller): string | undefined =>
  policySelector({ named: new Map([['gold', named('gold')]]), rules, defaults })(caller)?.name

test('without a fitting rule, the default of the kind of caller', () => {
  for (const kind of KINDS) expect(nameOf([], { kind })).toBe(defaults[kind].name)
})

describe('a rule', () => {
  const staff = { issuer: 'entra', group: 'staff', policy: named('staff') }
  test('fits if all of its members fit', () => {
    expect(nameOf([staff], { kind: 'user', issuer: 'entra', groups: ['x', 'staff'] })).toBe('staff')
  })
  test.each<[string, Caller]>([
    ['another issuer with the same group', { kind: 'user', issuer: 'github', groups: ['staff'] }],
    ['no group', { kind: 'user', issuer: 'entra' }],
    ['a group that begins alike', { kind: 'user', issuer: 'entra', groups: ['staff2', 'Staff'] }],
    ['no issuer', { kind: 'user', groups: ['staff'] }],
    ['a device in an organisation of the name', { kind: 'device', org: 'staff' }],
  ])('does not fit %s', (_name, caller) => {
    expect(nameOf([staff], caller)).toBe(defaults[caller.kind].name)
  })
  test('may go by kind, organisation or key', () => {
    const rules = [
      { key: 'ci', policy: named('of-ci') },
      { kind: 'device', organisation: 'acme', policy: named('of-acme') },
    ] as const
    expect(nameOf(rules, { kind: 'key', key: 'ci' })).toBe('of-ci')
    expect(nameOf(rules, { kind: 'device', org: 'acme' })).toBe('of-acme')
    expect(nameOf(rules, { kind: 'user', org: 'acme' })).toBe('users')
  })
})

test('of several groups the first rule decides, in whatever order the token has them', () => {
  const rules = [
    { group: 'guests', policy: named('guests') },
    { group: 'admins', policy: named('admins') },
  ]
  for (const groups of [
    ['admins', 'guests'],
    ['guests', 'admins'],
  ]) {
    expect(nameOf(rules, { kind: 'user', groups })).toBe('guests')
  }
})

test('a policy that the credential names precedes rules, and a missing one refuses', () => {
  const rules = [{ policy: named('everybody') }]
  expect(nameOf(rules, { kind: 'key' })).toBe('everybody')
  expect(nameOf(rules, { kind: 'key', policy: 'gold' })).toBe('gold')
  expect(nameOf(rules, { kind: 'key', policy: 'silver' })).toBeUndefined()
})

test(
  'property: rules behind the first that fits change nothing',
  seeded((random) => {
    const maybe = <T>(from: readonly T[]): T | undefined =>
      random.int(2) === 0 ? undefined : random.pick(from)
    const rule = (at: number): PolicyRule => ({
      kind: maybe(KINDS),
      issuer: maybe(['a', 'b']),
      group: maybe(['g', 'h']),
      organisation: maybe(['o', 'p']),
      policy: named(`rule ${at}`),
    })
    for (let round = 0; round < 2000; round += 1) {
      const rules = Array.from({ length: random.int(5) }, (_, at) => rule(at))
      const caller: Caller = {
        kind: random.pick(KINDS),
        issuer: maybe(['a', 'b']),
        groups: ['g', 'h'].filter(() => random.int(2) === 0),
        org: maybe(['o', 'p']),
      }
      const chosen = nameOf(rules, caller)
      const at = rules.findIndex(({ policy }) => policy.name === chosen)
      if (at >= 0) expect(nameOf(rules.slice(0, at + 1), caller)).toBe(chosen)
      else expect(chosen).toBe(defaults[caller.kind].name)
      expect(nameOf([...rules, { policy: named('last') }], caller)).toBe(at >= 0 ? chosen : 'last')
    }
  }),
)
