// The memory of bodies that are held to be read.

import { expect, test } from 'bun:test'
import { BodyRefused } from '../../src/dispatch/body.ts'
import { heldBytes } from '../../src/dispatch/held-bytes.ts'

const codeOf = (work: () => void): string => {
  try {
    work()
    return 'taken'
  } catch (error) {
    if (!(error instanceof BodyRefused)) throw error
    return error.refusal.code
  }
}

test('a declared length reserves nothing: bytes count as they arrive', () => {
  const held = heldBytes(100, 60)
  const slow = Array.from({ length: 50 }, () => held.share('slow'))
  for (const share of slow) share.take(1)
  expect(codeOf(() => held.share('other').take(50))).toBe('taken')
})

test('one identity cannot use up the room of others', () => {
  const held = heldBytes(100, 60)
  expect(codeOf(() => held.share('a').take(60))).toBe('taken')
  expect(codeOf(() => held.share('a').take(1))).toBe('identity_concurrency_limit')
  expect(codeOf(() => held.share('b').take(40))).toBe('taken')
  expect(codeOf(() => held.share('c').take(1))).toBe('upstream_concurrency_limit')
})

test('all of it is given back with the request, once', () => {
  const held = heldBytes(100, 100)
  const first = held.share('a')
  first.take(30)
  first.take(70)
  expect(codeOf(() => held.share('b').take(1))).toBe('upstream_concurrency_limit')
  first.giveBack()
  first.giveBack()
  expect(codeOf(() => held.share('b').take(100))).toBe('taken')
  expect(codeOf(() => held.share('c').take(1))).toBe('upstream_concurrency_limit')
})

test('a body that cannot fit is refused before it arrives, and takes no room', () => {
  const held = heldBytes(100, 60)
  const share = held.share('a')
  expect(share.roomFor(60).ok).toBe(true)
  expect(share.roomFor(61)).toMatchObject({ code: 'identity_concurrency_limit' })
  held.share('b').take(50)
  expect(share.roomFor(51)).toMatchObject({ code: 'upstream_concurrency_limit' })
  expect(codeOf(() => share.take(50))).toBe('taken')
})

test('a body that still comes when its request has ended is counted no more', () => {
  const held = heldBytes(100, 100)
  const share = held.share('a')
  share.take(40)
  share.giveBack()
  expect(codeOf(() => share.take(1))).toBe('upstream_concurrency_limit')
  expect(codeOf(() => held.share('b').take(100))).toBe('taken')
})
