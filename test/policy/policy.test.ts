// Two policies together are never wider than either, and never narrower than both say.

import { ROUTE_GROUPS, USUAL_GROUPS } from '../../src/names.ts'
import { describe, expect, test } from 'bun:test'
import { type Limits, narrowed, NO_LIMITS, type Policy, policy } from '../../src/policy/policy.ts'
import { allowedModel, intersection } from '../../src/token/model-pattern.ts'
import { type Random, seeded } from '../support/random.ts'
import { randomPolicy } from './random-policy.ts'

/** Written apart from the code under test. */
const names = (patterns: readonly string[] | undefined, model: string): boolean =>
  patterns === undefined ||
  patterns.some((each) =>
    each.at(-1) === '*' ? model.indexOf(each.slice(0, -1)) === 0 : each === model,
  )
const holds = <T>(set: readonly T[] | undefined, each: T): boolean =>
  set === undefined || set.includes(each)
const within = (limit: number | undefined, value: number): boolean =>
  limit === undefined || value <= limit

/** Whether a policy allows what `asked` says, one field after another. */
const allowsEach = (of: Policy, asked: ReturnType<typeof randomAsked>): boolean[] => [
  names(of.models, asked.model),
  holds(of.upstreams, asked.upstream),
  holds(of.routes ?? USUAL_GROUPS, asked.route),
  within(of.maxBodyBytes, asked.amount),
  of.plaintext || !asked.plaintext,
  ...[of.person, of.organisation].flatMap(({ rate, ...rest }) => [
    within(rate?.perMinute, asked.amount),
    within(rate?.burst, asked.amount),
    within(rest.concurrency, asked.amount),
    within(rest.spendPerDay, asked.amount),
    within(rest.spendPerMonth, asked.amount),
  ]),
]

const MODELS = ['', 'a', 'b', 'ab', 'abc', 'abcd', 'b*', 'ba', 'bab', 'c']
const randomAsked = (random: Random) => ({
  model: random.pick(MODELS),
  upstream: random.pick(['tinfoil', 'anthropic', 'other', 'x']),
  route: random.pick(ROUTE_GROUPS),
  amount: random.int(6),
  plaintext: random.int(2) === 0,
})

test(
  'property: two policies together allow the intersection, field by field',
  seeded((random) => {
    for (let round = 0; round < 10_000; round += 1) {
      const [a, b] = [randomPolicy(random), randomPolicy(random)]
      const both = narrowed(a, b)
      for (let each = 0; each < 5; each += 1) {
        const asked = randomAsked(random)
        const ofBoth = allowsEach(b, asked).map((ok, at) => ok && allowsEach(a, asked)[at])
        expect({ a, b, asked, allowed: allowsEach(both, asked) }).toEqual({
          a,
          b,
          asked,
          allowed: ofBoth as boolean[],
        })
      }
    }
  }),
)

test(
  'property: narrowing twice changes nothing, and the order changes the name alone',
  seeded((random) => {
    for (let round = 0; round < 2000; round += 1) {
      const [a, b] = [randomPolicy(random), randomPolicy(random)]
      const both = narrowed(a, b)
      expect(narrowed(both, b)).toBe(both)
      expect(narrowed(both, a)).toBe(both)
      const sorted = (each: Policy): object => ({
        ...each,
        name: '',
        models: MODELS.filter((model) => names(each.models, model)),
        upstreams: each.upstreams?.toSorted(),
        routes: each.routes?.toSorted(),
      })
      expect(sorted(narrowed(b, a))).toEqual(sorted(both))
    }
  }),
)

describe('a list of models', () => {
  test.each<[string[], string[], string[]]>([
    [['*'], ['claude-*'], ['claude-*']],
    [['claude-*'], ['claude-haiku-*', 'gpt-*'], ['claude-haiku-*']],
    [
      ['claude-*', 'a'],
      ['claude-x', 'a', 'b'],
      ['claude-x', 'a'],
    ],
    [['claude-x'], ['claude-x*'], ['claude-x']],
    [['claude-*', 'claude-a*'], ['claude-a*', 'claude-ab'], ['claude-a*']],
    [['x', 'claude-*'], ['claude-a*', 'claude-ab'], ['claude-a*']],
    [['a'], ['b'], []],
    [[], ['*'], []],
    // A star inside is part of a name.
    [['a*b'], ['a*'], ['a*b']],
  ])('%p and %p is %p', (a, b, both) => {
    expect(intersection(a, b)).toEqual(both)
    const names = (list: readonly string[]): boolean[] =>
      ['claude-ab', 'claude-haiku-1', 'claude-x', 'gpt-4', 'a', 'b', 'a*b', 'ab'].map((model) =>
        allowedModel(model, list.length === 0 ? ['none'] : list),
      )
    expect(names(intersection(b, a))).toEqual(names(both))
  })

  test('two that share nothing leave no model, which is not the same as no list', () => {
    const both = narrowed(
      policy({ name: 'a', models: ['a'] }),
      policy({ name: 'b', models: ['b'] }),
    )
    expect(both.models).toEqual([])
  })
})

test('a policy is frozen, and narrowing it by nothing returns the same object', () => {
  const limits: Limits = { ...NO_LIMITS, rate: { perMinute: 60, burst: 10 }, concurrency: 4 }
  const a = policy({ name: 'a', models: ['claude-*'], person: limits })
  expect(Object.isFrozen(a)).toBe(true)
  expect(narrowed(a, policy({ name: 'all' }))).toBe(a)
  expect(narrowed(a, policy({ name: 'b', models: ['*'], person: limits }))).toBe(a)
  const narrower = narrowed(a, policy({ name: 'b', plaintext: false }))
  expect([narrower.name, narrower.plaintext, Object.isFrozen(narrower)]).toEqual(['a', false, true])
})

test('an absent limit limits nothing', () => {
  expect(policy({ name: 'all' })).toEqual({
    name: 'all',
    models: undefined,
    upstreams: undefined,
    routes: undefined,
    maxBodyBytes: undefined,
    plaintext: true,
    streamUsage: false,
    tellsUpstream: false,
    fallback: true,
    keepsConversations: false,
    person: NO_LIMITS,
    organisation: NO_LIMITS,
  })
})
