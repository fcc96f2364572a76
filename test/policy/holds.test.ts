// No request passes that its policy does not allow: random policies and random requests through every
// check in its order, held against a reading of the policy that is written apart from the code.

import { ROUTE_GROUPS, USUAL_GROUPS } from '../../src/names.ts'
import { expect, test } from 'bun:test'
import type { Admitted } from '../../src/admit/admitted.ts'
import { memoryCounters } from '../../src/gate/state.ts'
import { breaker } from '../../src/budget/breaker.ts'
import { budget } from '../../src/budget/budget.ts'
import { charges } from '../../src/budget/charge.ts'
import { parsePrices } from '../../src/budget/price-table.ts'
import { HIDDEN_PROMPT_TOKENS } from '../../src/budget/prices.ts'
import { allows, bounded } from '../../src/policy/allows.ts'
import { narrowed, type Policy, policy } from '../../src/policy/policy.ts'
import { spendCaps } from '../../src/state/memory/spend.ts'
import type { Costly } from '../../src/upstream/costly.ts'
import { costly } from '../support/costly.ts'
import { somebody } from '../support/admitted.ts'
import { type Random, seeded } from '../support/random.ts'
import { randomPolicy, UPSTREAMS } from './random-policy.ts'

const NOW = { epochSeconds: Date.UTC(2026, 10, 20, 12) / 1000, monotonicMs: 0 }
/** A micro-dollar for a token of whatever kind. */
const DOLLAR = { input: 1, output: 1, cache_read: 1, cache_write_5m: 1, cache_write_1h: 1 }
const parsed = parsePrices(JSON.stringify({ date: '2026-11-20', models: { '*': DOLLAR } }))
if (!parsed.ok) throw new Error('prices')
const { prices } = parsed
const CHAT = 'POST /v1/chat/completions'
const MODELS = ['a', 'ab', 'abc', 'b', 'bab', 'c']

const randomRequest = (random: Random) => ({
  route: random.pick([...ROUTE_GROUPS, undefined]),
  upstream: random.pick([...UPSTREAMS, 'strange']),
  hasBody: random.int(4) > 0,
  sealed: random.int(3) === 0,
  length: random.pick([undefined, 0, 1, 2, 3, 4, 5, 9]),
  models: [random.pick(MODELS), ...(random.int(3) === 0 ? [random.pick(MODELS)] : [])],
  tokens: 1 + random.int(3),
  isSilentStream: random.int(3) === 0,
  /** The reader of bodies may be the one with a bug. */
  isRead: random.int(10) > 0,
})
type Asked = ReturnType<typeof randomRequest>

const costlyOf = ({ models: [model = '', ...models], tokens, isSilentStream }: Asked): Costly =>
  costly({ model, models, maxTokens: tokens, isSilentStream })

const allowsAsked = (by: Policy, asked: Asked): boolean =>
  allows(by, asked.route, asked.upstream, asked.hasBody, asked).ok

/** A request of one policy, as often as its caller may send it. */
function passes(who: Admitted, asked: Asked): { readonly times: number; readonly spent: number } {
  const rates = budget({ counters: memoryCounters, maxUpstreamConcurrency: () => 100 })
  const all = charges({ caps: spendCaps(), prices })
  const circuit = breaker()
  const told = { headers: new Headers(), dialect: 'openai', at: NOW } as const
  const read = asked.isRead && asked.hasBody && !asked.sealed
  let [times, spent] = [0, 0]
  for (; times < 20; times += 1) {
    if (!rates.spend(who, told).ok) break
    if (!allowsAsked(who.policy, asked)) break
    const limited = asked.hasBody
      ? all.needsBody(who, CHAT, asked.sealed)
      : { ok: true, value: false }
    if (!limited.ok) break
    const place = rates.reserve(who, told)
    if (!place.ok) break
    const { hasBody, sealed } = asked
    const charged = { host: '', route: CHAT, model: undefined, hasBody, sealed }
    const costly = limited.value && read ? costlyOf(asked) : undefined
    const charge = all.take(who, costly, circuit, charged, NOW)
    if (!charge.ok) break
    spent += charge.value.reservation?.amountMicroUsd ?? 0
    charge.value.reservation?.settle(charge.value.reservation.amountMicroUsd)
  }
  return { times, spent }
}

const named = (patterns: readonly string[], model: string): boolean =>
  patterns.some((each) =>
    each.at(-1) === '*' ? model.indexOf(each.slice(0, -1)) === 0 : each === model,
  )

/** What a policy allows that names no routes, and what no policy names. */
const UNNAMED = [...USUAL_GROUPS, undefined]

/** What a policy has against so many of these requests at once. */
function against(
  of: Policy,
  asked: Asked,
  hasOrg: boolean,
  times: number,
  spent: number,
): string[] {
  const body = asked.hasBody
  const limits = hasOrg ? [of.person, of.organisation] : [of.person]
  const objections: [boolean, string][] = [
    [(of.routes ?? UNNAMED).includes(asked.route as never) === false, 'route'],
    [of.upstreams?.includes(asked.upstream) === false, 'upstream'],
    [body && !of.plaintext && !asked.sealed, 'plaintext'],
    [body && (asked.length ?? 0) > (of.maxBodyBytes ?? Infinity), 'length'],
    [
      body &&
        of.models !== undefined &&
        !asked.models.every((each) => named(of.models ?? [], each)),
      'model',
    ],
    [body && of.models !== undefined && (asked.sealed || !asked.isRead), 'unread model'],
    [
      body && of.streamUsage && !asked.sealed && (asked.isSilentStream || !asked.isRead),
      'silent stream',
    ],
    ...limits.flatMap(({ rate, concurrency, spendPerDay, spendPerMonth }): [boolean, string][] => {
      const isCapped = spendPerDay !== undefined || spendPerMonth !== undefined
      return [
        [times > (rate?.burst ?? Infinity), 'rate'],
        [times > (concurrency ?? Infinity), 'concurrency'],
        [spent > Math.min(spendPerDay ?? Infinity, spendPerMonth ?? Infinity), 'spending'],
        [body && isCapped && spent === 0, 'uncounted spending'],
      ]
    }),
  ]
  return objections.filter(([objects]) => objects).map(([, what]) => what)
}

/** Room for some requests, and not for twenty. */
const dearer = (of: Policy): Policy => {
  const scaled = ({ spendPerDay: day, spendPerMonth: month, ...rest }: Policy['person']) => ({
    ...rest,
    spendPerDay: day === undefined ? undefined : day * HIDDEN_PROMPT_TOKENS,
    spendPerMonth: month === undefined ? undefined : month * HIDDEN_PROMPT_TOKENS,
  })
  return policy({ ...of, person: scaled(of.person), organisation: scaled(of.organisation) })
}

test(
  'property: every passed request is allowed by the policy, and by both policies if two were narrowed',
  seeded((random) => {
    let passed = 0
    for (let round = 0; round < 10_000; round += 1) {
      const [given, own] = [dearer(randomPolicy(random)), dearer(randomPolicy(random))]
      const isOwn = random.int(2) === 0
      const held = isOwn ? narrowed(given, own) : given
      const org = random.pick([undefined, 'acme'])
      const asked = randomRequest(random)
      const who = { ...somebody('x'), org, policy: held }
      const { times, spent } = passes(who, asked)
      if (times === 0) continue
      passed += 1
      const has = org !== undefined
      const objections = against(given, asked, has, times, spent)
      const theirs = isOwn ? against(own, asked, has, times, spent) : []
      expect({ given, own, asked, objections, theirs }).toEqual({
        given,
        own,
        asked,
        objections: [],
        theirs: [],
      })
    }
    // Else all of this would say nothing.
    expect(passed).toBeGreaterThan(100)
  }),
)

test('a policy without limits allows everything that needs no name', () => {
  const free = policy({ name: 'free' })
  seeded((random) => {
    for (let round = 0; round < 500; round += 1) {
      const asked = randomRequest(random)
      expect(allowsAsked(free, asked)).toBe(UNNAMED.includes(asked.route))
    }
  })()
  const inspected = { maxBytes: 10 }
  expect(bounded(free, inspected)).toBe(inspected)
  expect(bounded(policy({ name: 'x', maxBodyBytes: 11 }), inspected)).toBe(inspected)
  expect(bounded(policy({ name: 'x', maxBodyBytes: 9 }), inspected)).toEqual({ maxBytes: 9 })
})
