// The two budgets together, and one decision in the dialects that clients read.

import { expect, test } from 'bun:test'
import type { Admitted } from '../../src/admit/admit.ts'
import { type BudgetOptions, budget, rateLimiter, tooFast } from '../../src/budget/budget.ts'
import { rateHeaders } from '../../src/budget/rate-headers.ts'
import { refusalResponse } from '../../src/refusal.ts'
import { seeded } from '../support/random.ts'

const who = (identity: string) => ({ identity }) as Admitted
const at = (monotonicMs: number) => ({ epochSeconds: 0, monotonicMs })
const options: BudgetOptions = {
  rateLimitRpm: 60,
  rateLimitBurst: 2,
  maxUpstreamConcurrency: 2,
  maxIdentityConcurrency: 1,
}

test('the rate is spent and said on every answer, the refused one too', () => {
  const budgets = budget(options)
  const said = [0, 0, 0].map((now) => {
    const headers = new Headers()
    const spent = budgets.spend(who('a'), headers, at(now))
    return [
      spent.ok || spent.code,
      headers.get('ratelimit'),
      headers.get('x-ratelimit-remaining-requests'),
    ]
  })
  expect(said).toEqual([
    [true, '"requests";r=1;t=1', '1'],
    [true, '"requests";r=0;t=2', '0'],
    ['rate_limit_exceeded', '"requests";r=0;t=2', '0'],
  ])
})

test('a refused place says the rate as it is after the request was given back', () => {
  const budgets = budget(options)
  const headers = new Headers()
  budgets.spend(who('a'), headers, at(0))
  const before = headers.get('ratelimit')
  expect(budgets.reserve(who('a'), headers, at(0)).ok).toBe(true)
  budgets.spend(who('a'), headers, at(0))
  expect(headers.get('ratelimit')).not.toBe(before)
  expect(budgets.reserve(who('a'), headers, at(0)).ok).toBe(false)
  expect(headers.get('ratelimit')).toBe(before)
})

test('a request that finds no place gets its rate back', () => {
  const budgets = budget(options)
  const spend = () => budgets.spend(who('a'), new Headers(), at(0)).ok
  expect([spend(), budgets.reserve(who('a'), new Headers(), at(0)).ok]).toEqual([true, true])
  for (let n = 0; n < 20; n += 1) {
    expect(spend()).toBe(true)
    expect(budgets.reserve(who('a'), new Headers(), at(0))).toMatchObject({
      code: 'identity_concurrency_limit',
    })
  }
  expect(budgets.underWay).toBe(1)
})

test('a place outlives any clock and is free again on release', () => {
  const budgets = budget(options)
  const reserved = budgets.reserve(who('a'), new Headers(), at(0))
  expect(budgets.reserve(who('a'), new Headers(), at(0)).ok).toBe(false)
  if (reserved.ok) reserved.value.release()
  expect(budgets.underWay).toBe(0)
  expect(budgets.reserve(who('a'), new Headers(), at(0)).ok).toBe(true)
})

test('0 requests a minute means no limit, and no header that speaks of one', () => {
  expect(rateLimiter(0, 10)).toBeUndefined()
  const budgets = budget({ ...options, rateLimitRpm: 0 })
  const headers = new Headers()
  for (let n = 0; n < 1000; n += 1) expect(budgets.spend(who('a'), headers, at(0)).ok).toBe(true)
  expect([...headers]).toEqual([])
})

test('a 429 says when to come again, in whole seconds and never 0', async () => {
  const limiter = rateLimiter(6000, 1)
  const headers = new Headers()
  limiter?.take('a', headers, at(0))
  const decision = limiter?.take('a', headers, at(9))
  if (!decision || decision.allowed) throw new Error('allowed')
  expect(decision.retryAfterSeconds).toBeCloseTo(0.001, 9)
  const refusal = tooFast(decision)
  if (refusal.ok) throw new Error('granted')
  const response = refusalResponse(refusal, headers)
  expect(response.status).toBe(429)
  expect(response.headers.get('retry-after')).toBe('1')
})

test('the dialects agree on limit, remaining and reset, whatever the decision', () => {
  return seeded((random) => {
    for (let round = 0; round < 500; round += 1) {
      const limit = 1 + random.int(1000)
      const remaining = random.int(limit + 1)
      const resetSeconds = random.next() * 1000
      const windowSeconds = resetSeconds + random.next() * 1000
      const headers = new Headers()
      const rest = { allowed: true, retryAfterSeconds: 0 }
      rateHeaders({ ...rest, limit, remaining, resetSeconds }, windowSeconds, headers)
      const policy = /^"requests";q=(\d+);w=(\d+)$/.exec(headers.get('ratelimit-policy') ?? '')
      const now = /^"requests";r=(\d+);t=(\d+)$/.exec(headers.get('ratelimit') ?? '')
      const openai = /^(\d+)ms$/.exec(headers.get('x-ratelimit-reset-requests') ?? '')
      expect(policy?.[1]).toBe(headers.get('x-ratelimit-limit-requests') as never)
      expect(now?.[1]).toBe(headers.get('x-ratelimit-remaining-requests') as never)
      expect(Number(now?.[2])).toBe(Math.ceil(Number(openai?.[1]) / 1000))
      expect(Number(now?.[1])).toBeLessThanOrEqual(Number(policy?.[1]))
      expect(Number(now?.[2])).toBeLessThanOrEqual(Number(policy?.[2]))
      expect(Number(openai?.[1])).toBeGreaterThanOrEqual(resetSeconds * 1000)
    }
  })()
})

test('the window is the time in which an empty bucket fills', () => {
  const headers = new Headers()
  rateLimiter(60, 10)?.take('a', headers, at(0))
  expect(headers.get('ratelimit-policy')).toBe('"requests";q=10;w=10')
  rateLimiter(7, 3)?.take('a', headers, at(0))
  expect(headers.get('ratelimit-policy')).toBe('"requests";q=3;w=26')
})

test(
  'at any uptime a spent bucket is full again after one window, and not said to be later',
  seeded((random) => {
    for (let round = 0; round < 300; round += 1) {
      const limiter = rateLimiter(1 + random.int(600), 1 + random.int(20))
      const now = at(random.next() * 1e10)
      const headers = new Headers()
      while (limiter?.take('a', headers, now).allowed);
      const w = /w=(\d+)/.exec(headers.get('ratelimit-policy') ?? '')?.[1]
      expect(headers.get('ratelimit')).toBe(`"requests";r=0;t=${w}`)
    }
  }),
)
