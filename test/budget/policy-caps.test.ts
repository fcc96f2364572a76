// Attacks on the caps of policies: two policies for one caller, midnights, clocks, members of one
// organisation, and requests at the same moment. No way past a cap, and nobody pays for another.

import { describe, expect, test } from 'bun:test'
import type { Admitted } from '../../src/admit/admitted.ts'
import { parsePrices } from '../../src/budget/price-table.ts'
import { HIDDEN_PROMPT_TOKENS } from '../../src/budget/prices.ts'
import { spendLimit } from '../../src/budget/spend-limit.ts'
import { devicePolicies } from '../../src/policy/device.ts'
import { defaultPolicies } from '../../src/policy/from-settings.ts'
import { NO_LIMITS, type Policy, policy } from '../../src/policy/policy.ts'
import { policySelector } from '../../src/policy/select.ts'
import type { Reservation } from '../../src/state/port.ts'
import { spendCaps } from '../../src/state/memory/spend.ts'
import { DAY_MS } from '../../src/turn/calendar.ts'
import { costly } from '../support/costly.ts'
import { somebody } from '../support/admitted.ts'

/** 2026-11-29, a day before the month's last. */
const NOON = Date.UTC(2026, 10, 29, 12)
const MIDNIGHT = Date.UTC(2026, 10, 30)
const DOLLAR = { input: 1, output: 1, cache_read: 1, cache_write_5m: 1, cache_write_1h: 1 }
const parsed = parsePrices(JSON.stringify({ date: '2026-11-20', models: { m: DOLLAR } }))
if (!parsed.ok) throw new Error('prices')
const { prices } = parsed

/** A request that may cost 1000 micro-dollars, and does. */
const COST = 1000
const REQUEST = costly({ maxTokens: 100, textBytes: COST - 100 - HIDDEN_PROMPT_TOKENS })

const capped = (name: string, spendPerDay?: number, spendPerMonth?: number): Policy =>
  policy({ name, person: { ...NO_LIMITS, spendPerDay, spendPerMonth } })
const under = (given: Policy, identity = 'k1', org?: string): Admitted =>
  ({ ...somebody(identity, { kind: 'key', org }), policy: given }) as Admitted

function scene() {
  const caps = spendCaps()
  const limit = spendLimit(caps, prices)
  const ask = (who: Admitted, nowMs: number) =>
    limit.decide(who, REQUEST, { epochSeconds: nowMs / 1000, monotonicMs: 0 })
  /** Undefined where it is refused. */
  const begin = (who: Admitted, nowMs = NOON): Reservation | undefined => {
    const decided = ask(who, nowMs)
    return decided.ok ? decided.value.reservation : undefined
  }
  /** Requests, one after the other, until one is refused. */
  const untilRefused = (who: Admitted, nowMs = NOON): number => {
    for (let passed = 0; passed < 1000; passed += 1) {
      const reservation = begin(who, nowMs)
      if (!reservation) return passed
      reservation.settle(COST)
    }
    throw new Error('no cap')
  }
  return { caps, limit, ask, begin, untilRefused }
}

describe('one caller that comes under two policies, as before and after a reload', () => {
  test('gets the rest of the wider one, never the sum of both', () => {
    const on = scene()
    expect(on.untilRefused(under(capped('narrow', 3 * COST)))).toBe(3)
    expect(on.untilRefused(under(capped('wide', 5 * COST)))).toBe(2)
    expect(on.untilRefused(under(capped('narrow', 3 * COST)))).toBe(0)
  })

  test('has at midnight the day that its policy of then gives, and the month goes on', () => {
    const on = scene()
    const narrow = under(capped('narrow', 3 * COST, 10 * COST))
    const wide = under(capped('wide', 9 * COST, 10 * COST))
    expect(on.untilRefused(narrow)).toBe(3)
    expect(on.untilRefused(narrow, MIDNIGHT - 1)).toBe(0)
    expect(on.untilRefused(wide, MIDNIGHT)).toBe(7)
    expect(on.untilRefused(narrow, MIDNIGHT)).toBe(0)
    // The month is over, too.
    expect(on.untilRefused(narrow, MIDNIGHT + DAY_MS)).toBe(3)
  })

  test('does not include requests that began before midnight', () => {
    const on = scene()
    const who = under(capped('ci', 3 * COST))
    const late = [on.begin(who, MIDNIGHT - 1), on.begin(who, MIDNIGHT - 1)]
    expect(on.untilRefused(who, MIDNIGHT)).toBe(3)
    for (const each of late) each?.settle(COST)
    expect(on.caps.read('person:k1', MIDNIGHT, 'day').spentMicroUsd).toBe(3 * COST)
    expect(on.untilRefused(who, MIDNIGHT - 1)).toBe(1)
  })
})

test('a clock that goes back to yesterday and comes again gives neither day twice', () => {
  const on = scene()
  const who = under(capped('ci', 3 * COST, 8 * COST))
  expect(on.untilRefused(who, NOON)).toBe(3)
  expect(on.untilRefused(who, MIDNIGHT)).toBe(3)
  for (const back of [1, 2, 1, 0]) on.begin(who, MIDNIGHT - back * DAY_MS)?.release()
  expect(on.untilRefused(who, NOON)).toBe(0)
  expect(on.untilRefused(who, MIDNIGHT)).toBe(0)
})

test("a device's token narrows its policy by day and by month, and a wider token widens neither", () => {
  const named = new Map([['ci', capped('ci', 3 * COST, 5 * COST)]])
  const defaults = defaultPolicies({
    rateLimitRpm: 60,
    rateLimitBurst: 10,
    maxIdentityConcurrency: 16,
  })
  const ofDevice = devicePolicies(policySelector({ named, rules: [], defaults }), defaults)
  const passes = (spendCap: number | undefined): number => {
    const own = { models: undefined, rateLimit: undefined, orgId: undefined, policy: 'ci' }
    const given = ofDevice({ ...own, spendCap })
    if (!given) throw new Error('no policy')
    return scene().untilRefused(under(given, 'd1'))
  }
  expect([passes(undefined), passes(1000), passes(0.002)]).toEqual([3, 3, 2])
  const gone = { models: undefined, rateLimit: undefined, orgId: undefined, policy: 'gone' }
  expect(ofDevice({ ...gone, spendCap: undefined })).toBeUndefined()
})

describe('an organisation', () => {
  const member = (spendPerDay: number, name: string, identity: string): Admitted =>
    under(policy({ name, organisation: { ...NO_LIMITS, spendPerDay } }), identity, 'acme')

  test('whose cap another member has reached refuses, and says whose cap it was', () => {
    const on = scene()
    expect(on.untilRefused(member(3 * COST, 'all', 'k1'))).toBe(3)
    const refusal = on.ask(member(3 * COST, 'all', 'k2'), NOON)
    expect(refusal).toMatchObject({
      ok: false,
      code: 'spend_cap_reached',
      message: expect.stringContaining("the organisation's"),
    })
    // Nobody is refused for an organisation that is not their own.
    for (const org of ['other', undefined]) {
      expect(on.ask({ ...member(3 * COST, 'all', 'k3'), org } as Admitted, NOON).ok).toBe(true)
    }
  })

  test('counts all members together, whichever policy each has, and each sees its own cap of it', () => {
    const on = scene()
    expect(on.untilRefused(member(2 * COST, 'few', 'k1'))).toBe(2)
    expect(on.untilRefused(member(5 * COST, 'many', 'k2'))).toBe(3)
    expect(on.untilRefused(member(2 * COST, 'few', 'k3'))).toBe(0)
  })
})

test('requests at the same moment, of a caller, its organisation and another member, pass no cap', () => {
  const on = scene()
  const of = (identity: string): Admitted =>
    under(
      policy({
        name: 'p',
        person: { ...NO_LIMITS, spendPerDay: 4 * COST },
        organisation: { ...NO_LIMITS, spendPerMonth: 6 * COST },
      }),
      identity,
      'acme',
    )
  const begun = Array.from({ length: 40 }, (_, at) => on.begin(of(at % 2 === 0 ? 'k1' : 'k2')))
  const held = begun.filter((each) => each !== undefined)
  expect(held).toHaveLength(6)
  // What is given back is there for the next, and no more than that.
  held[0]?.release()
  held[0]?.release()
  held[0]?.settle(0)
  expect(on.begin(of('k1'))).toBeDefined()
  expect(on.begin(of('k2'))).toBeUndefined()
})
