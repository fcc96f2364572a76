import { afterAll, describe, expect, test } from 'bun:test'
import { Circuit, type CircuitState } from '../../src/budget/circuit.ts'
import type { Instant } from '../../src/turn/instant.ts'
import { seeded } from '../support/random.ts'

const OPEN_MS = 30_000

type Verdict = 'success' | 'failure' | 'neutral'

interface Options {
  readonly failureThreshold?: number
  readonly successThreshold?: number
  readonly firstOpenMs?: number
  readonly openMs?: number
  readonly probeMs?: number
  readonly onChange?: (state: CircuitState) => void
}

/** One request, which is asked by what it is answered. */
class Pass {
  readonly #circuit: Circuit
  readonly #era: number
  #stage: 'sent' | 'answered' | 'over' = 'sent'

  constructor(circuit: Circuit, now: number) {
    this.#circuit = circuit
    this.#era = circuit.era
    circuit.enter(this, now)
  }

  answered(status: number, now: number): void {
    if (this.#stage !== 'sent') return
    if (status >= 300) return this.report(status >= 500 ? 'failure' : 'neutral', now)
    this.#stage = 'answered'
    this.#circuit.answered(this, this.#era)
  }

  report(verdict: Verdict, now: number): void {
    if (this.#stage === 'over') return
    const wasAnswered = this.#stage === 'answered'
    this.#stage = 'over'
    if (verdict === 'neutral') return this.#circuit.left(this, this.#era)
    if (verdict === 'failure') return this.#circuit.failed(this, this.#era, wasAnswered, now)
    if (!wasAnswered) this.#circuit.answered(this, this.#era)
    this.#circuit.completed(this, this.#era)
  }
}

type Entry = { ok: true; pass: Pass } | { ok: false; retryAfterSeconds: number }

interface Breaker {
  enter(now: number): Entry
  state(now: Instant): {
    state: CircuitState
    failureCount: number
    successCount: number
    nextAttempt: number
  }
  reset(): void
}

function breaker(options: Options = {}): Breaker {
  const {
    failureThreshold = 5,
    successThreshold = 2,
    openMs = OPEN_MS,
    probeMs = 120_000,
  } = options
  const { onChange, firstOpenMs = openMs } = options
  const rules = { failureThreshold, successThreshold, firstOpenMs, openMs, probeMs, onChange }
  let circuit = new Circuit(rules)
  return {
    enter(now) {
      const waitMs = circuit.waitMs(now)
      return waitMs === 0
        ? { ok: true, pass: new Pass(circuit, now) }
        : { ok: false, retryAfterSeconds: Math.ceil(waitMs / 1000) }
    },
    state({ monotonicMs, epochSeconds }) {
      const state = circuit.stateAt(monotonicMs)
      return {
        state,
        failureCount: circuit.failures,
        successCount: circuit.successes,
        nextAttempt: state === 'OPEN' ? epochSeconds * 1000 + circuit.waitMs(monotonicMs) : 0,
      }
    },
    reset() {
      if (!circuit.isClosed) onChange?.('CLOSED')
      circuit = new Circuit(rules)
    },
  }
}

function enter(circuit: Breaker, now: number): Pass {
  const entry = circuit.enter(now)
  if (!entry.ok) throw new Error('the circuit let nobody through')
  return entry.pass
}

function fail(circuit: Breaker, times: number, now: number): void {
  for (let time = 0; time < times; time += 1) enter(circuit, now).report('failure', now)
}

const stateAt = (circuit: Breaker, monotonicMs: number): CircuitState =>
  circuit.state({ monotonicMs, epochSeconds: 0 }).state

/** Open since 0, with its first probe due at OPEN_MS. */
function opened(): Breaker {
  const circuit = breaker()
  fail(circuit, 5, 0)
  return circuit
}

describe('closed', () => {
  test('five failures in a row open it, four do not', () => {
    const circuit = breaker()
    fail(circuit, 4, 0)
    expect(circuit.enter(0).ok).toBeTrue()
    fail(circuit, 1, 0)
    expect(circuit.enter(0)).toEqual({ ok: false, retryAfterSeconds: 30 })
  })

  test('a success in between resets the count', () => {
    const circuit = breaker()
    fail(circuit, 4, 0)
    enter(circuit, 0).report('success', 0)
    fail(circuit, 4, 0)
    expect(stateAt(circuit, 0)).toBe('CLOSED')
    fail(circuit, 1, 0)
    expect(stateAt(circuit, 0)).toBe('OPEN')
  })

  test('every 5xx is a failure at its headers, without waiting for a body', () => {
    const circuit = breaker()
    for (const status of [500, 502, 503, 504, 505]) enter(circuit, 0).answered(status, 0)
    expect(stateAt(circuit, 0)).toBe('OPEN')
  })

  test('4xx, 429, redirects and clients that left never open it, nor do they end a run', () => {
    const circuit = breaker()
    fail(circuit, 4, 0)
    for (let time = 0; time < 1000; time += 1) {
      for (const status of [300, 307, 400, 401, 403, 404, 408, 413, 429, 499]) {
        const pass = enter(circuit, 0)
        pass.answered(status, 0)
        pass.report('failure', 0)
      }
      enter(circuit, 0).report('neutral', 0)
    }
    expect(circuit.state({ monotonicMs: 0, epochSeconds: 0 }).failureCount).toBe(4)
    fail(circuit, 1, 0)
    expect(stateAt(circuit, 0)).toBe('OPEN')
  })

  test('a stream that the client left counts neither way, one that broke midway is a failure', () => {
    const circuit = breaker()
    for (let time = 0; time < 50; time += 1) {
      const pass = enter(circuit, 0)
      pass.answered(200, 0)
      pass.report('neutral', 0)
    }
    for (let time = 0; time < 4; time += 1) {
      const pass = enter(circuit, 0)
      pass.answered(200, 0)
      pass.report('failure', 0)
    }
    expect(stateAt(circuit, 0)).toBe('CLOSED')
    const pass = enter(circuit, 0)
    pass.answered(200, 0)
    pass.report('failure', 0)
    expect(stateAt(circuit, 0)).toBe('OPEN')
  })

  test('an upstream that answers 200 and always dies midway opens it, and again after probes', () => {
    const circuit = breaker()
    let now = 0
    for (let time = 0; time < 3; time += 1) {
      for (let sent = 0; sent < 7 && stateAt(circuit, now) !== 'OPEN'; sent += 1) {
        const pass = enter(circuit, now)
        pass.answered(200, now)
        pass.report('failure', now + 1)
      }
      expect(stateAt(circuit, now)).toBe('OPEN')
      now += OPEN_MS
    }
  })

  test('refusals scattered among long streams that have begun well are no run', () => {
    const circuit = breaker()
    for (let time = 0; time < 100; time += 1) {
      enter(circuit, time).answered(200, time)
      if (time % 10 === 0) enter(circuit, time).answered(529, time)
    }
    expect(stateAt(circuit, 100)).toBe('CLOSED')
  })

  test('a body that arrived whole ends a run of broken ones, headers alone do not', () => {
    const circuit = breaker()
    const broken = (): void => {
      const pass = enter(circuit, 0)
      pass.answered(200, 0)
      pass.report('failure', 0)
    }
    for (let time = 0; time < 4; time += 1) broken()
    const whole = enter(circuit, 0)
    whole.answered(200, 0)
    expect(circuit.state({ monotonicMs: 0, epochSeconds: 0 }).failureCount).toBe(4)
    whole.report('success', 0)
    for (let time = 0; time < 4; time += 1) broken()
    expect(stateAt(circuit, 0)).toBe('CLOSED')
  })

  test('a pass is heard once, whatever it says after that', () => {
    const circuit = breaker()
    const pass = enter(circuit, 0)
    for (let time = 0; time < 10; time += 1) {
      pass.report('failure', 0)
      pass.answered(500, 0)
    }
    expect(circuit.state({ monotonicMs: 0, epochSeconds: 0 }).failureCount).toBe(1)
    const refused = enter(circuit, 0)
    refused.answered(500, 0)
    refused.report('success', 0)
    expect(circuit.state({ monotonicMs: 0, epochSeconds: 0 }).failureCount).toBe(2)
  })
})

describe('open', () => {
  test('it stays so for openMs, and says how long that is', () => {
    const circuit = opened()
    expect(circuit.enter(1)).toEqual({ ok: false, retryAfterSeconds: 30 })
    expect(circuit.enter(OPEN_MS - 12_345)).toEqual({ ok: false, retryAfterSeconds: 13 })
    expect(circuit.enter(OPEN_MS - 1)).toEqual({ ok: false, retryAfterSeconds: 1 })
    expect(circuit.enter(OPEN_MS).ok).toBeTrue()
  })

  test('a refusal takes less than a millisecond', () => {
    const circuit = opened()
    const before = performance.now()
    for (let time = 0; time < 10_000; time += 1) circuit.enter(1)
    expect((performance.now() - before) / 10_000).toBeLessThan(1)
  })

  test('requests from before it opened change nothing afterwards', () => {
    for (const verdict of ['success', 'failure', 'neutral'] as const) {
      const circuit = breaker()
      const late = Array.from({ length: 10 }, () => enter(circuit, 0))
      const streams = Array.from({ length: 10 }, () => enter(circuit, 0))
      for (const stream of streams) stream.answered(200, 0)
      fail(circuit, 5, 0)
      // While it is open: neither closed by them, nor kept open for longer.
      for (const pass of late.splice(0, 5)) pass.report(verdict, OPEN_MS - 1)
      expect(stateAt(circuit, OPEN_MS - 1)).toBe('OPEN')
      const probe = circuit.enter(OPEN_MS)
      expect(probe.ok).toBeTrue()
      // While it is half open: no probe's success, no probe's failure, no probe's place.
      for (const pass of late.splice(0, 2)) pass.answered(200, OPEN_MS)
      for (const pass of late) pass.report(verdict, OPEN_MS)
      for (const stream of streams.splice(0, 5)) stream.report(verdict, OPEN_MS)
      expect(circuit.state({ monotonicMs: OPEN_MS, epochSeconds: 0 })).toEqual({
        state: 'HALF_OPEN',
        failureCount: 5,
        successCount: 0,
        nextAttempt: 0,
      })
      expect(circuit.enter(OPEN_MS).ok).toBeFalse()
      if (probe.ok) probe.pass.report('success', OPEN_MS)
      enter(circuit, OPEN_MS).report('success', OPEN_MS)
      // And when it has closed: no part of a new run.
      fail(circuit, 4, OPEN_MS)
      for (const stream of streams) stream.report(verdict, OPEN_MS)
      expect(circuit.state({ monotonicMs: OPEN_MS, epochSeconds: 0 }).failureCount).toBe(4)
    }
  })
})

describe('half open', () => {
  test('attack 51: of a thousand that come at once, exactly one goes through, each time', () => {
    const circuit = opened()
    for (let round = 0; round < 20; round += 1) {
      const entries = Array.from({ length: 1000 }, () => circuit.enter(OPEN_MS + round))
      const through = entries.filter((entry) => entry.ok)
      expect(through).toHaveLength(1)
      expect(entries.find((entry) => !entry.ok)).toEqual({ ok: false, retryAfterSeconds: 5 })
      through[0]?.pass.report('neutral', OPEN_MS + round)
    }
  })

  test('two successes close it', () => {
    const circuit = opened()
    enter(circuit, OPEN_MS).report('success', OPEN_MS)
    expect(stateAt(circuit, OPEN_MS)).toBe('HALF_OPEN')
    enter(circuit, OPEN_MS).report('success', OPEN_MS)
    expect(stateAt(circuit, OPEN_MS)).toBe('CLOSED')
    fail(circuit, 4, OPEN_MS)
    expect(stateAt(circuit, OPEN_MS)).toBe('CLOSED')
  })

  test('a probe succeeds by its headers: a stream of ten minutes keeps nobody out', () => {
    const circuit = opened()
    const [first, second] = [enter(circuit, OPEN_MS), circuit.enter(OPEN_MS)]
    expect(second.ok).toBeFalse()
    first.answered(200, OPEN_MS + 300)
    enter(circuit, OPEN_MS + 300).answered(200, OPEN_MS + 600)
    expect(stateAt(circuit, OPEN_MS + 600)).toBe('CLOSED')
  })

  test('one probe counts for one success, though it answers and then ends', () => {
    const circuit = opened()
    const probe = enter(circuit, OPEN_MS)
    probe.answered(200, OPEN_MS)
    probe.answered(200, OPEN_MS)
    probe.report('success', OPEN_MS)
    expect(stateAt(circuit, OPEN_MS)).toBe('HALF_OPEN')
  })

  test('any failure of a probe opens it again, for the whole time', () => {
    const circuit = opened()
    enter(circuit, OPEN_MS).report('success', OPEN_MS)
    enter(circuit, OPEN_MS).report('failure', OPEN_MS + 5)
    expect(circuit.enter(2 * OPEN_MS + 4)).toEqual({ ok: false, retryAfterSeconds: 1 })
    // The earlier success is forgotten.
    enter(circuit, 2 * OPEN_MS + 5).report('success', 2 * OPEN_MS + 5)
    expect(stateAt(circuit, 2 * OPEN_MS + 5)).toBe('HALF_OPEN')
  })

  test('a probe whose stream breaks after its headers opens it again', () => {
    const circuit = opened()
    const probe = enter(circuit, OPEN_MS)
    probe.answered(200, OPEN_MS)
    probe.report('failure', OPEN_MS + 1)
    expect(stateAt(circuit, OPEN_MS + 1)).toBe('OPEN')
  })

  test('a probe whose stream breaks after the circuit closed is the first of a new run', () => {
    const circuit = opened()
    const probes = [enter(circuit, OPEN_MS)]
    probes[0]?.answered(200, OPEN_MS)
    probes.push(enter(circuit, OPEN_MS))
    probes[1]?.answered(200, OPEN_MS)
    for (const probe of probes) probe.report('failure', OPEN_MS)
    fail(circuit, 2, OPEN_MS)
    expect(stateAt(circuit, OPEN_MS)).toBe('CLOSED')
    fail(circuit, 1, OPEN_MS)
    expect(stateAt(circuit, OPEN_MS)).toBe('OPEN')
  })

  test('a probe whose client left, or that got a 4xx, gives its place back and decides nothing', () => {
    const circuit = opened()
    enter(circuit, OPEN_MS).report('success', OPEN_MS)
    for (let time = 0; time < 100; time += 1) {
      const probe = enter(circuit, OPEN_MS)
      expect(circuit.enter(OPEN_MS).ok).toBeFalse()
      if (time % 2 === 0) probe.report('neutral', OPEN_MS)
      else probe.answered(429, OPEN_MS)
      expect(stateAt(circuit, OPEN_MS)).toBe('HALF_OPEN')
    }
    enter(circuit, OPEN_MS).report('success', OPEN_MS)
    expect(stateAt(circuit, OPEN_MS)).toBe('CLOSED')
  })

  test('a place that was given back is not taken from the next by a second report', () => {
    const circuit = opened()
    const first = enter(circuit, OPEN_MS)
    first.report('neutral', OPEN_MS)
    enter(circuit, OPEN_MS)
    first.report('neutral', OPEN_MS)
    expect(circuit.enter(OPEN_MS).ok).toBeFalse()
  })

  test('a probe without any outcome locks nobody out forever', () => {
    const circuit = breaker({ probeMs: 60_000 })
    fail(circuit, 5, 0)
    const lost = enter(circuit, OPEN_MS)
    expect(circuit.enter(OPEN_MS + 59_999).ok).toBeFalse()
    const next = enter(circuit, OPEN_MS + 60_000)
    expect(circuit.enter(OPEN_MS + 60_000).ok).toBeFalse()
    // Should it come back after all, the other's place is not its to give, but its word counts.
    lost.answered(200, OPEN_MS + 60_001)
    expect(circuit.enter(OPEN_MS + 60_001).ok).toBeFalse()
    next.answered(200, OPEN_MS + 60_002)
    expect(stateAt(circuit, OPEN_MS + 60_002)).toBe('CLOSED')
  })
})

describe("the operator's view and reset", () => {
  test("the report has system C's shape, in its spelling", () => {
    const circuit = breaker()
    const report = (monotonicMs: number) => circuit.state({ monotonicMs, epochSeconds: 1000 })
    const closed = { state: 'CLOSED', failureCount: 0, successCount: 0, nextAttempt: 0 } as const
    expect(report(0)).toEqual(closed)
    fail(circuit, 5, 0)
    const failureCount = 5
    expect(report(10_000)).toEqual({
      ...closed,
      state: 'OPEN',
      failureCount,
      nextAttempt: 1_020_000,
    })
    // Though nobody has come to try.
    expect(report(OPEN_MS)).toEqual({ ...closed, state: 'HALF_OPEN', failureCount })
    enter(circuit, OPEN_MS).answered(200, OPEN_MS)
    expect(report(OPEN_MS)).toEqual({
      ...closed,
      state: 'HALF_OPEN',
      failureCount,
      successCount: 1,
    })
    enter(circuit, OPEN_MS).answered(200, OPEN_MS)
    expect(report(OPEN_MS)).toEqual(closed)
  })

  test('a reset closes it at once, and running requests no longer count', () => {
    const circuit = breaker()
    const before = Array.from({ length: 10 }, () => enter(circuit, 0))
    fail(circuit, 5, 0)
    circuit.reset()
    for (const pass of before) pass.report('failure', 1)
    expect(circuit.state({ monotonicMs: 1, epochSeconds: 0 })).toEqual({
      state: 'CLOSED',
      failureCount: 0,
      successCount: 0,
      nextAttempt: 0,
    })
    const probing = opened()
    const probe = enter(probing, OPEN_MS)
    probing.reset()
    probe.report('failure', OPEN_MS)
    expect(stateAt(probing, OPEN_MS)).toBe('CLOSED')
  })

  test('each change is logged, once', () => {
    const seen: CircuitState[] = []
    const circuit = breaker({ onChange: (state) => seen.push(state) })
    fail(circuit, 5, 0)
    enter(circuit, OPEN_MS).report('failure', OPEN_MS)
    enter(circuit, 2 * OPEN_MS).answered(200, 2 * OPEN_MS)
    enter(circuit, 2 * OPEN_MS).answered(200, 2 * OPEN_MS)
    circuit.reset()
    expect(seen).toEqual(['OPEN', 'HALF_OPEN', 'OPEN', 'HALF_OPEN', 'CLOSED'])
  })

  test('with a shorter first pause, each probe that fails doubles it, up to the longest', () => {
    const circuit = breaker({ firstOpenMs: 1000, openMs: 5000 })
    fail(circuit, 5, 0)
    let now = 0
    for (const pause of [1000, 2000, 4000, 5000, 5000]) {
      expect(circuit.enter(now + pause - 1).ok).toBeFalse()
      now += pause
      fail(circuit, 1, now)
    }
    now += 5000
    for (const _ of [1, 2]) enter(circuit, now).answered(200, now)
    fail(circuit, 5, now)
    expect(circuit.enter(now + 999).ok).toBeFalse()
    expect(circuit.enter(now + 1000).ok).toBeTrue()
  })

  test('every number is a setting', () => {
    const circuit = breaker({ failureThreshold: 1, successThreshold: 1, openMs: 500 })
    fail(circuit, 1, 0)
    expect(circuit.enter(0)).toEqual({ ok: false, retryAfterSeconds: 1 })
    enter(circuit, 500).report('success', 500)
    expect(stateAt(circuit, 500)).toBe('CLOSED')
  })

  test('one upstream that is down leaves the other alone', () => {
    const [down, up] = [breaker(), breaker()]
    fail(down, 5, 0)
    expect(down.enter(0).ok).toBeFalse()
    expect(up.enter(0).ok).toBeTrue()
  })
})

describe('over sockets', () => {
  let status = 503
  let inside = 0
  let mostInside = 0
  let requests = 0
  let answering: Promise<void> | undefined
  const upstream = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    development: false,
    async fetch() {
      requests += 1
      inside += 1
      mostInside = Math.max(mostInside, inside)
      await answering
      inside -= 1
      return new Response('', { status })
    },
  })
  afterAll(() => upstream.stop(true))

  test('a herd of clients meets a dead upstream with five requests, a living one with one', async () => {
    const circuit = breaker({ openMs: 60 })
    const call = async (asked?: () => void): Promise<boolean> => {
      const entry = circuit.enter(performance.now())
      asked?.()
      if (!entry.ok) return false
      const response = await fetch(upstream.url)
      entry.pass.answered(response.status, performance.now())
      entry.pass.report('success', performance.now())
      return true
    }
    for (let time = 0; time < 10; time += 1) await call()
    expect(requests).toBe(5)

    for (let round = 0; round < 3; round += 1) {
      await Bun.sleep(70)
      mostInside = 0
      if (round === 2) status = 200
      // All of them ask while the first probe is out.
      let asked = 0
      const { promise, resolve } = Promise.withResolvers<void>()
      answering = promise
      const herd = Array.from({ length: 200 }, async (_, client) => {
        await Bun.sleep(client % 4)
        return call(() => {
          asked += 1
          if (asked === 200) resolve()
        })
      })
      const through = (await Promise.all(herd)).filter(Boolean).length
      expect(mostInside).toBe(1)
      expect(through).toBe(1)
    }
    expect(requests).toBe(8)
    await call()
    expect(stateAt(circuit, performance.now())).toBe('CLOSED')
  })
})

/** The rules once more, told as history: nothing is kept but what was heard, all is derived. */
function naive(threshold: number, enough: number, openMs: number, probeMs: number) {
  interface Known {
    readonly era: number
    readonly enteredAt: number
    readonly probe: boolean
    answered: boolean
    over: boolean
  }
  let era = 0
  let openedAt: number | undefined
  let heard: ('headers' | 'whole' | 'unanswered' | 'broken')[] = []
  let probes: Known[] = []
  let good = 0
  const open = (now: number): void => {
    era += 1
    openedAt = now
    probes = []
    good = 0
  }
  const run = (): number => {
    const lastWhole = heard.lastIndexOf('whole')
    const lastHeaders = Math.max(lastWhole, heard.lastIndexOf('headers'))
    const refusals = heard.slice(lastHeaders + 1).filter((each) => each === 'unanswered').length
    return refusals + heard.slice(lastWhole + 1).filter((each) => each === 'broken').length
  }
  const goodProbe = (): void => {
    good += 1
    if (good < enough) return
    openedAt = undefined
    heard = []
    good = 0
    probes = []
  }
  const hear = (what: (typeof heard)[number], now: number): void => {
    if (openedAt !== undefined)
      return what === 'headers' || what === 'whole' ? goodProbe() : open(now)
    heard.push(what)
    if (run() >= threshold) open(now)
  }
  return {
    enter(now: number): Known | undefined {
      if (openedAt !== undefined) {
        if (now < openedAt + openMs) return undefined
        const latest = probes.at(-1)
        if (latest && !latest.over && !latest.answered && now < latest.enteredAt + probeMs) return
      }
      const known = {
        era,
        enteredAt: now,
        probe: openedAt !== undefined,
        answered: false,
        over: false,
      }
      if (known.probe) probes.push(known)
      return known
    },
    answered(known: Known, status: number, now: number): void {
      if (known.over || known.answered) return
      if (status >= 500) return this.report(known, 'failure', now)
      if (status >= 300) return this.report(known, 'neutral', now)
      known.answered = true
      if (known.era === era) hear('headers', now)
    },
    report(known: Known, verdict: Verdict, now: number): void {
      if (known.over) return
      known.over = true
      if (known.era !== era || verdict === 'neutral') return
      if (verdict === 'failure') hear(known.answered ? 'broken' : 'unanswered', now)
      else if (openedAt === undefined || !known.answered) hear('whole', now)
    },
    state(now: number): { state: CircuitState; successCount: number } {
      const waiting = openedAt !== undefined && now < openedAt + openMs
      const state = openedAt === undefined ? 'CLOSED' : waiting ? 'OPEN' : 'HALF_OPEN'
      return { state, successCount: good }
    },
    reset(): void {
      era += 1
      openedAt = undefined
      heard = []
      probes = []
      good = 0
    },
  }
}

test(
  'any history: it follows the rules, and never allows two probes within probeMs',
  seeded((random) => {
    const visited = new Set<CircuitState>()
    for (let round = 0; round < 300; round += 1) {
      const [threshold, enough] = [1 + random.int(5), 1 + random.int(3)]
      const [openMs, probeMs] = [20 + random.int(50), 20 + random.int(100)]
      const circuit = breaker({
        failureThreshold: threshold,
        successThreshold: enough,
        openMs,
        probeMs,
      })
      const model = naive(threshold, enough, openMs, probeMs)
      type Known = NonNullable<ReturnType<typeof model.enter>>
      const passes: { pass: Pass; known: Known }[] = []
      const bias = random.next()
      for (let now = 0; now < 1500; now += random.int(6)) {
        const act = random.int(20)
        if (act < 8) {
          const [entry, known] = [circuit.enter(now), model.enter(now)]
          expect(entry.ok).toBe(known !== undefined)
          if (entry.ok && known) passes.push({ pass: entry.pass, known })
          else if (!entry.ok) expect(entry.retryAfterSeconds).toBeGreaterThanOrEqual(1)
        } else if (passes.length > 0 && act < 19) {
          const { pass, known } =
            passes[passes.length - 1 - random.int(Math.min(8, passes.length))]!
          const well = random.next() < bias
          if (act < 13) {
            const status = well ? 200 : random.pick([200, 500, 529, 429, 400])
            pass.answered(status, now)
            model.answered(known, status, now)
          } else {
            const verdict = well
              ? 'success'
              : random.pick(['failure', 'failure', 'neutral'] as const)
            pass.report(verdict, now)
            model.report(known, verdict, now)
          }
        } else if (random.int(40) === 0) {
          circuit.reset()
          model.reset()
        }
        const { state, successCount } = circuit.state({ monotonicMs: now, epochSeconds: 0 })
        visited.add(state)
        expect({ state, successCount }).toEqual(model.state(now))
      }
    }
    expect([...visited].toSorted()).toEqual(['CLOSED', 'HALF_OPEN', 'OPEN'])
  }),
)
