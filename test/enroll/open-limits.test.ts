// Who owns many addresses enrols no more than their share, and shuts nobody else out.

import { memoryCounters } from '../../src/gate/state.ts'
import { expect, test } from 'bun:test'
import { addressCounter, publicCounter } from '../../src/accept/count-address.ts'
import { rateLimiter } from '../../src/budget/budget.ts'
import { widerNetworks } from '../../src/config/networks.ts'
import { BOOTSTRAP_LIMITS } from '../../src/enroll/bootstrap.ts'
import { openEnrolments } from '../../src/enroll/open-limits.ts'
import { at, outcome, scene } from './scene.ts'

const HOUR_MS = 3_600_000
const hex = (n: number): string => n.toString(16)
/** The key of the n-th /64 of a /48. */
const within48 = (n: number): string => `2001:db8:7:${hex(n)}::/64`

test.each([
  ['2001:db8:7:1::/64', { site: '2001:db8:7::/48', block: '2001:db8::/32' }],
  ['192.0.2.77', { site: '192.0.2.0/24', block: '192.0.0.0/16' }],
  ['', undefined],
  ['64:ff9b:1:0:0:0:c000:201', undefined],
] as const)('the networks around %p', (key, networks) => {
  expect(widerNetworks(key)).toEqual(networks as never)
})

test.each([
  ['one /64', () => within48(1), 10],
  ['one /48', within48, 100],
  ['one /32', (n: number) => `2001:db8:${hex(n >> 6)}:${hex(n & 63)}::/64`, 400],
  ['one address', () => '192.0.2.1', 10],
  ['one /24', (n: number) => `192.0.2.${n % 256}`, 100],
  ['one /16', (n: number) => `192.0.${n % 256}.${n >> 8}`, 400],
  ['everybody', (n: number) => `2001:${hex(n)}:1:1::/64`, 1000],
] as const)('of 10,000 asks in a moment from %s, so many enrol', (_name, keyOf, count) => {
  const enrol = openEnrolments(memoryCounters, BOOTSTRAP_LIMITS)
  let allowed = 0
  for (let n = 0; n < 10_000; n += 1) if (enrol(keyOf(n), 0).allowed) allowed += 1
  expect(allowed).toBe(count)
})

test('a /48 that asks without end does not affect the enrolment of others', () => {
  const enrol = openEnrolments(memoryCounters, BOOTSTRAP_LIMITS)
  let others = 0
  let theirs = 0
  for (let minute = 0; minute < 60; minute += 1) {
    for (let n = 0; n < 2000; n += 1) {
      if (enrol(within48(minute * 1000 + n), minute * 60_000).allowed) theirs += 1
    }
    for (let n = 0; n < 10; n += 1) {
      if (enrol(`198.${n}.${minute}.1`, minute * 60_000).allowed) others += 1
    }
  }
  expect(others).toBe(600)
  expect(theirs).toBeWithin(100, 201)
})

test('an address that a wider count refuses keeps its own count, and enrols when there is room', async () => {
  using world = scene({ policy: 'open' })
  const ask = async (addressKey: string, seconds: number): Promise<string> =>
    outcome(await world.bootstrap('d', { addressKey }, seconds))
  for (let n = 0; n < 100; n += 1) expect(await ask(within48(n), 0)).toBe('granted')
  for (let n = 0; n < 20; n += 1) expect(await ask(within48(999), 0)).toBe('enrollment_limit')
  expect(await ask('2001:db8:8:1::/64', 0)).toBe('granted')
  for (let n = 0; n < 10; n += 1) expect(await ask(within48(999), HOUR_MS / 1000)).toBe('granted')
  expect(await ask(within48(999), HOUR_MS / 1000)).toBe('enrollment_limit')
})

const exchange = (seconds: number) =>
  ({ headers: new Headers(), dialect: 'anthropic', at: at(seconds) }) as never
const from = new Request('http://gate.test/')

test('public routes: a /48 may ask as 16 networks may, and one too fast takes nothing from the rest', () => {
  let key = ''
  const count = publicCounter(memoryCounters, 60, 10, () => key)
  const ask = (of: string): boolean => {
    key = of
    return count(exchange(0), from, null).ok
  }
  for (let n = 0; n < 1000; n += 1) ask(within48(7))
  let allowed = 0
  for (let n = 100; n < 5000; n += 1) if (ask(within48(n))) allowed += 1
  expect(allowed).toBe(150)
  expect(ask('2001:db8:8:1::/64')).toBe(true)
  // Of IPv4, each address counts alone.
  for (let n = 0; n < 256; n += 1) expect(ask(`192.0.2.${n}`)).toBe(true)
})

test('no /48 fills the table of addresses', () => {
  const table = rateLimiter(memoryCounters, 60, 10)
  if (!table) throw new Error('no limiter')
  let seen = 0
  const counting = {
    take: (...given: Parameters<typeof table.take>) => {
      seen += 1
      return table.take(...given)
    },
    giveBack: table.giveBack,
  }
  const sites = { take: () => ({ allowed: seen < 160 }), giveBack: () => ({}) } as never
  let n = 0
  const count = addressCounter(counting, () => within48(n), sites)
  for (n = 0; n < 65_536; n += 1) count(exchange(0), from, null)
  expect(seen).toBe(160)
})

test('without a limit on public routes nothing is counted', () => {
  const count = publicCounter(memoryCounters, 0, 10, () => within48(1))
  for (let n = 0; n < 1000; n += 1) expect(count(exchange(0), from, null).ok).toBe(true)
})
