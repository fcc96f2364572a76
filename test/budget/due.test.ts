// An upstream that nobody could connect to is tried by its owner, before a caller's request would be.

import { expect, test } from 'bun:test'
import { breaker } from '../../src/budget/breaker.ts'

const ASKED = { caller: 'a', host: '', route: 'POST /v1/chat/completions', model: 'm' }

/** Opened at 1000 by two requests that found no connection; tried again from 31,000 on. */
function shut(onChange?: (state: string) => void) {
  const one = breaker({ failureThreshold: 2, successThreshold: 2, ...(onChange && { onChange }) })
  for (const caller of ['a', 'b']) {
    const entered = one.enter({ ...ASKED, caller }, 1000)
    if (!entered.ok) throw new Error('refused')
    entered.pass.report('unreachable', 1000)
  }
  return one
}

test('it is due shortly before that, and asked no more often than is of use', () => {
  const one = shut()
  expect([one.isShut(1000), one.isShut(30_999), one.isShut(31_000)]).toEqual([true, true, false])
  expect([one.due(1000), one.due(29_000), one.due(29_500)]).toEqual([[], [], ['']])
  expect([one.due(29_600), one.due(30_000)]).toEqual([[], ['']])
})

test('two connections close it, and no request was needed', () => {
  const states: string[] = []
  const one = shut((state) => states.push(state))
  one.reached('', true, 29_500, 29_500)
  expect([one.isShut(29_500), one.enter(ASKED, 29_500).ok]).toEqual([true, false])
  one.reached('', true, 30_500, 30_500)
  expect([one.isShut(30_500), one.enter(ASKED, 30_500).ok]).toEqual([false, true])
  expect(states).toEqual(['OPEN', 'HALF_OPEN', 'CLOSED'])
})

test('without a connection it stays open for as long again, and passes no request', () => {
  const one = shut()
  one.reached('', false, 30_000, 30_000)
  expect([one.enter(ASKED, 31_000).ok, one.enter(ASKED, 59_999).ok]).toEqual([false, false])
  expect([one.due(31_000), one.due(58_500)]).toEqual([[], ['']])
})

test('an attempt that began before it could be reached again, and fails after that, says nothing', () => {
  const one = shut()
  one.reached('', true, 31_000, 31_010)
  one.reached('', false, 29_500, 31_500)
  one.reached('', true, 32_000, 32_010)
  expect([one.isShut(32_010), one.enter(ASKED, 32_010).ok]).toEqual([false, true])
})

test('without an earlier attempt one request passes as usual, and only one', () => {
  const one = shut()
  expect([one.enter(ASKED, 31_000).ok, one.enter(ASKED, 31_000).ok]).toEqual([true, false])
  // Somebody is finding out already.
  expect(one.due(31_000)).toEqual([])
})

test('a circuit that is closed, unknown, or open for another reason is not changed', () => {
  const one = breaker({ failureThreshold: 2 })
  one.reached('', false, 0, 0)
  one.reached('elsewhere', false, 0, 0)
  expect([one.due(0), one.isShut(0), one.enter(ASKED, 0).ok]).toEqual([[], false, true])
})
