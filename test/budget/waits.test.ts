// Pauses that upstreams ask for.

import { expect, test } from 'bun:test'
import { retryAfterMs, waits } from '../../src/budget/waits.ts'

const [A, B] = [{ name: 'a' }, { name: 'a' }]
const NOW = { epochSeconds: Date.UTC(2026, 10, 29) / 1000, monotonicMs: 5000 }

test.each([
  ['3', 3000],
  ['0.5', 500],
  ['0', 0],
  ['-1', 0],
  ['soon', 0],
  ['1e9', 0],
  ['Sun, 29 Nov 2026 00:00:07 GMT', 7000],
  ['Sat, 28 Nov 2026 00:00:07 GMT', 0],
  ['nonsense GMT', 0],
])('Retry-After: %s', (text, ms) => {
  expect(retryAfterMs({ 'retry-after': text }, NOW)).toBe(ms)
})

test('the finer header is the one that counts', () => {
  expect(retryAfterMs({ 'retry-after': '2', 'retry-after-ms': '1500' }, NOW)).toBe(1500)
  expect(retryAfterMs({ 'retry-after': '2', 'retry-after-ms': 'x' }, NOW)).toBe(2000)
})

test('a pause is of one upstream and one model, ends, and is a minute at most', () => {
  const all = waits()
  all.note(A, 'm', { 'retry-after': '3' }, NOW)
  expect([all.waitMs(A, 'm', 6000), all.waitMs(A, 'm', 8000)]).toEqual([2000, 0])
  expect([
    all.waitMs(A, 'n', 6000),
    all.waitMs(B, 'm', 6000),
    all.waitMs(A, undefined, 6000),
  ]).toEqual([0, 0, 0])
  all.note(A, 'n', { 'retry-after': '86400' }, NOW)
  expect(all.waitMs(A, 'n', 5000)).toBe(60_000)
  all.note(A, 'm', {}, NOW)
  expect(all.waitMs(A, 'm', 6000)).toBe(2000)
})

test("a name that a caller invents, and none, are nobody else's", () => {
  const all = waits()
  all.note(A, undefined, { 'retry-after': '3' }, NOW)
  all.note(A, 'x'.repeat(129), { 'retry-after': '3' }, NOW)
  expect([all.waitMs(A, undefined, 5000), all.waitMs(A, 'x'.repeat(130), 5000)]).toEqual([0, 0])
})

test('names that callers invent take no memory beyond the bound', () => {
  const all = waits()
  for (let at = 0; at < 1000; at++) all.note(A, `m${at}`, { 'retry-after': '3' }, NOW)
  const kept = Array.from({ length: 1000 }, (_, at) => all.waitMs(A, `m${at}`, 5000) > 0)
  expect(kept.filter(Boolean).length).toBeLessThanOrEqual(128)
  expect(kept.at(-1)).toBe(true)
})
