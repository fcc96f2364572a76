// What one party's trouble does to the others, as a table: `POSTERN_SHOW=1 bun test` prints it.

import { afterAll, describe, expect, test } from 'bun:test'
import type { BreakerOptions } from '../../src/budget/breaker.ts'
import { random } from '../support/random.ts'
import { type Reaction, type Request, Simulation, type Upstream } from './simulation.ts'

const SEED = 20_261_129
const MESSAGES = 'POST /v1/messages'
const good = (afterMs = 200, bodyMs = 1000): Reaction => ({
  kind: 'status',
  status: 200,
  afterMs,
  bodyMs,
})
const status = (code: number, afterMs = 20): Reaction => ({ kind: 'status', status: code, afterMs })

/** 500 for the bodies that are bad by themselves, as vLLM does. */
const BAD_BODIES: Upstream = ({ isBad }) => (isBad ? status(500) : good())

const of = (caller: string, more: Partial<Request> = {}): Request => ({
  caller,
  route: MESSAGES,
  model: 'a',
  isBad: false,
  ...more,
})

const table: string[][] = []
afterAll(() => {
  if ((process.env['POSTERN_SHOW'] ?? '') === '') return
  const head = [
    'scenario',
    'asked',
    'answered',
    '%',
    'refused',
    'opened (ms after)',
    'closed (ms after)',
  ]
  const rows = [head, ...table]
  const widths = head.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  for (const row of rows)
    console.info(row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join('  '))
})

function simulate(upstream: Upstream, options?: BreakerOptions): Simulation {
  return new Simulation(random(SEED), upstream, options)
}

/** `since`: when the trouble began; `until`: when it ended. */
function told(name: string, at: Simulation, group: string, since = 0, until?: number): number {
  const { asked, answered, refused, waiting } = at.tally(group)
  const share = answered / (asked - waiting)
  const opened = at.changes.find((each) => each.state === 'OPEN' && each.at >= since)
  const closed = at.changes.findLast((each) => each.state === 'CLOSED')
  const after = (when: number | undefined, from: number): string =>
    when === undefined ? '-' : String(Math.round(when - from))
  table.push([
    name,
    String(asked),
    String(answered),
    (share * 100).toFixed(2),
    String(refused),
    after(opened?.at, since),
    after(until === undefined ? undefined : closed?.at, until ?? 0),
  ])
  return share
}

function fifty(at: Simulation, perSecond: number, more: Partial<Request> = {}): void {
  at.steadily('others', perSecond, () => of(`user-${at.random.int(50)}`, more))
}

describe('one poisoner among fifty', () => {
  const bad = (caller = 'poisoner'): Request => of(caller, { isBad: true })
  const crowds: Readonly<Record<string, (at: Simulation) => void>> = {
    'one a second': (at) => at.steadily('poison', 1, () => bad()),
    'eight at once, then one a second': (at) => {
      for (let each = 0; each < 8; each += 1) at.at(0, () => at.ask('poison', bad()))
      at.steadily('poison', 1, () => bad())
    },
    'eight at once, again and again': (at) => at.atOnce('poison', 8, () => bad(), 50),
    '100 a second': (at) => at.steadily('poison', 100, () => bad()),
    '64 at once, again and again': (at) => at.atOnce('poison', 64, () => bad(), 50),
    'half of all requests': (at) => at.steadily('poison', 5, () => bad()),
    'good and bad in turn': (at) => {
      let count = 0
      at.steadily('poison', 20, () => of('poisoner', { isBad: count++ % 2 === 0 }))
    },
    'two in league, 64 at once': (at) => {
      at.atOnce('poison', 32, () => bad('poisoner-1'), 50)
      at.atOnce('poison', 32, () => bad('poisoner-2'), 50)
    },
    'four in league, 100 a second': (at) =>
      at.steadily('poison', 100, () => bad(`poisoner-${at.random.int(4)}`)),
    'a new model name for each request': (at) => {
      let count = 0
      at.steadily('poison', 100, () => of('poisoner', { isBad: true, model: `m${count++}` }))
    },
  }
  for (const [name, crowd] of Object.entries(crowds)) {
    for (const perSecond of [5, 50]) {
      test(`${name}; the others ${perSecond} a second`, () => {
        const at = simulate(BAD_BODIES)
        fifty(at, perSecond)
        crowd(at)
        at.runUntil(120_000)
        expect(told(`poisoner: ${name}; others ${perSecond}/s`, at, 'others')).toBeGreaterThan(0.99)
        expect(at.changes).toEqual([])
      })
    }
  }

  test('the first caller after an hour without requests', () => {
    const at = simulate(BAD_BODIES)
    at.atOnce('poison', 64, () => bad(), 50, 3_600_000)
    at.steadily('others', 5, () => of(`user-${at.random.int(50)}`), 3_610_000)
    at.runUntil(3_700_000)
    expect(told('poisoner: the first after an idle hour', at, 'others')).toBeGreaterThan(0.99)
  })

  test('two allied callers are the first after an hour without requests', () => {
    const at = simulate(BAD_BODIES)
    at.atOnce('poison', 32, () => bad('poisoner-1'), 50, 3_600_000)
    at.atOnce('poison', 32, () => bad('poisoner-2'), 50, 3_600_000)
    at.steadily('others', 5, () => of(`user-${at.random.int(50)}`), 3_610_000)
    at.runUntil(3_700_000)
    expect(told('poisoners: two, first after an idle hour', at, 'others')).toBeGreaterThan(0.99)
  })

  test('all answers take 75 s', () => {
    const at = simulate(({ isBad }) => (isBad ? status(500) : good(75_000, 0)))
    fifty(at, 1)
    at.steadily('poison', 100, () => bad(`poisoner-${at.random.int(4)}`))
    at.runUntil(600_000)
    expect(told('poisoners: four, all answers take 75 s', at, 'others')).toBeGreaterThan(0.99)
  })

  test('by bodies at which the upstream resets the connection, or ends its stream midway', () => {
    for (const reaction of [
      { kind: 'reset', afterMs: 20 },
      { kind: 'status', status: 200, afterMs: 20, breaks: true },
    ] as const) {
      const at = simulate(({ isBad }) => (isBad ? reaction : good()))
      fifty(at, 5)
      at.atOnce('poison', 16, () => bad(), 50)
      at.runUntil(120_000)
      expect(
        told(`poisoner: ${reaction.kind === 'reset' ? 'resets' : 'broken streams'}`, at, 'others'),
      ).toBeGreaterThan(0.99)
    }
  })

  test('twenty minted identities that come before anybody was answered', () => {
    const at = simulate(BAD_BODIES)
    at.steadily('poison', 100, () => bad(`minted-${at.random.int(20)}`))
    at.steadily('others', 5, () => of(`user-${at.random.int(50)}`), 10_000)
    at.runUntil(610_000)
    expect(told('poisoners: 20 minted, first of all', at, 'others')).toBeGreaterThan(0.99)
  })

  for (const minted of [12, 200]) {
    test(`${minted} identities in one hand, 100 a second`, () => {
      const at = simulate(BAD_BODIES)
      fifty(at, 5)
      at.steadily('poison', 100, () => bad(`minted-${at.random.int(minted)}`), 60_000)
      at.runUntil(660_000)
      expect(told(`poisoners: ${minted} minted identities`, at, 'others')).toBeGreaterThan(0.99)
      expect(at.changes).toEqual([])
    })

    test(`${minted} identities in one hand that are answered once before`, () => {
      const at = simulate(BAD_BODIES)
      fifty(at, 5)
      for (let each = 0; each < minted; each += 1) {
        at.at(50_000, () => at.ask('poison', of(`minted-${each}`)))
      }
      at.steadily('poison', 100, () => bad(`minted-${at.random.int(minted)}`), 60_000)
      at.runUntil(660_000)
      const share = told(`poisoners: ${minted} minted, answered once before`, at, 'others')
      // Each opening costs five of them, and lasts for about half a second.
      expect(share).toBeGreaterThan(1 - minted / 5 / 600)
      const openings = at.changes.filter(({ state }) => state === 'OPEN').length
      expect(openings).toBeLessThanOrEqual(minted / 5)
    })
  }
})

describe('the upstream itself', () => {
  const DOWN_AT = 60_000
  const UP_AT = 120_000
  const kinds: Readonly<Record<string, Reaction>> = {
    'no connection': { kind: 'unreachable', afterMs: 5 },
    'a 500 for all': status(500),
    'a reset for all': { kind: 'reset', afterMs: 5 },
    'streams that break for all': { kind: 'status', status: 200, afterMs: 100, breaks: true },
  }
  for (const [name, reaction] of Object.entries(kinds)) {
    for (const perSecond of [10, 100]) {
      test(`${name}: open within a second among fifty, ${perSecond} a second; closed soon after`, () => {
        const at = simulate((_request, now) => (now >= DOWN_AT && now < UP_AT ? reaction : good()))
        fifty(at, perSecond)
        at.runUntil(240_000)
        told(`outage: ${name}, ${perSecond}/s`, at, 'others', DOWN_AT, UP_AT)
        const opened = at.changes.find(({ state }) => state === 'OPEN')
        // At ten a second, five failures take half of one.
        expect(opened?.at).toBeLessThan(DOWN_AT + 1000)
        expect(opened?.at).toBeGreaterThan(DOWN_AT)
        // From then on next to nothing reaches it.
        const load = at.reached.filter((when) => when > DOWN_AT + 1000 && when < UP_AT).length
        expect(load).toBeLessThan(40)
        const late = at.refusals.filter(({ at: when }) => when > UP_AT + 31_000)
        expect(late).toEqual([])
      })
    }
  }

  test('one caller alone, and an unreachable upstream', () => {
    const at = simulate(() => ({ kind: 'unreachable', afterMs: 2 }))
    at.steadily('alone', 1, () => of('alone'))
    at.runUntil(60_000)
    told('outage: one caller alone, no connection', at, 'alone')
    expect(at.reached.length).toBeLessThan(9)
    expect(at.circuit.state({ monotonicMs: at.now, epochSeconds: 0 }).state).not.toBe('CLOSED')
  })

  test('one caller alone, and every answer is 500: its own pause grows, and it is reported as open', () => {
    const at = simulate(() => status(500))
    at.steadily('alone', 1, () => of('alone'))
    at.runUntil(60_000)
    told('outage: one caller alone, 500', at, 'alone')
    expect(at.reached.length).toBeLessThan(14)
    expect(at.circuit.state({ monotonicMs: at.now, epochSeconds: 0 }).state).not.toBe('CLOSED')
    at.upstream = () => good()
    at.runUntil(120_000)
    expect(at.refusals.filter(({ at: when }) => when > 92_000)).toEqual([])
  })

  test('two callers, one request a minute each: open after five, closed when it is back', () => {
    const at = simulate((_request, now) =>
      now < 900_000 ? { kind: 'unreachable', afterMs: 5 } : good(),
    )
    for (const each of ['a', 'b'])
      at.every(60_000, () => at.ask('few', of(each)), each === 'a' ? 0 : 30_000)
    at.runUntil(1_800_000)
    told('outage: two callers, one a minute each', at, 'few', 0, 900_000)
    expect(at.refusals.filter(({ at: when }) => when > 960_000)).toEqual([])
    const [opened] = at.changes
    expect(opened).toMatchObject({ state: 'OPEN', of: 'upstream' })
    expect(opened?.at).toBeLessThan(240_000)
  })

  test('a poisoner as the probe neither keeps it shut nor opens it again', () => {
    for (const [name, reaction] of Object.entries({
      unreachable: { kind: 'unreachable', afterMs: 5 },
      '500': status(500),
    } as const)) {
      const at = simulate(({ isBad }, now) =>
        now >= DOWN_AT && now < UP_AT ? reaction : isBad ? status(500) : good(),
      )
      fifty(at, 10)
      at.atOnce('poison', 64, () => of('poisoner', { isBad: true }), 50)
      at.runUntil(240_000)
      told(`outage (${name}): with a poisoner who probes, 64 at once`, at, 'others', DOWN_AT, UP_AT)
      const late = at.refusals.filter(
        ({ at: when, caller }) => when > UP_AT + 31_000 && caller !== 'poisoner',
      )
      expect(late).toEqual([])
    }
  })
})

describe('one model, one route', () => {
  test('a model that is down does not affect the others, and is reported', () => {
    const at = simulate(({ model }) => (model === 'down' ? status(500) : good()))
    fifty(at, 10, { model: 'up' })
    at.steadily('askers of it', 20, () => of(`user-${at.random.int(50)}`, { model: 'down' }))
    at.steadily('count', 1, () =>
      of(`user-${at.random.int(50)}`, {
        route: 'POST /v1/messages/count_tokens',
        model: 'down-too',
      }),
    )
    at.steadily('models', 1, () =>
      of(`user-${at.random.int(50)}`, { route: 'GET /v1/models', model: undefined }),
    )
    at.runUntil(120_000)
    for (const group of ['others', 'count', 'models']) {
      expect(told(`model down: ${group}`, at, group)).toBe(1)
    }
    told('model down: those who ask for it', at, 'askers of it')
    expect(at.tally('askers of it').failed).toBeLessThan(150)
  })

  test('one that is down and not named (a sealed body, a large one) shuts nobody out', () => {
    // The gate sees no names; half of the callers use it.
    const at = simulate(({ isBad }) => (isBad ? status(500) : good()))
    fifty(at, 10, { model: undefined })
    at.steadily('askers of it', 10, () =>
      of(`other-${at.random.int(50)}`, { model: undefined, isBad: true }),
    )
    at.runUntil(120_000)
    expect(told('model down, unnamed, half of all: others', at, 'others')).toBe(1)
  })

  test('overload (429, 529, 503 with retry-after) never counts', () => {
    for (const code of [429, 529]) {
      const at = simulate(({ model }) => (model === 'busy' ? status(code) : good()))
      fifty(at, 10)
      at.atOnce('busy', 32, () => of(`user-${at.random.int(50)}`, { model: 'busy' }))
      at.runUntil(60_000)
      expect(told(`overload ${code} of one model: others`, at, 'others')).toBe(1)
      expect(at.tally('busy').refused).toBe(0)
    }
  })

  test('late answers of one model shut nobody else out', () => {
    const at = simulate(({ model }) => (model === 'slow' ? { kind: 'never' } : good()))
    fifty(at, 10)
    at.steadily('slow', 0.2, () => of(`user-${at.random.int(50)}`, { model: 'slow' }))
    at.runUntil(1_800_000)
    expect(told('one model is never answered: others', at, 'others')).toBe(1)
  })
})

describe('an upstream that accepts and answers nobody', () => {
  const STALL_AT = 60_000
  test('is found within a minute, and again well soon after it is back', () => {
    const at = simulate((_request, now) =>
      now >= STALL_AT && now < 300_000 ? { kind: 'never' } : good(),
    )
    fifty(at, 10)
    at.runUntil(420_000)
    told('stall: 50 callers', at, 'others', STALL_AT, 300_000)
    const [opened] = at.changes
    expect(opened).toMatchObject({ state: 'OPEN', of: 'upstream' })
    expect(opened?.at).toBeLessThan(STALL_AT + 60_000)
    // One request in each opening, and no more.
    expect(
      at.reached.filter((when) => when > STALL_AT + 60_000 && when < 300_000).length,
    ).toBeLessThan(10)
    expect(at.refusals.filter(({ at: when }) => when > 311_000)).toEqual([])
  })

  test('from the first moment on, with two callers', () => {
    const at = simulate(() => ({ kind: 'never' }))
    for (const each of ['a', 'b']) at.at(0, () => at.ask('two', of(each)))
    at.runUntil(60_000)
    expect(at.circuit.state({ monotonicMs: at.now, epochSeconds: 0 }).state).toBe('OPEN')
    told('stall: two callers, from the start', at, 'two')
  })

  const slow: Readonly<Record<string, (at: Simulation) => void>> = {
    'one slow request runs alone': (at) => at.atOnce('slow', 1, () => of('a'), 1000),
    'sixteen of one caller run': (at) => at.atOnce('slow', 16, () => of('a'), 1000),
    'six callers, all slow': (at) => {
      for (let each = 0; each < 6; each += 1) at.atOnce('slow', 1, () => of(`user-${each}`), 1000)
    },
    'fifty callers, all slow, one a second': (at) =>
      at.steadily('slow', 1, () => of(`user-${at.random.int(50)}`)),
  }
  for (const [name, crowd] of Object.entries(slow)) {
    test(`does not open if ${name}`, () => {
      const at = simulate(({ route }) =>
        route === MESSAGES ? good(75_000 + at.random.int(225_000), 0) : good(),
      )
      crowd(at)
      at.runUntil(1_800_000)
      expect(told(`no stall: ${name}`, at, 'slow')).toBe(1)
      expect(at.changes).toEqual([])
    })
  }

  test('is taken for one only once where even the models are slow, and answers make it known', () => {
    const at = simulate(() => good(75_000, 0))
    at.steadily('slow', 1, () => of(`user-${at.random.int(50)}`))
    at.runUntil(1_800_000)
    told('all answers slow, /v1/models too', at, 'slow')
    expect(at.changes.filter(({ state }) => state === 'OPEN').length).toBeLessThanOrEqual(1)
  })
})
