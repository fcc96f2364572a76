// When a request may be sent again, and to whom.

import { describe, expect, test } from 'bun:test'
import { makesLasting } from '../../src/dispatch/made-once.ts'
import {
  type Attempted,
  causeOfFailure,
  causeOfStatus,
  type FallbackPlan,
  inOrder,
  mayTryAgain,
  planFor,
} from '../../src/dispatch/plan.ts'
import type { FailureKind } from '../../src/http1/transport.ts'
import { FALLBACK_CAUSES } from '../../src/names.ts'

const ALL: FallbackPlan = {
  from: ['a', 'b', 'c'],
  on: new Set(FALLBACK_CAUSES),
  attempts: 3,
  withinMs: 1000,
  againIfBilled: true,
  first: 'listed',
  weights: undefined,
}
const FIRST: Attempted = { attempts: 1, sinceArrivalMs: 0, isOnce: () => false }

describe('another attempt', () => {
  test.each(FALLBACK_CAUSES.map((cause) => [cause]))(
    'on %s only where the plan has it',
    (cause) => {
      expect(mayTryAgain(ALL, cause, FIRST)).toBe(true)
      expect(mayTryAgain({ ...ALL, on: new Set() }, cause, FIRST)).toBe(false)
      const mayBeBilled = cause === '5xx' || cause === 'unanswered'
      expect(mayTryAgain({ ...ALL, againIfBilled: false }, cause, FIRST)).toBe(!mayBeBilled)
      expect(mayTryAgain(ALL, cause, { ...FIRST, isOnce: () => true })).toBe(!mayBeBilled)
    },
  )

  test('has a number and a time', () => {
    expect(mayTryAgain(ALL, 'overloaded', { ...FIRST, attempts: 2 })).toBe(true)
    expect(mayTryAgain(ALL, 'overloaded', { ...FIRST, attempts: 3 })).toBe(false)
    expect(mayTryAgain(ALL, 'overloaded', { ...FIRST, sinceArrivalMs: 999 })).toBe(true)
    expect(mayTryAgain(ALL, 'overloaded', { ...FIRST, sinceArrivalMs: 1000 })).toBe(false)
  })

  test('is never a new attempt after a response began, a timeout, or a refusal of our own', () => {
    const of = (kind: FailureKind, begun: boolean) =>
      causeOfFailure({ ok: false, kind, reason: '' }, begun)
    expect([of('unreachable', false), of('connect_timeout', false)]).toEqual([
      'unreachable',
      'unreachable',
    ])
    expect([of('unreachable', true), of('connect_timeout', true)]).toEqual([undefined, undefined])
    expect([of('unanswered', true), of('unanswered', false)]).toEqual(['unanswered', undefined])
    for (const kind of ['headers_timeout', 'body_timeout', 'body_failed', 'cancelled'] as const) {
      expect([of(kind, true), of(kind, false)]).toEqual([undefined, undefined])
    }
  })

  test('is made of overload and of failures, and of no other status', () => {
    for (let status = 100; status < 600; status++) {
      const cause =
        status === 429 || status === 529 ? 'overloaded' : status >= 500 ? '5xx' : undefined
      expect([status, causeOfStatus(status, false)]).toEqual([status, cause])
    }
    expect(causeOfStatus(503, true)).toBe('overloaded')
    expect(causeOfStatus(500, true)).toBe('5xx')
    expect(causeOfStatus(400, true)).toBeUndefined()
  })
})

test('nothing stands in for a sealed body, or for an account of the caller', () => {
  const upstream = { name: 'a' }
  const planOf = () => ALL
  expect(planFor(planOf, 'chat', upstream, false)).toBe(ALL)
  expect(planFor(planOf, 'chat', upstream, true)).toBeUndefined()
  expect(planFor(planOf, undefined, upstream, false)).toBeUndefined()
  const own = { name: 'a', credential: async () => ({ ok: true, value: '' }) as never }
  expect(planFor(planOf, 'chat', own, false)).toBeUndefined()
})

describe('the order of the others', () => {
  test('is that of the plan', () => {
    expect(inOrder(ALL, 'b', 0.9)).toEqual(['a', 'c'])
  })

  test('or drawn by their weights, each once', () => {
    const plan = { ...ALL, from: ['a', 'b', 'c', 'd'], weights: [1, 6, 3, 1] }
    const first: Record<string, number> = {}
    const second: Record<string, number> = {}
    for (let at = 0; at < 1000; at++) {
      const [one = '', two = '', ...rest] = inOrder(plan, 'a', at / 1000)
      expect(new Set([one, two, ...rest]).size).toBe(3)
      first[one] = (first[one] ?? 0) + 1
      second[two] = (second[two] ?? 0) + 1
    }
    expect(first).toEqual({ b: 600, c: 300, d: 100 })
    // c comes second after b in 3 of 4, after d in 1 of 3.
    expect(second['c']).toBeWithin(470, 500)
  })
})

describe('objects that stay at the upstream', () => {
  const made = (path: string, body: object | string) =>
    makesLasting(path, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))
  test.each([
    ['/v1/responses', {}, true],
    ['/v1/responses', { store: true }, true],
    ['/v1/responses', { store: null }, true],
    ['/v1/responses', { store: false }, false],
    ['/v1/responses', { store: false, background: true }, true],
    ['/v1/responses', '{"store":false', true],
    ['/v1/chat/completions', {}, false],
    ['/v1/chat/completions', { store: true }, true],
    ['/v1/chat/completions', 'not JSON', true],
    ['/v1/embeddings', 'not JSON', false],
    ['/v1/responses/input_tokens', {}, false],
  ])('%s %j: %p', (path, body, is) => {
    expect(made(path, body)).toBe(is)
  })
  test('is not known of a body that is encoded or very large', () => {
    expect(makesLasting('/v1/chat/completions', undefined)).toBe(true)
    expect(makesLasting('/v1/chat/completions', new Uint8Array(5_000_000))).toBe(true)
  })
})
