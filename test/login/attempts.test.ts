// Sign-ins that were begun: whose they are, how often and how long they are good (attack 39), and
// what a stranger who begins many gets.

import { beforeEach, describe, expect, test } from 'bun:test'
import { Secret } from '../../src/secret.ts'
import type { Instant } from '../../src/turn/instant.ts'
import { type Attempts, attempts, MAX_ATTEMPTS } from '../../src/login/attempts.ts'
import { newAttempt, newSessionKey } from '../../src/login/keys.ts'
import type { SignedIn } from '../../src/login/session-status.ts'
import { type Decision, granted, refused } from '../../src/refusal.ts'
import { seeded } from '../support/random.ts'

const FIRST = new Secret('first-secret-of-the-tests-0123456789abcdef')
const SECOND = new Secret('second-secret-of-the-tests-0123456789abcde')

const at = (seconds: number): Instant => ({
  monotonicMs: seconds * 1000,
  // Set back in the middle of everything: nothing here may go by it.
  epochSeconds: 1_800_000_000 - seconds * 100,
})
const outcome: Decision<SignedIn> = granted({
  key: 'pst_key',
  status: { expiresAtMs: undefined, scope: undefined, renewable: true },
})

let pending: Attempts
beforeEach(() => {
  pending = attempts({ secrets: [FIRST], tickets: true })
})

function must<T>(decision: Decision<T>): T {
  if (!decision.ok) throw new Error(`${decision.code}: ${decision.reason}`)
  return decision.value
}
const why = (decision: Decision<unknown>): string =>
  decision.ok ? 'ok' : `${decision.code}: ${decision.reason}`
const ticketOf = ({ ticket }: { readonly ticket: string | undefined }): string => ticket ?? ''

const NOBODYS = 'login_failed: attempt'
const NO_TICKET = 'login_failed: ticket'

describe('verifier and state', () => {
  test('are 64 random bytes each, and never repeat', () => {
    const seen = new Set<string>()
    for (let n = 0; n < 500; n += 1) {
      const { proof, attempt, ticket } = must(pending.begin(at(0)))
      for (const text of [proof.state, proof.verifier]) {
        expect(text).toMatch(/^[\w-]{86}$/)
        expect(Buffer.from(text, 'base64url')).toHaveLength(64)
      }
      for (const text of [proof.state, proof.verifier, attempt, ticketOf({ ticket })])
        seen.add(text)
    }
    expect(seen.size).toBe(2000)
  })
  test('each bit of them is as often set as not', () => {
    const counts = Array.from({ length: 512 }, () => 0)
    for (let n = 0; n < 900; n += 1) {
      const bytes = Buffer.from(must(pending.begin(at(0))).proof.verifier, 'base64url')
      for (let bit = 0; bit < 512; bit += 1) {
        counts[bit] = (counts[bit] ?? 0) + (((bytes[bit >> 3] ?? 0) >> (bit & 7)) & 1)
      }
    }
    // Seven standard deviations of 15: by chance once in 10^9 runs.
    for (const count of counts) expect(count).toBeWithin(450 - 105, 450 + 106)
  })
})

describe('an attempt is good', () => {
  test('once, whatever comes of it', () => {
    const { attempt, proof } = must(pending.begin(at(0)))
    const taken = must(pending.take(attempt, at(1)))
    expect(taken.proof).toEqual(proof)
    expect(why(pending.take(attempt, at(1)))).toBe(NOBODYS)
    taken.settle(refused('login_failed', { reason: 'state' }))
    expect(why(pending.take(attempt, at(1)))).toBe(NOBODYS)
    expect(pending.size).toBe(0)
  })
  test('for ten minutes', () => {
    const early = must(pending.begin(at(0)))
    const late = must(pending.begin(at(0)))
    expect(why(pending.take(early.attempt, at(599.999)))).toBe('ok')
    expect(why(pending.take(late.attempt, at(600)))).toBe(NOBODYS)
    expect(pending.size).toBe(0)
  })
  test('only for its own browser', () => {
    const mine = must(pending.begin(at(0)))
    const other = must(pending.begin(at(0)))
    expect(must(pending.take(other.attempt, at(1))).proof.state).not.toBe(mine.proof.state)
    expect(must(pending.take(mine.attempt, at(1))).proof.state).toBe(mine.proof.state)
  })
  test(
    'only if this gate signed it',
    seeded(({ int }) => {
      const { attempt } = must(pending.begin(at(0)))
      for (let n = 0; n < 300; n += 1) {
        const place = int(attempt.length)
        const other = attempt[place] === 'A' ? 'B' : 'A'
        const forged = attempt.slice(0, place) + other + attempt.slice(place + 1)
        expect(why(pending.take(forged, at(1)))).toBe(NOBODYS)
      }
      for (const forged of [
        undefined,
        '',
        '.',
        attempt.split('.')[0],
        `${attempt.split('.')[0]}.`,
        ` ${attempt}`,
        `${attempt}=`,
        newAttempt([SECOND]).attempt,
        newAttempt([FIRST]).attempt,
        newSessionKey([FIRST]),
        'constructor',
        'x'.repeat(100_000),
      ]) {
        expect(why(pending.take(forged, at(1)))).toBe(NOBODYS)
        expect(why(pending.collect(forged ?? '', at(1)))).toBe(NOBODYS)
      }
      expect(why(pending.take(attempt, at(1)))).toBe('ok')
    }),
  )
  test('in this process: a restart knows none', () => {
    const { attempt, ticket } = must(pending.begin(at(0)))
    const restarted = attempts({ secrets: [FIRST], tickets: true })
    expect(why(restarted.take(attempt, at(1)))).toBe(NOBODYS)
    expect(why(restarted.open(ticketOf({ ticket }), at(1)))).toBe(NO_TICKET)
  })
})

describe('a ticket', () => {
  test('opens its attempt once, in a browser of its own', () => {
    const begun = must(pending.begin(at(0)))
    const opened = must(pending.open(ticketOf(begun), at(1)))
    expect(opened.proof).toEqual(begun.proof)
    expect(opened.attempt).not.toBe(begun.attempt)
    expect(why(pending.open(ticketOf(begun), at(1)))).toBe(NO_TICKET)
    expect(pending.size).toBe(2)
  })
  test('must match exactly', () => {
    const begun = must(pending.begin(at(0)))
    const ticket = ticketOf(begun)
    for (const wrong of [
      '',
      ticket.slice(1),
      `${ticket}x`,
      `${ticket}\n`,
      begun.attempt,
      'x'.repeat(43),
    ]) {
      expect(why(pending.open(wrong, at(1)))).toBe(NO_TICKET)
    }
    expect(why(pending.open(ticket, at(1)))).toBe('ok')
  })
  test('ends with its attempt, by time or by use', () => {
    const late = must(pending.begin(at(0)))
    const used = must(pending.begin(at(500)))
    expect(why(pending.open(ticketOf(late), at(600)))).toBe(NO_TICKET)
    must(pending.take(used.attempt, at(600)))
    expect(why(pending.open(ticketOf(used), at(600)))).toBe(NO_TICKET)
  })
  test('is not issued if the answer is pasted', () => {
    const pasting = attempts({ secrets: [FIRST], tickets: false })
    expect(must(pasting.begin(at(0))).ticket).toBeUndefined()
  })
})

describe('the client that began', () => {
  let began: string
  let opened: string
  beforeEach(() => {
    const begun = must(pending.begin(at(0)))
    began = begun.attempt
    opened = must(pending.open(ticketOf(begun), at(1))).attempt
  })
  test('collects the outcome from elsewhere, once', () => {
    expect(must(pending.collect(began, at(2)))).toBeUndefined()
    const taken = must(pending.take(opened, at(3)))
    expect(must(pending.collect(began, at(4)))).toBeUndefined()
    taken.settle(outcome)
    expect(pending.collect(began, at(5))).toEqual(outcome)
    expect(why(pending.collect(began, at(5)))).toBe(NOBODYS)
    expect(pending.size).toBe(0)
  })
  test('and hears of its failing, once', () => {
    must(pending.take(opened, at(3))).settle(refused('login_failed', { reason: 'denied' }))
    expect(why(pending.collect(began, at(5)))).toBe('login_failed: denied')
    expect(why(pending.collect(began, at(5)))).toBe(NOBODYS)
  })
  test('alone: the browser that finished has its answer already', () => {
    must(pending.take(opened, at(3))).settle(outcome)
    expect(why(pending.collect(opened, at(4)))).toBe(NOBODYS)
    expect(pending.collect(began, at(5))).toEqual(outcome)
  })
  test('can finish as well, and then the browser cannot', () => {
    must(pending.take(began, at(3))).settle(outcome)
    expect(why(pending.take(opened, at(4)))).toBe(NOBODYS)
    expect(why(pending.collect(began, at(4)))).toBe(NOBODYS)
    expect(pending.size).toBe(0)
  })
  test('cannot finish an attempt that the browser is finishing', () => {
    must(pending.take(opened, at(3)))
    expect(why(pending.take(began, at(3)))).toBe(NOBODYS)
  })
  test('in ten minutes: after them the key is forgotten', () => {
    must(pending.take(opened, at(3))).settle(outcome)
    expect(why(pending.collect(began, at(600)))).toBe(NOBODYS)
    expect(pending.size).toBe(0)
  })
})

describe('a stranger who begins many', () => {
  const flood = (count: number, from: number): string[] =>
    Array.from({ length: count }, () => why(pending.begin(at(from))))

  test('fills the table up to its maximum, and evicts nobody', () => {
    const mine = must(pending.begin(at(0)))
    const answers = flood(20_000, 60)
    expect(answers.filter((each) => each === 'ok')).toHaveLength(MAX_ATTEMPTS - 1)
    expect(new Set(answers)).toEqual(new Set(['ok', 'rate_limit_exceeded: attempts']))
    expect(pending.size).toBe(MAX_ATTEMPTS)
    expect(must(pending.take(mine.attempt, at(61))).proof).toEqual(mine.proof)
    expect(why(pending.begin(at(61)))).toBe('ok')
  })
  test('keeps others waiting until the oldest attempt ends, and they learn how long', () => {
    flood(10, 0)
    flood(MAX_ATTEMPTS, 100)
    const full = pending.begin(at(400))
    expect(full).toMatchObject({ code: 'rate_limit_exceeded', retryAfterSeconds: 200 })
    expect(why(pending.begin(at(599)))).toBe('rate_limit_exceeded: attempts')
    expect(flood(11, 600).filter((each) => each === 'ok')).toHaveLength(10)
  })
  test('leaves nothing behind', () => {
    for (let round = 0; round < 5; round += 1) flood(MAX_ATTEMPTS, round * 600)
    expect(pending.size).toBe(MAX_ATTEMPTS)
    must(pending.begin(at(3000)))
    expect(pending.size).toBe(1)
  })
})

test('a secret that is being replaced still ties an attempt, one that is gone does not', () => {
  const secrets = [FIRST]
  const rotating = attempts({ secrets, tickets: false })
  const { attempt } = must(rotating.begin(at(0)))
  secrets.unshift(SECOND)
  expect(must(rotating.collect(attempt, at(1)))).toBeUndefined()
  secrets.pop()
  expect(why(rotating.take(attempt, at(1)))).toBe(NOBODYS)
})
