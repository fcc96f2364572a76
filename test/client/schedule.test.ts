import { describe, expect, test } from 'bun:test'
import type { Problem } from '../../src/client/api.ts'
import type { Grant } from '../../src/client/grant.ts'
import { refreshable, renewsAtMs } from '../../src/client/grant.ts'
import { nextCheckMs, retryMs } from '../../src/client/schedule.ts'
import { TEMPO } from '../../src/client/tempo.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const NOW = 1_800_000_000_000
const at = (random: number) => ({ ...TEMPO, now: () => NOW, random: () => random })
const grant = (leftMs: number, lifetimeMs = 24 * HOUR_MS): Grant => ({
  token: 't',
  proxyBaseUrl: 'https://g',
  expiresAtMs: NOW + leftMs,
  lifetimeMs,
})
const PROBLEM: Problem = { code: 'unreachable', message: '' }

describe('the next look', () => {
  test('is after 27 to 33 minutes', () => {
    expect(nextCheckMs(grant(20 * HOUR_MS), NOW, HOUR_MS, at(0))).toBe(27 * MINUTE_MS)
    expect(nextCheckMs(grant(20 * HOUR_MS), NOW, HOUR_MS, at(1))).toBeCloseTo(33 * MINUTE_MS)
  })

  test('is the time for a refresh, spread out, if that is sooner', () => {
    expect(nextCheckMs(grant(70 * MINUTE_MS), NOW, HOUR_MS, at(0))).toBe(10 * MINUTE_MS)
    expect(nextCheckMs(grant(70 * MINUTE_MS), NOW, HOUR_MS, at(1))).toBe(16 * MINUTE_MS)
  })

  test('of a token that lives ten minutes is in the middle of its life, and never at once', () => {
    const short = grant(10 * MINUTE_MS, 10 * MINUTE_MS)
    expect(renewsAtMs(short, HOUR_MS)).toBe(NOW + 5 * MINUTE_MS)
    expect(nextCheckMs(short, NOW, HOUR_MS, at(0))).toBe(5 * MINUTE_MS)
    expect(nextCheckMs(grant(0, 1), NOW, HOUR_MS, at(0))).toBeGreaterThanOrEqual(1000)
  })
})

describe('the next try', () => {
  test('doubles from 5 s to 30 minutes, and stays there', () => {
    const tries = Array.from({ length: 40 }, (_, each) =>
      retryMs(each + 1, PROBLEM, undefined, at(1)),
    )
    expect(tries.slice(0, 4)).toEqual([5000, 10_000, 20_000, 40_000])
    expect(tries.at(-1)).toBe(30 * MINUTE_MS)
    expect(retryMs(1, PROBLEM, undefined, at(0))).toBe(2500)
  })

  test('waits as long as the gate asks, up to an hour', () => {
    const asked = (retryAfterSeconds: number) =>
      retryMs(1, { ...PROBLEM, retryAfterSeconds }, undefined, at(1))
    expect(asked(90)).toBe(90_000)
    expect(asked(1e9)).toBe(HOUR_MS)
  })

  test('never sleeps through the last resort, nor through the end after it', () => {
    expect(retryMs(20, PROBLEM, grant(7 * MINUTE_MS), at(1))).toBe(2 * MINUTE_MS + 1)
    expect(retryMs(20, PROBLEM, grant(4 * MINUTE_MS), at(1))).toBe((5 / 4) * MINUTE_MS)
  })
})

test('a token may be sent to /refresh when fresh, again within 5 s, and then no more', () => {
  const sent = (agoMs: number) => ({ ...grant(HOUR_MS), refreshSentAtMs: NOW - agoMs })
  expect(refreshable(grant(HOUR_MS), NOW, 5000)).toBe('fresh')
  expect(refreshable(sent(0), NOW, 5000)).toBe('resend')
  expect(refreshable(sent(5000), NOW, 5000)).toBe('resend')
  expect(refreshable(sent(5001), NOW, 5000)).toBe('doubtful')
  // The clock was set back.
  expect(refreshable(sent(-1), NOW, 5000)).toBe('doubtful')
  // And both bounds stay within the gate's grace.
  expect(TEMPO.resendWithinMs + TEMPO.refreshTimeoutMs).toBeLessThan(10_000)
})
