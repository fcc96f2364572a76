// Whose failure is evidence of what. What comes of it among many callers is in simulation.test.ts, and
// the states of one circuit are in circuit.test.ts.

import { describe, expect, test } from 'bun:test'
import {
  type CircuitRequest,
  type Breaker,
  breaker,
  type CircuitOf,
  type CircuitDecision,
} from '../../src/budget/breaker.ts'
import { type CircuitPermit } from '../../src/budget/pass.ts'
import type { CircuitState } from '../../src/budget/circuit.ts'

const OPEN_MS = 30_000

const asking = (caller: string, more: Partial<CircuitRequest> = {}): CircuitRequest => ({
  caller,
  host: '',
  route: 'POST /v1/messages',
  model: 'a',
  ...more,
})

function enter(
  circuit: Breaker,
  now: number,
  caller = 'a',
  more: Partial<CircuitRequest> = {},
): CircuitPermit {
  const entry = circuit.enter(asking(caller, more), now)
  if (!entry.ok) throw new Error('the circuit let nobody through')
  return entry.pass
}
const goes = (
  circuit: Breaker,
  now: number,
  caller = 'z',
  more: Partial<CircuitRequest> = {},
): boolean => circuit.enter(asking(caller, more), now).ok
const refusal = (entry: CircuitDecision) =>
  entry.ok || { own: entry.own, seconds: entry.retryAfterSeconds }

function unreachable(circuit: Breaker, times: number, now: number, model = 'a'): void {
  const pass = (): CircuitPermit => enter(circuit, now, 'a', { model })
  for (let each = 0; each < times; each += 1) pass().report('unreachable', now)
}
function answered(circuit: Breaker, status: number, now: number, caller = 'a', more = {}): void {
  const pass = enter(circuit, now, caller, more)
  pass.answered(status, now)
  pass.report('success', now)
}
const reportAt = (circuit: Breaker, monotonicMs: number) =>
  circuit.state({ monotonicMs, epochSeconds: 1000 })
const CLOSED = { state: 'CLOSED', failureCount: 0, successCount: 0, nextAttempt: 0 } as const

/** Open for all by five callers. */
function openLane(circuit: Breaker, now: number): void {
  for (const caller of ['a', 'b', 'c', 'd', 'e']) answered(circuit, 500, now, caller)
}

describe('no connection', () => {
  test("five in a row shut it for all, on every route and for every model, whosever's they are", () => {
    const circuit = breaker()
    unreachable(circuit, 4, 0)
    expect(goes(circuit, 0)).toBeTrue()
    unreachable(circuit, 1, 0)
    expect(refusal(circuit.enter(asking('z'), 0))).toEqual({ own: false, seconds: 30 })
    expect(goes(circuit, 0, 'z', { route: 'GET /v1/models', model: undefined })).toBeFalse()
    expect(goes(circuit, OPEN_MS, 'z')).toBeTrue()
  })

  test('any head of an answer ends the row', () => {
    for (const status of [200, 400, 429, 500, 529]) {
      const circuit = breaker()
      unreachable(circuit, 4, 0)
      answered(circuit, status, 0, 'b')
      unreachable(circuit, 4, 0)
      expect(goes(circuit, 0)).toBeTrue()
    }
  })

  test('a probe that is answered 500 has found the upstream there', () => {
    const circuit = breaker()
    unreachable(circuit, 5, 0)
    for (const _ of [1, 2]) answered(circuit, 500, OPEN_MS, 'poisoner')
    expect(goes(circuit, OPEN_MS)).toBeTrue()
    expect(goes(circuit, OPEN_MS)).toBeTrue()
  })

  test('an enclave that a caller chose is shut alone', () => {
    const circuit = breaker()
    const chosen = { host: 'chosen.tinfoil.sh' }
    for (let each = 0; each < 5; each += 1) {
      enter(circuit, 0, 'a', chosen).report('unreachable', 0)
    }
    expect(goes(circuit, 0, 'z', chosen)).toBeFalse()
    expect(goes(circuit, 0)).toBeTrue()
  })
})

describe('a 5xx, a reset, a late answer, a broken stream', () => {
  const kinds: Readonly<Record<string, (pass: CircuitPermit, now: number) => void>> = {
    'a 500': (pass, now) => pass.answered(500, now),
    'a 503': (pass, now) => pass.answered(503, now),
    'no answer': (pass, now) => pass.report('failure', now),
    'a stream that breaks': (pass, now) => {
      pass.answered(200, now)
      pass.report('failure', now)
    },
  }
  for (const [name, fail] of Object.entries(kinds)) {
    test(`${name}: five of one caller shut out that caller, of that route and model`, () => {
      const circuit = breaker()
      for (let each = 0; each < 5; each += 1) fail(enter(circuit, 0), 0)
      expect(refusal(circuit.enter(asking('a'), 0))).toEqual({ own: false, seconds: 1 })
      expect(goes(circuit, 0, 'b')).toBeTrue()
      expect(goes(circuit, 0, 'a', { model: 'b' })).toBeTrue()
      expect(goes(circuit, 0, 'a', { route: 'POST /v1/messages/count_tokens' })).toBeTrue()
    })

    test(`${name}: of five callers, it shuts out all of that route and model, and no others`, () => {
      const circuit = breaker()
      for (const caller of ['a', 'b', 'c', 'd']) fail(enter(circuit, 0, caller), 0)
      for (let each = 0; each < 3; each += 1) fail(enter(circuit, 0, 'd'), 0)
      expect(reportAt(circuit, 0).state).toBe('CLOSED')
      fail(enter(circuit, 0, 'e'), 0)
      expect(reportAt(circuit, 0).state).toBe('OPEN')
      expect(refusal(circuit.enter(asking('a'), 0))).toMatchObject({ own: false, seconds: 30 })
      expect(goes(circuit, 0, 'a', { model: 'b' })).toBeTrue()
      expect(goes(circuit, 0, 'a', { route: 'GET /v1/models', model: undefined })).toBeTrue()
    })
  }

  test('an answer to anybody resets the count of callers', () => {
    const circuit = breaker()
    for (const caller of ['a', 'b', 'c', 'd']) answered(circuit, 500, 0, caller)
    answered(circuit, 200, 0, 'z')
    answered(circuit, 500, 0, 'e')
    expect(reportAt(circuit, 0).state).toBe('CLOSED')
  })

  test('callers that failed while others were answered are no witnesses for ten minutes', () => {
    const circuit = breaker()
    const five = ['a', 'b', 'c', 'd', 'e']
    // All of them are known, so that none is discounted for being new.
    for (const caller of five) answered(circuit, 200, 0, caller)
    for (const caller of five.slice(1)) answered(circuit, 500, 1000, caller)
    answered(circuit, 200, 1000, 'z')
    for (const caller of five) answered(circuit, 500, 2000, caller)
    expect(reportAt(circuit, 2000).state).toBe('CLOSED')
    const later = 2000 + 600_001
    answered(circuit, 200, later, 'z')
    const again = later + 600_001
    for (const caller of five) answered(circuit, 200, again, caller)
    for (const caller of five) answered(circuit, 500, again + 20_000, caller)
    expect(reportAt(circuit, again + 20_000).state).toBe('OPEN')
  })

  test('429, 529, a 503 that says when to retry, and every 4xx count neither way', () => {
    const circuit = breaker()
    for (const caller of ['a', 'b', 'c', 'd']) answered(circuit, 500, 0, caller)
    for (let each = 0; each < 1000; each += 1) {
      for (const status of [300, 400, 401, 403, 404, 408, 413, 422, 429, 529]) {
        answered(circuit, status, 0, `caller-${each}`)
      }
      const pass = enter(circuit, 0, `caller-${each}`)
      pass.answered(503, 0, true)
      enter(circuit, 0, `caller-${each}`).report('neutral', 0)
    }
    expect(reportAt(circuit, 0)).toEqual({ ...CLOSED, failureCount: 4 })
    answered(circuit, 500, 0, 'e')
    expect(reportAt(circuit, 0).state).toBe('OPEN')
  })

  test('a caller learns that only it fails, if others are answered', () => {
    const circuit = breaker()
    for (let each = 0; each < 5; each += 1) answered(circuit, 500, 0, 'a')
    expect(reportAt(circuit, 0)).toMatchObject({ state: 'OPEN', failureCount: 5 })
    answered(circuit, 200, 0, 'b')
    expect(refusal(circuit.enter(asking('a'), 0))).toEqual({ own: true, seconds: 1 })
    expect(reportAt(circuit, 0)).toEqual(CLOSED)
  })
})

describe('a lane that is open', () => {
  test('is tried at once by a caller that has not failed, at a pace; two answers close it', () => {
    const circuit = breaker()
    answered(circuit, 200, -1000, 'z')
    for (const caller of ['a', 'b', 'c', 'd', 'e']) answered(circuit, 200, -1000, caller)
    openLane(circuit, 0)
    const probe = enter(circuit, 0, 'z')
    expect(goes(circuit, 249, 'z')).toBeFalse()
    probe.answered(200, 249)
    expect(reportAt(circuit, 249)).toMatchObject({ state: 'OPEN', successCount: 1 })
    answered(circuit, 200, 249, 'z')
    expect(reportAt(circuit, 249)).toEqual(CLOSED)
    expect(goes(circuit, 249, 'a')).toBeTrue()
  })

  test('that broken streams opened is not closed by streams that began before', () => {
    const circuit = breaker()
    const early = ['x', 'y', 'z'].map((caller) => {
      const pass = enter(circuit, 0, caller)
      pass.answered(200, 0)
      return pass
    })
    for (const caller of ['x', 'y', 'z', 'v', 'w']) {
      const pass = enter(circuit, 1000, caller)
      pass.answered(200, 1000)
      pass.report('failure', 1000)
    }
    expect(reportAt(circuit, 1000).state).toBe('OPEN')
    for (const pass of early) pass.report('success', 2000)
    expect(reportAt(circuit, 2000).state).toBe('OPEN')
  })

  test('is not probed before its time by the callers that opened it, nor by strangers', () => {
    const circuit = breaker()
    for (const caller of ['a', 'b', 'c', 'd', 'e']) answered(circuit, 200, -1000, caller)
    openLane(circuit, 0)
    for (const caller of ['a', 'e', 'stranger']) {
      expect(goes(circuit, OPEN_MS - 1, caller)).toBeFalse()
    }
    expect(goes(circuit, OPEN_MS, 'a')).toBeTrue()
  })

  test('a probe in vain is a turn for the others first, and prolongs nothing', () => {
    const circuit = breaker()
    openLane(circuit, 0)
    let now = OPEN_MS
    // As often as the first of them likes.
    answered(circuit, 500, now, 'a')
    for (; now < 2 * OPEN_MS; now += 100) expect(goes(circuit, now, 'a')).toBeFalse()
    expect(goes(circuit, now, 'b')).toBeTrue()
    now += 30_000
    // One that waits with fewer failures goes before.
    expect(goes(circuit, now - 29_900, 'c')).toBeFalse()
    expect(goes(circuit, now, 'a')).toBeTrue()
  })
})

describe('an upstream that answers nobody', () => {
  const MINUTE = 60_000
  test('is doubted once two callers have waited for 40 s, and each 5 s until it has said something', () => {
    const circuit = breaker()
    enter(circuit, 0, 'a')
    for (let each = 0; each < 20; each += 1) enter(circuit, 0, 'a')
    expect(circuit.doubtful(10 * MINUTE)).toEqual([])
    enter(circuit, 10 * MINUTE, 'b')
    expect(circuit.doubtful(10 * MINUTE + 39_999)).toEqual([])
    expect(circuit.doubtful(10 * MINUTE + 40_000)).toEqual([''])
    expect(circuit.doubtful(10 * MINUTE + 44_999)).toEqual([])
    expect(circuit.doubtful(10 * MINUTE + 45_000)).toEqual([''])
    circuit.checked('', true, 10 * MINUTE, 10 * MINUTE + 45_000)
    expect(circuit.doubtful(10 * MINUTE + 84_999)).toEqual([])
    expect(goes(circuit, 10 * MINUTE + 85_000)).toBeTrue()
  })

  test('that does not answer a check is shut; waiting requests stay until it answers', () => {
    const circuit = breaker()
    const waiting = enter(circuit, 0, 'a')
    enter(circuit, 0, 'b')
    expect(circuit.doubtful(40_000)).toEqual([''])
    expect(waiting.isStuck).toBeFalse()
    circuit.checked('', false, 40_000, 50_000)
    expect(waiting.isStuck).toBeTrue()
    expect(refusal(circuit.enter(asking('c'), 50_000))).toEqual({ own: false, seconds: 30 })
    expect(circuit.doubtful(50_000)).toEqual([''])
    waiting.answered(200, 51_000)
    expect(goes(circuit, 51_000)).toBeTrue()
    expect(circuit.doubtful(51_000)).toEqual([])
  })

  test('an answer to anybody meanwhile counts more than a missing one', () => {
    const circuit = breaker()
    enter(circuit, 0, 'a')
    enter(circuit, 0, 'b')
    circuit.doubtful(40_000)
    answered(circuit, 500, 45_000, 'c')
    circuit.checked('', false, 40_000, 50_000)
    expect(goes(circuit, 50_000)).toBeTrue()
  })

  test('one whose answers take two minutes is given six', () => {
    const circuit = breaker()
    for (let each = 0; each < 100; each += 1) enter(circuit, 0, 'a').answered(200, 2 * MINUTE)
    for (const caller of ['a', 'b']) enter(circuit, 2 * MINUTE, caller)
    expect(circuit.doubtful(7.9 * MINUTE)).toEqual([])
    expect(circuit.doubtful(8 * MINUTE)).toEqual([''])
  })
})

describe("the operator's view and reset", () => {
  test("the report has system C's shape, in its spelling", () => {
    const circuit = breaker()
    expect(reportAt(circuit, 0)).toEqual(CLOSED)
    unreachable(circuit, 5, 0)
    const failureCount = 5
    const open = { ...CLOSED, state: 'OPEN', failureCount } as const
    expect(reportAt(circuit, 10_000)).toEqual({ ...open, nextAttempt: 1_020_000 })
    // Though nobody has come to try.
    expect(reportAt(circuit, OPEN_MS)).toEqual({ ...CLOSED, state: 'HALF_OPEN', failureCount })
    answered(circuit, 404, OPEN_MS)
    expect(reportAt(circuit, OPEN_MS)).toMatchObject({ state: 'HALF_OPEN', successCount: 1 })
    answered(circuit, 404, OPEN_MS)
    expect(reportAt(circuit, OPEN_MS)).toEqual(CLOSED)
  })

  test('a reset closes every circuit at once, and running requests no longer count', () => {
    const circuit = breaker()
    const before = Array.from({ length: 10 }, (_, each) => enter(circuit, 0, `caller-${each}`))
    openLane(circuit, 0)
    unreachable(circuit, 5, 0, 'b')
    circuit.reset()
    for (const pass of before.splice(0, 5)) pass.report('failure', 1)
    for (const pass of before) pass.report('unreachable', 1)
    expect(reportAt(circuit, 1)).toEqual(CLOSED)
  })

  test('each change is logged with its owner', () => {
    const seen: [CircuitState, CircuitOf][] = []
    const circuit = breaker({ onChange: (state, of) => seen.push([state, of]) })
    for (let each = 0; each < 5; each += 1) answered(circuit, 500, 0, 'a')
    openLane(circuit, 1000)
    unreachable(circuit, 5, 1000, 'b')
    circuit.reset()
    expect(seen).toEqual([
      ['OPEN', 'caller'],
      ['HALF_OPEN', 'caller'],
      ['OPEN', 'caller'],
      ['OPEN', 'route'],
      ['OPEN', 'upstream'],
      ['CLOSED', 'route'],
      ['CLOSED', 'upstream'],
    ])
  })
})

describe('bounds', () => {
  test('any number of models, enclaves and callers leaves a few megabytes', () => {
    const circuit = breaker()
    Bun.gc(true)
    const before = process.memoryUsage().heapUsed
    for (let each = 0; each < 200_000; each += 1) {
      const caller = `caller-${each}`
      const model = `model-${each % 1000}`
      const host = each % 2 === 0 ? '' : `host-${each % 500}`
      const entry = circuit.enter(asking(caller, { model, host }), each)
      if (entry.ok) entry.pass.answered(each % 3 === 0 ? 200 : 500, each)
    }
    Bun.gc(true)
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(60_000_000)
    expect(goes(circuit, 200_000, 'z', { model: 'quite another' })).toBeTrue()
  })
})
