// Which of several equal upstreams is asked first.

import { describe, expect, test } from 'bun:test'
import type { Served } from '../../src/dispatch/choose.ts'
import { conversationOf } from '../../src/dispatch/conversation.ts'
import { running, spread } from '../../src/dispatch/load.ts'
import type { FallbackPlan, PlanOf } from '../../src/dispatch/plan.ts'
import { unreached } from '../support/served.ts'

const served = (name: string, isShut = false): Served => ({
  ...unreached('openai', name),
  breaker: { isShut: () => isShut } as unknown as Served['breaker'],
})
const plan = (first: FallbackPlan['first'], ...from: string[]): FallbackPlan => ({
  from,
  on: new Set(),
  attempts: 2,
  withinMs: 1,
  againIfBilled: false,
  first,
  weights: undefined,
})
const planning =
  (...plans: FallbackPlan[]): PlanOf =>
  (_, name) =>
    plans.find(({ from }) => from.includes(name))
const names = (all: readonly Served[]): string[] => all.map(({ upstream }) => upstream.name)
const order = (among: readonly Served[], planOf: PlanOf, loads: Record<string, number>) =>
  names(
    spread(among, planOf, 'chat', {
      running: { of: (name) => loads[name] ?? 0 },
      conversation: undefined,
      now: 0,
    }),
  ).join('')

describe('by load', () => {
  const among = ['x', 'a', 'y', 'b', 'c'].map((name) => served(name))
  const planOf = planning(plan('fewest', 'c', 'b', 'a'), plan('listed', 'x', 'y'))

  test('the fewest requests come first, in the places of the equal ones alone', () => {
    expect(order(among, planOf, {})).toBe('xaybc')
    expect(order(among, planOf, { a: 2, b: 1, c: 1 })).toBe('xbyca')
    expect(order(among, planOf, { x: 9, a: 1 })).toBe('xbyca')
  })

  test('what nobody can connect to comes last, however idle', () => {
    const one = [served('a', true), served('b'), served('c')]
    expect(order(one, planOf, { b: 5, c: 4 })).toBe('cba')
  })

  test('nothing changes without such a plan, or for one upstream of it', () => {
    expect(order(among, planning(plan('listed', 'a', 'b')), { a: 9 })).toBe('xaybc')
    expect(order([served('a')], planOf, { a: 9 })).toBe('a')
  })

  test('a request is counted where it runs, and nowhere once it has ended', () => {
    const all = running()
    const one = all.enter('a')
    const two = all.enter('a')
    expect([all.of('a'), all.of('b')]).toEqual([2, 0])
    one.move('b')
    expect([all.of('a'), all.of('b')]).toEqual([1, 1])
    one.leave()
    one.leave()
    one.move('a')
    two.leave()
    expect([all.of('a'), all.of('b')]).toEqual([0, 0])
  })
})

describe('by conversation', () => {
  const from = ['a', 'b', 'c']
  const planOf = planning(plan('fewest', ...from))
  const first = (conversation: string, among: readonly Served[]): string =>
    names(spread(among, planOf, 'chat', { running: { of: () => 0 }, conversation, now: 0 }))[0] ??
    ''
  const all = from.map((name) => served(name))
  const many = Array.from({ length: 900 }, (_, at) => `conversation-${at}`)

  test('each has its place, whatever runs there, and they are spread', () => {
    const places = Map.groupBy(many, (each) => first(each, all))
    for (const name of from) expect(places.get(name)?.length).toBeWithin(230, 370)
    for (const each of many) expect(first(each, all.toReversed())).toBe(first(each, all))
  })

  test('those of an upstream that is gone move, and no other does', () => {
    const left = [served('a'), served('b', true), served('c')]
    for (const each of many) {
      const before = first(each, all)
      if (before === 'b') expect(first(each, left)).not.toBe('b')
      else expect(first(each, left)).toBe(before)
    }
  })
})

describe('a conversation', () => {
  const of = (body: unknown, identity = 'me') =>
    conversationOf(identity, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))
  const system = { role: 'system', content: 'You are kind.' }
  const user = (content: string) => ({ role: 'user', content })
  const said = (content: string) => ({ role: 'assistant', content })

  test('is the same however long it gets', () => {
    const begun = of({ messages: [system, user('hi')] })
    expect(begun).toBeString()
    expect(of({ messages: [system, user('hi'), said('hello'), user('more')], n: 2 })).toBe(begun)
    expect(of({ input: [user('hi')] })).toBe(of({ input: [user('hi'), said('x'), user('y')] }))
    expect(of({ prompt_cache_key: 'k', input: 'a' })).toBe(
      of({ prompt_cache_key: 'k', input: 'b' }),
    )
  })

  test('is another one of another caller, or with another beginning', () => {
    const all = [
      of({ messages: [system, user('hi')] }),
      of({ messages: [system, user('hi')] }, 'you'),
      of({ messages: [system, user('ho')] }),
      of({ messages: [user('hi')] }),
      of({ input: 'hi' }),
    ]
    expect(new Set(all).size).toBe(all.length)
  })

  test.each(['', 'no JSON', '[]', '{}', 'null', '{"messages":{}}', '{"model":"x"}'])(
    'is none in %j',
    (body) => expect(of(body)).toBeUndefined(),
  )

  test.each([600, 39_000, 100_000])(
    'is none in a body of %p levels, which nobody waits for',
    (levels) => {
      const deep = '['.repeat(levels) + ']'.repeat(levels)
      expect(of(`{"messages":[{"role":"user","content":${deep}}]}`)).toBeUndefined()
    },
  )
})
