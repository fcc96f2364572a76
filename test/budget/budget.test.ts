// The two budgets together, and one decision in the dialects that clients read.

import { memoryCounters } from '../../src/gate/state.ts'
import { describe, expect, test } from 'bun:test'
import type { Admitted } from '../../src/admit/admitted.ts'
import {
  type Budget,
  type BudgetOptions,
  budget,
  rateLimiter,
  tooFast,
} from '../../src/budget/budget.ts'
import { limitsOf, rateHeaders, type RateHeaderTarget } from '../../src/budget/rate-headers.ts'
import { type Dialect, refusalResponse } from '../../src/refusal.ts'
import { somebody } from '../support/admitted.ts'
import { seeded } from '../support/random.ts'

const LIMITS = { rate: { perMinute: 60, burst: 2 }, concurrency: 1 }
/** Whose policy has these limits. */
const policies = new Map<string, Admitted>()
const who = (identity: string): Admitted =>
  policies.getOrInsertComputed(identity, () => somebody(identity, { person: LIMITS }))
const unlimited = (identity: string): Admitted => somebody(identity)
const NOVEMBER = Date.UTC(2026, 10, 20, 12) / 1000
const at = (monotonicMs: number, epochSeconds = 0) => ({ epochSeconds, monotonicMs })
const told = (
  now: number,
  headers = new Headers(),
  dialect: Dialect = 'openai',
): RateHeaderTarget => ({
  headers,
  dialect,
  at: at(now),
})
const options: BudgetOptions = { counters: memoryCounters, maxUpstreamConcurrency: () => 2 }

test('the rate is spent and said on every answer, the refused one too', () => {
  const budgets = budget(options)
  const said = [0, 0, 0].map((now) => {
    const headers = new Headers()
    const spent = budgets.spend(who('a'), told(now, headers))
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
  budgets.spend(who('a'), told(0, headers))
  const before = headers.get('ratelimit')
  expect(budgets.reserve(who('a'), told(0, headers)).ok).toBe(true)
  budgets.spend(who('a'), told(0, headers))
  expect(headers.get('ratelimit')).not.toBe(before)
  expect(budgets.reserve(who('a'), told(0, headers)).ok).toBe(false)
  expect(headers.get('ratelimit')).toBe(before)
})

test('a request that finds no place gets its rate back', () => {
  const budgets = budget(options)
  const spend = () => budgets.spend(who('a'), told(0)).ok
  expect([spend(), budgets.reserve(who('a'), told(0)).ok]).toEqual([true, true])
  for (let n = 0; n < 20; n += 1) {
    expect(spend()).toBe(true)
    expect(budgets.reserve(who('a'), told(0))).toMatchObject({
      code: 'identity_concurrency_limit',
    })
  }
  expect(budgets.underWay).toBe(1)
})

test('a place outlives any clock and is free again on release', () => {
  const budgets = budget(options)
  const reserved = budgets.reserve(who('a'), told(0))
  expect(budgets.reserve(who('a'), told(0)).ok).toBe(false)
  if (reserved.ok) reserved.value.release()
  expect(budgets.underWay).toBe(0)
  expect(budgets.reserve(who('a'), told(0)).ok).toBe(true)
})

test('0 requests a minute means no limit, and no header that speaks of one', () => {
  expect(rateLimiter(memoryCounters, 0, 10)).toBeUndefined()
  const budgets = budget(options)
  const headers = new Headers()
  const free = unlimited('a')
  for (let n = 0; n < 1000; n += 1) expect(budgets.spend(free, told(0, headers)).ok).toBe(true)
  expect([...headers]).toEqual([])
})

test('a 429 says when to come again, in whole seconds and never 0', async () => {
  const limiter = rateLimiter(memoryCounters, 6000, 1)
  const headers = new Headers()
  limiter?.take('a', told(0, headers))
  const decision = limiter?.take('a', told(9, headers))
  if (!decision || decision.allowed) throw new Error('allowed')
  expect(decision.retryAfterSeconds).toBeCloseTo(0.001, 9)
  const refusal = tooFast(decision)
  if (refusal.ok) throw new Error('granted')
  const response = refusalResponse(refusal, { headers, dialect: 'openai', requestId: 'r' })
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
      const limits = limitsOf(limit, windowSeconds)
      rateHeaders({ ...rest, remaining, resetSeconds }, limits, told(0, headers))
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
  rateLimiter(memoryCounters, 60, 10)?.take('a', told(0, headers))
  expect(headers.get('ratelimit-policy')).toBe('"requests";q=10;w=10')
  rateLimiter(memoryCounters, 7, 3)?.take('a', told(0, headers))
  expect(headers.get('ratelimit-policy')).toBe('"requests";q=3;w=26')
})

test(
  'at any uptime a spent bucket is full again after one window, and not said to be later',
  seeded((random) => {
    for (let round = 0; round < 300; round += 1) {
      const limiter = rateLimiter(memoryCounters, 1 + random.int(600), 1 + random.int(20))
      const headers = new Headers()
      const now = told(random.next() * 1e10, headers)
      while (limiter?.take('a', now).allowed);
      const w = /w=(\d+)/.exec(headers.get('ratelimit-policy') ?? '')?.[1]
      expect(headers.get('ratelimit')).toBe(`"requests";r=0;t=${w}`)
    }
  }),
)

describe("in Anthropic's dialect", () => {
  test('the rate is said in its names, and in no name of OpenAI', () => {
    const limiter = rateLimiter(memoryCounters, 60, 10)
    const headers = new Headers()
    limiter?.take('a', { headers, dialect: 'anthropic', at: at(0, NOVEMBER) })
    expect(Object.fromEntries(headers)).toEqual({
      'ratelimit-policy': '"requests";q=10;w=10',
      ratelimit: '"requests";r=9;t=1',
      'anthropic-ratelimit-requests-limit': '10',
      'anthropic-ratelimit-requests-remaining': '9',
      'anthropic-ratelimit-requests-reset': '2026-11-20T12:00:01Z',
    } as never)
  })

  test("OpenAI's dialect has none of Anthropic's headers", () => {
    const headers = new Headers()
    rateLimiter(memoryCounters, 60, 10)?.take('a', told(0, headers))
    expect([...headers.keys()].filter((name) => name.startsWith('anthropic'))).toEqual([])
  })

  test(
    'the reset is RFC 3339 in UTC, in whole seconds, and never before the bucket is full',
    seeded((random) => {
      for (let round = 0; round < 500; round += 1) {
        const epochSeconds = NOVEMBER + random.next() * 1e8
        const resetSeconds = random.next() * 1000
        const headers = new Headers()
        const rest = { allowed: true, retryAfterSeconds: 0, remaining: 1 }
        const on = { headers, dialect: 'anthropic', at: at(0, epochSeconds) } as const
        rateHeaders({ ...rest, resetSeconds }, limitsOf(5, 1000), on)
        const said = headers.get('anthropic-ratelimit-requests-reset') ?? ''
        expect(said).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
        const late = Date.parse(said) / 1000 - (epochSeconds + resetSeconds)
        expect(late).toBeGreaterThanOrEqual(-1e-3)
        expect(late).toBeLessThan(1 + 1e-3)
      }
    }),
  )
})

describe('a device with a rate of its own', () => {
  const device = (identity: string, rateLimit: number | undefined): Admitted =>
    rateLimit === undefined
      ? who(identity)
      : somebody(identity, {
          kind: 'device',
          person: { ...LIMITS, rate: { perMinute: rateLimit, burst: rateLimit } },
        })
  const granted = (budgets: Budget, admitted: Admitted, now = 0): number => {
    let count = 0
    while (count < 1000 && budgets.spend(admitted, told(now)).ok) count += 1
    return count
  }

  test('has that in place of the common one, and one without it has the common one', () => {
    const budgets = budget(options)
    expect(granted(budgets, device('a', 7))).toBe(7)
    expect(granted(budgets, device('b', undefined))).toBe(2)
    expect(granted(budgets, who('c'))).toBe(2)
  })

  test('shares its rate with no other device of the same rate', () => {
    const budgets = budget(options)
    expect(granted(budgets, device('a', 3))).toBe(3)
    expect(granted(budgets, device('b', 3))).toBe(3)
    expect(granted(budgets, device('a', 3))).toBe(0)
  })

  test('gets one request back every minute divided by its rate', () => {
    const budgets = budget(options)
    expect(granted(budgets, device('a', 6))).toBe(6)
    expect(granted(budgets, device('a', 6), 9_999)).toBe(0)
    expect(granted(budgets, device('a', 6), 10_000)).toBe(1)
    expect(granted(budgets, device('a', 6), 70_000)).toBe(6)
  })

  test('is limited even if the common rate is off, and reports its own limit', () => {
    const budgets = budget(options)
    const headers = new Headers()
    expect(budgets.spend(device('a', 2), told(0, headers, 'anthropic')).ok).toBe(true)
    expect(headers.get('anthropic-ratelimit-requests-limit')).toBe('2')
    expect(granted(budgets, device('a', 2))).toBe(1)
    expect(granted(budgets, unlimited('b'))).toBe(1000)
  })

  test('gets its request back if there is no free slot', () => {
    const budgets = budget(options)
    const mine = device('a', 3)
    expect([budgets.spend(mine, told(0)).ok, budgets.reserve(mine, told(0)).ok]).toEqual([
      true,
      true,
    ])
    for (let n = 0; n < 20; n += 1) {
      const headers = new Headers()
      expect(budgets.spend(mine, told(0)).ok).toBe(true)
      expect(budgets.reserve(mine, told(0, headers)).ok).toBe(false)
      expect(headers.get('ratelimit')).toBe('"requests";r=2;t=20')
    }
  })
})

describe('an organisation with a rate of its own', () => {
  const ORG = { rate: { perMinute: 60, burst: 5 }, concurrency: 3 }
  const member = (identity: string, burst = 4, org: string | undefined = 'acme'): Admitted =>
    somebody(identity, {
      org,
      person: { rate: { perMinute: 60, burst } },
      organisation: ORG,
    })
  const said = (headers: Headers): (string | null)[] => [
    headers.get('ratelimit-policy'),
    headers.get('ratelimit'),
  ]

  test('shares it among its people, and says whose limit it was', () => {
    const budgets = budget(options)
    const [anna, ben] = [member('anna'), member('ben')]
    for (let n = 0; n < 3; n += 1) expect(budgets.spend(anna, told(0)).ok).toBe(true)
    for (let n = 0; n < 2; n += 1) expect(budgets.spend(ben, told(0)).ok).toBe(true)
    expect(budgets.spend(ben, told(0))).toMatchObject({
      code: 'rate_limit_exceeded',
      message: "the organisation's rate limit is exceeded",
      retryAfterSeconds: 1,
    })
    expect(budgets.spend(member('carl', 4, 'other'), told(0)).ok).toBe(true)
  })

  test('that refuses costs the person nothing', () => {
    const budgets = budget(options)
    const anna = member('anna')
    for (let n = 0; n < 5; n += 1) budgets.spend(member(`other-${n}`), told(0))
    for (let n = 0; n < 100; n += 1) expect(budgets.spend(anna, told(0)).ok).toBe(false)
    const alone = somebody('anna', { person: { rate: { perMinute: 60, burst: 4 } } })
    for (let n = 0; n < 4; n += 1) expect(budgets.spend(alone, told(0)).ok).toBe(true)
    expect(budgets.spend(alone, told(0)).ok).toBe(false)
  })

  test("a person's refused request costs the organisation nothing", () => {
    const budgets = budget(options)
    const anna = member('anna', 1)
    for (let n = 0; n < 100; n += 1) budgets.spend(anna, told(0))
    for (let n = 0; n < 4; n += 1) expect(budgets.spend(member('ben'), told(0)).ok).toBe(true)
  })

  test('the narrower of the two is reported', () => {
    const budgets = budget(options)
    const headers = new Headers()
    budgets.spend(member('anna'), told(0, headers))
    expect(said(headers)).toEqual(['"requests";q=4;w=4', '"requests";r=3;t=1'])
    budgets.spend(member('ben'), told(0, headers))
    budgets.spend(member('ben'), told(0, headers))
    // As few are left of both, and the organisation's takes longer.
    expect(said(headers)).toEqual(['"requests";q=5;w=5', '"requests";r=2;t=3'])
    budgets.spend(member('carl'), told(0, headers))
    expect(said(headers)).toEqual(['"requests";q=5;w=5', '"requests";r=1;t=4'])
  })

  test('and of a refusal it is the one that refused', () => {
    const budgets = budget(options)
    const headers = new Headers()
    for (let n = 0; n < 5; n += 1) budgets.spend(member(`other-${n}`), told(0))
    budgets.spend(member('anna'), told(0, headers))
    expect(said(headers)).toEqual(['"requests";q=5;w=5', '"requests";r=0;t=5'])
  })

  test('both get their request back if there is no free slot', () => {
    const budgets = budget({ ...options, maxUpstreamConcurrency: () => 100 })
    for (let n = 0; n < 3; n += 1) {
      const each = member(`other-${n}`)
      expect([budgets.spend(each, told(0)).ok, budgets.reserve(each, told(0)).ok]).toEqual([
        true,
        true,
      ])
    }
    const anna = member('anna')
    for (let n = 0; n < 50; n += 1) {
      const headers = new Headers()
      expect(budgets.spend(anna, told(0, headers)).ok).toBe(true)
      expect(budgets.reserve(anna, told(0, headers))).toMatchObject({
        code: 'organisation_concurrency_limit',
      })
      expect(said(headers)).toEqual(['"requests";q=5;w=5', '"requests";r=2;t=3'])
    }
  })

  test('says nothing to somebody of no organisation', () => {
    const budgets = budget(options)
    const nobodys = somebody('n', {
      person: { rate: { perMinute: 60, burst: 50 } },
      organisation: ORG,
    })
    for (let n = 0; n < 50; n += 1) expect(budgets.spend(nobodys, told(0)).ok).toBe(true)
  })
})

test('a caller with two policies gets a share of each rate, and never their sum', () => {
  const budgets = budget(options)
  const of = (burst: number) => somebody('a', { person: { rate: { perMinute: burst, burst } } })
  const [slow, fast] = [of(10), of(100)]
  for (let n = 0; n < 5; n += 1) expect(budgets.spend(slow, told(0)).ok).toBe(true)
  let more = 0
  while (budgets.spend(fast, told(0)).ok) more += 1
  expect(more).toBe(50)
  expect(budgets.spend(slow, told(0)).ok).toBe(false)
})
