// What goes out is charged: model, then money, then the breaker; and what a later one refuses, the
// earlier ones get back.

import { describe, expect, test } from 'bun:test'
import type { Admitted } from '../../src/admit/admitted.ts'
import { type Breaker, breaker } from '../../src/budget/breaker.ts'
import { type Charges, charges } from '../../src/budget/charge.ts'
import { orgKey, personKey } from '../../src/budget/spend-limit.ts'
import type { Costly } from '../../src/upstream/costly.ts'
import { parsePrices } from '../../src/budget/price-table.ts'
import { HIDDEN_PROMPT_TOKENS } from '../../src/budget/prices.ts'
import { spendCaps } from '../../src/state/memory/spend.ts'
import type { SpendCaps } from '../../src/state/port.ts'
import { costly as plain } from '../support/costly.ts'
import { somebody } from '../support/admitted.ts'

const NOW = { epochSeconds: Date.UTC(2026, 10, 20, 12) / 1000, monotonicMs: 0 }
const MS = NOW.epochSeconds * 1000
const TO_MONTH_END = (Date.UTC(2026, 11, 1) - MS) / 1000

/** A micro-dollar for a token of whatever kind. */
const DOLLAR = { input: 1, output: 1, cache_read: 1, cache_write_5m: 1, cache_write_1h: 1 }
const parsed = parsePrices(
  JSON.stringify({ date: '2026-11-20', models: { 'claude-*': DOLLAR, 'other-1': DOLLAR } }),
)
if (!parsed.ok) throw new Error('prices')
const { prices } = parsed

interface Own {
  readonly org?: string
  readonly models?: readonly string[]
  readonly rateLimit?: number
  readonly spendCapMicroUsd?: number
  readonly spendPerDay?: number
  readonly orgCap?: number
}
const device = (own: Own = {}, identity = 'd1'): Admitted => {
  const { org, models, rateLimit, spendCapMicroUsd: spendPerMonth, spendPerDay, orgCap } = own
  const rate = rateLimit === undefined ? undefined : { perMinute: rateLimit, burst: rateLimit }
  return somebody(identity, {
    kind: 'device',
    org,
    ...(models && { models }),
    person: { rate, spendPerMonth, spendPerDay },
    organisation: { spendPerMonth: orgCap },
  })
}
const user = somebody('u1')
const costly = (over: Partial<Costly> = {}): Costly =>
  plain({ model: 'claude-x', maxTokens: 100, textBytes: 52, ...over })
/** 2,200 micro-dollars. */
const WORST = 100 + 52 + HIDDEN_PROMPT_TOKENS

const ROUTE = 'POST /v1/messages'
const ASKING = { host: '', route: ROUTE, model: undefined }
const CHARGED = { ...ASKING, hasBody: true, sealed: false }

interface Scene {
  readonly caps: SpendCaps
  readonly circuit: Breaker
  readonly all: Charges
}
function scene(): Scene {
  const caps = spendCaps()
  const circuit = breaker({ failureThreshold: 1, successThreshold: 1, openMs: 1000 })
  return { caps, circuit, all: charges({ caps, prices }) }
}
function open({ circuit }: Scene): void {
  const entry = circuit.enter({ caller: 'somebody', ...ASKING }, 0)
  if (entry.ok) entry.pass.report('unreachable', 0)
}
const held = ({ caps }: Scene, key = personKey('d1')) => caps.read(key, MS).reservedMicroUsd
const take = (
  { all, circuit }: Scene,
  who: Admitted,
  what: Costly | undefined,
  now = NOW,
  hasBody = true,
) => all.take(who, what, circuit, { ...CHARGED, hasBody }, now)
const codeOf = (decision: ReturnType<typeof take>): string => (decision.ok ? 'ok' : decision.code)

describe('whose body has to be read', () => {
  const { all } = scene()
  const reads = (who: Admitted): unknown => {
    const needed = all.needsBody(who, ROUTE, false)
    return needed.ok && needed.value
  }
  test('no body under a policy without list and cap', () => {
    expect([reads(user), reads(device()), reads(device({ rateLimit: 3 }))]).toEqual([
      false,
      false,
      false,
    ])
  })
  test('that of somebody with a list, a cap, or an organisation that has one', () => {
    expect(reads(device({ models: ['claude-*'] }))).toBe(true)
    expect(reads(device({ models: [] }))).toBe(true)
    expect(reads(device({ spendCapMicroUsd: 0 }))).toBe(true)
    expect(reads(device({ spendPerDay: 0 }))).toBe(true)
    expect(reads(device({ org: 'o' }))).toBe(false)
    expect(reads(device({ org: 'o', orgCap: 1 }))).toBe(true)
    expect(reads(device({ orgCap: 1 }))).toBe(false)
    expect(reads(somebody('u1', { models: ['gpt-*'] }))).toBe(true)
  })
  test('one that is sealed, and so cannot be read, is refused', () => {
    expect(all.needsBody(device(), ROUTE, true)).toEqual({ ok: true, value: false })
    for (const own of [{ models: ['*'] }, { spendCapMicroUsd: 1 }, { spendPerDay: 1 }]) {
      expect(all.needsBody(device(own), ROUTE, true)).toMatchObject({ code: 'sealed_body_limited' })
    }
  })
  test('that of a plain chat whose policy demands the usage of streams, and no other', () => {
    const who = somebody('u1', { streamUsage: true })
    for (const [route, sealed, isRead] of [
      ['POST /v1/chat/completions', false, true],
      ['POST /v1/completions', false, true],
      ['POST /v1/chat/completions', true, false],
      ['POST /v1/responses', false, false],
      [ROUTE, false, false],
    ] as const) {
      expect(all.needsBody(who, route, sealed)).toEqual({ ok: true, value: isRead })
    }
  })
  test('a limit refuses a request whose body was not read', () => {
    const at = scene()
    for (const own of [{ models: ['*'] }, { spendCapMicroUsd: 1e9 }, { spendPerDay: 1e9 }]) {
      expect(take(at, device(own), undefined)).toMatchObject({ code: 'internal_error' })
      expect(codeOf(take(at, device(own), undefined, NOW, false))).toBe('ok')
    }
    expect(codeOf(take(at, device(), undefined))).toBe('ok')
    expect(at.caps.size).toBe(0)
  })
})

describe('the order', () => {
  const poor = device({ models: ['other-*'], spendCapMicroUsd: 1 })
  test('is model, money, breaker', () => {
    const at = scene()
    open(at)
    expect(codeOf(take(at, poor, costly()))).toBe('model_not_allowed')
    expect(codeOf(take(at, poor, costly({ model: 'other-1' })))).toBe('spend_cap_reached')
    const rich = device({ spendCapMicroUsd: 1_000_000 })
    expect(codeOf(take(at, rich, costly()))).toBe('circuit_open')
  })
  test('a model that is not allowed is asked for no price', () => {
    expect(codeOf(take(scene(), poor, costly({ model: 'claude-x', maxTokens: undefined })))).toBe(
      'model_not_allowed',
    )
  })
})

describe('a reservation is given back if a later step refuses', () => {
  const rich = device({ spendCapMicroUsd: 1_000_000, org: 'o', orgCap: 1_000_000 })
  test('the breaker: nothing is held of device or organisation', () => {
    const at = scene()
    open(at)
    for (let n = 0; n < 1000; n += 1) {
      expect(take(at, rich, costly())).toMatchObject({ code: 'circuit_open', retryAfterSeconds: 1 })
    }
    expect([held(at), held(at, orgKey('o'))]).toEqual([0, 0])
  })
  test('a cap: no probe of the breaker is taken', () => {
    const at = scene()
    open(at)
    const later = { ...NOW, monotonicMs: 1000 }
    for (let n = 0; n < 10; n += 1) {
      expect(codeOf(take(at, device({ spendCapMicroUsd: 1 }), costly(), later))).toBe(
        'spend_cap_reached',
      )
    }
    expect(codeOf(take(at, rich, costly(), later))).toBe('ok')
    expect(codeOf(take(at, rich, costly(), later))).toBe('circuit_open')
  })
  test("the organisation's cap: the device's own is not held either", () => {
    const at = scene()
    const poorOrg = device({ spendCapMicroUsd: 1_000_000, org: 'o', orgCap: WORST - 1 })
    expect(take(at, poorOrg, costly())).toMatchObject({
      code: 'spend_cap_reached',
      message: expect.stringContaining("the organisation's $0.002199 a month"),
    })
    expect([held(at), held(at, orgKey('o'))]).toEqual([0, 0])
  })
})

describe('money', () => {
  const rich = device({ spendCapMicroUsd: 1_000_000, org: 'o', orgCap: 1_000_000 })
  const capped = (spendCapMicroUsd: number) => device({ spendCapMicroUsd })
  test('the worst case is reserved, for the device and for its organisation', () => {
    const at = scene()
    const charge = take(at, rich, costly())
    if (!charge.ok) throw new Error(charge.code)
    expect(charge.value.reservation?.amountMicroUsd).toBe(WORST)
    expect([held(at), held(at, orgKey('o'))]).toEqual([WORST, WORST])
    charge.value.reservation?.settle(7)
    expect(at.caps.read(personKey('d1'), MS).spentMicroUsd).toBe(7)
    expect(at.caps.read(orgKey('o'), MS).spentMicroUsd).toBe(7)
  })
  test('a cap that fits exactly is enough; a smaller one never is', () => {
    expect(codeOf(take(scene(), capped(WORST), costly()))).toBe('ok')
    const refusal = take(scene(), capped(WORST - 1), costly())
    expect(refusal).toMatchObject({
      code: 'spend_cap_reached',
      message:
        "this request may cost up to $0.002200, which is more than the device's $0.002199 a month; " +
        'lower max_tokens or send less',
    })
    expect(refusal).not.toHaveProperty('retryAfterSeconds')
  })
  test('reservations of others free in seconds, spending only at the end of the month', () => {
    const at = scene()
    const first = take(at, capped(WORST), costly())
    expect(take(at, capped(WORST), costly())).toMatchObject({
      code: 'spend_reserved',
      retryAfterSeconds: 5,
      message:
        "this request may cost up to $0.002200, and $0.00 of the device's $0.002200 a month is free " +
        'while requests under way hold $0.002200',
    })
    if (first.ok) first.value.reservation?.settle(1)
    const refusal = take(at, capped(WORST), costly())
    expect(refusal).toMatchObject({
      code: 'spend_cap_reached',
      retryAfterSeconds: TO_MONTH_END,
    })
    expect(refusal).toHaveProperty(
      'message',
      "this request may cost up to $0.002200, and $0.002199 is left of the device's $0.002200 a month " +
        'until 2026-12-01',
    )
  })
  test('a model without a price, and an answer without a bound, are refused under a cap alone', () => {
    const odd = [costly({ model: 'gpt-x' }), costly({ maxTokens: undefined })]
    const codes = (who: Admitted) => odd.map((each) => codeOf(take(scene(), who, each)))
    expect(codes(capped(1_000_000))).toEqual(['model_not_priced', 'max_tokens_required'])
    expect(codes(device())).toEqual(['ok', 'ok'])
    expect(codes(device({ models: ['gpt-x', 'claude-*'] }))).toEqual(['ok', 'ok'])
  })
  test('a free request reserves nothing under any cap, but its model is checked', () => {
    const at = scene()
    const counting = costly({ free: true, maxTokens: undefined, model: 'gpt-x' })
    const charge = take(at, capped(0), counting)
    expect(charge.ok && charge.value.reservation).toBe(undefined as never)
    expect(codeOf(charge)).toBe('ok')
    expect(at.caps.size).toBe(0)
    expect(codeOf(take(at, device({ models: ['claude-*'] }), counting))).toBe('model_not_allowed')
  })
  test('without a body to look at nothing is reserved', () => {
    const charge = take(scene(), capped(0), undefined, NOW, false)
    expect(charge.ok && charge.value.reservation).toBe(undefined as never)
  })
  test("one organisation's name is no device's", () => {
    const at = scene()
    const ofX = { org: 'x', orgCap: WORST }
    expect(codeOf(take(at, device(ofX, 'x'), costly()))).toBe('ok')
    expect(codeOf(take(at, device({ spendCapMicroUsd: WORST }, 'x'), costly()))).toBe('ok')
    expect(codeOf(take(at, device(ofX, 'y'), costly()))).toBe('spend_reserved')
  })
  test('spending that cannot be counted is 503, and not a way around the cap', () => {
    const all = charges({ caps: spendCaps({ maxKeys: 0 }), prices })
    const decision = all.take(capped(1_000_000), costly(), breaker(), CHARGED, NOW)
    expect(decision).toMatchObject({ code: 'spend_unavailable', retryAfterSeconds: 5 })
  })
})

describe('a cap of a day', () => {
  const daily = (spendPerDay: number, spendCapMicroUsd = 1_000_000): Admitted =>
    device({ spendPerDay, spendCapMicroUsd })
  const END_OF_DAY = Date.UTC(2026, 10, 21)

  test('refuses until the day ends in UTC, and says so', () => {
    const at = scene()
    const first = take(at, daily(WORST), costly())
    if (first.ok) first.value.reservation?.settle(1)
    expect(take(at, daily(WORST), costly())).toMatchObject({
      code: 'spend_cap_reached',
      retryAfterSeconds: (END_OF_DAY - MS) / 1000,
      message:
        "this request may cost up to $0.002200, and $0.002199 is left of the device's $0.002200 a day " +
        'until 2026-11-21',
    })
    const tomorrow = { epochSeconds: END_OF_DAY / 1000, monotonicMs: 0 }
    expect(codeOf(take(at, daily(WORST), costly(), tomorrow))).toBe('ok')
  })
  test('holds together with that of the month, and the narrower one decides', () => {
    const at = scene()
    expect(take(at, daily(1, WORST), costly())).toMatchObject({
      message: expect.stringContaining("the device's $0.000001 a day"),
    })
    expect(take(at, daily(WORST, 1), costly())).toMatchObject({
      message: expect.stringContaining("the device's $0.000001 a month"),
    })
    expect(at.caps.size).toBe(0)
  })
  test('is reported with its next beginning', () => {
    const at = scene()
    take(at, daily(5000), costly())
    const standing = at.all.standing(daily(5000), NOW)
    expect(
      standing.map(({ scope, period, leftMicroUsd, resetsAtMs }) => [
        scope,
        period,
        leftMicroUsd,
        resetsAtMs,
      ]),
    ).toEqual([
      ['device', 'month', 1_000_000 - WORST, Date.UTC(2026, 11, 1)],
      ['device', 'day', 5000 - WORST, END_OF_DAY],
    ])
  })
})

test('a user with a cap is charged like a device, and learns whose cap it was', () => {
  const at = scene()
  const capped = somebody('u1', { person: { spendPerMonth: WORST } })
  const first = take(at, capped, costly())
  if (first.ok) first.value.reservation?.settle(WORST)
  expect(take(at, capped, costly())).toMatchObject({
    message: expect.stringContaining("the user's $0.002200 a month"),
  })
  expect(at.caps.read(personKey('u1'), MS).spentMicroUsd).toBe(WORST)
})

test('a user is charged nothing and listed nowhere', () => {
  const at = scene()
  const charge = take(at, user, costly({ model: 'anything' }))
  expect(charge.ok && charge.value.reservation).toBe(undefined as never)
  expect(at.caps.size).toBe(0)
})
