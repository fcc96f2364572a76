// The circuit breaker of one upstream. Its rules:
//
// - Evidence about the upstream itself opens the circuit for everybody. Failing to connect (refused, no
//   name, no TLS, no answer to a SYN) does not depend on anybody's body: CIRCUIT_FAILURES such failures in
//   a row, from any callers, open it for CIRCUIT_OPEN_SECONDS. Any response head ends the row.
//   Just before that is over the owner asks for its models (`due`, `reached`), so that no caller's request
//   has to find out: a connection counts as a probe that succeeded, and without one it stays open.
// - So does an upstream that accepts requests and answers nobody: two or more callers wait, and nobody has
//   had an answer for 40 s, or for three times its recent average. The owner then asks the upstream for its
//   models (`doubtful`, `checked`). An upstream that answers that is slow, not dead.
// - A 5xx, a connection that ends without a response, a response too late and a stream that breaks may be
//   caused by the body. They count in a lane, which is one route and one model. A lane opens for everybody
//   only if CIRCUIT_FAILURES callers (at least two) failed and nobody was answered meanwhile. A caller
//   that fails while others are answered is not counted for ten minutes. If anybody was answered lately, a
//   caller who was not is not counted either. So a few callers cannot open a lane for others, however
//   often and fast they fail, and minting identities does not help. Identities that are answered first can
//   open it, five of them at a time for about half a second. If nobody was answered lately, all callers are
//   alike, and one attacker can keep a lane closed for a second with each identity.
// - An open lane is probed by callers that were answered lately and have not failed, 0 s, 0.25 s, 0.5 s and
//   so on up to CIRCUIT_OPEN_SECONDS apart; each further caller that fails doubles the interval. The other
//   callers wait for CIRCUIT_OPEN_SECONDS, and each failed probe puts its caller behind everybody who has
//   probed less. Failing again prolongs nothing. CIRCUIT_SUCCESSES answers to anybody close the lane.
// - CIRCUIT_FAILURES failures in a row of one caller in one lane shut that caller, and nobody else, out of
//   that lane: for a second at first, twice as long each time. On a gate with one caller that is everybody.
// - 429, 529, a 5xx that reports overload, every status below 500, a client that leaves and a drain say
//   nothing about health: they count neither way.
//
// Bounds: 64 origins; 128 lanes, each with 512 callers that failed (300 bytes each) and 2,048 that
// were answered. Beyond them the longest unused entry is forgotten and starts again: a flood of names
// makes the breaker forgetful, and shuts nobody out. Pure: `now` is monotonic milliseconds, an
// argument.

import type { Instant } from '../turn/instant.ts'
import { Circuit, type CircuitRules, type CircuitState } from './circuit.ts'
import { Lane, type LaneRules } from './lane.ts'
import { UpstreamOrigin } from './origin.ts'
import { IssuedPass, type CircuitPermit } from './pass.ts'
import { Recent } from './recent.ts'

/** What attributes a request's failure. */
export interface CircuitRequest {
  readonly caller: string
  /** The enclave that the caller chose; '' for the upstream's own address. */
  readonly host: string
  readonly route: string
  /** Undefined if unknown. The caller's own claim is enough. */
  readonly model: string | undefined
}

export type CircuitDecision =
  | { readonly ok: true; readonly pass: CircuitPermit }
  | {
      readonly ok: false
      /** True if others are answered and only this caller's requests fail. */
      readonly own: boolean
      readonly retryAfterSeconds: number
    }

/** The worst circuit that shuts out more than one caller, or everybody who asks. */
export interface CircuitReport {
  readonly state: CircuitState
  readonly failureCount: number
  /** Successful probes. */
  readonly successCount: number
  /** Milliseconds since the epoch; 0 if nobody has to wait. */
  readonly nextAttempt: number
}

export interface Breaker {
  /** Call this last, when everything else is granted: a probe's slot is taken from here on. */
  enter(asking: CircuitRequest, now: number): CircuitDecision
  state(now: Instant): CircuitReport
  /** Closes everything and forgets; running requests no longer count either way. */
  reset(): void
  /** The hosts that seem to answer nobody, each once in a while, for the owner to probe. */
  doubtful(now: number): string[]
  /** The hosts that nobody could connect to and that are about to be tried again, for the owner to try. */
  due(now: number): string[]
  /** Reports whether a connection was made to a host that was due at `askedAt`. */
  reached(host: string, isReached: boolean, askedAt: number, now: number): void
  /** Whether the circuit refuses every caller's requests to the upstream's own address now. */
  isShut(now: number): boolean
  /** Applies these numbers from now on; open circuits stay open until their time is over. */
  retune(numbers: BreakerNumbers): void
  /** Reports whether a host that was probed at `askedAt` has answered, whatever the answer. */
  checked(host: string, isAlive: boolean, askedAt: number, now: number): void
}

/** Which circuit has changed. */
export type CircuitOf = 'upstream' | 'route' | 'caller'

export interface BreakerNumbers {
  readonly failureThreshold?: number
  readonly successThreshold?: number
  readonly openMs?: number
  /** See `CircuitRules`. Longer than connecting may take. */
  readonly probeMs?: number
  /** How long nobody must have been answered while several wait. */
  readonly stallMs?: number
}

export interface BreakerOptions extends BreakerNumbers {
  /** For a log line. Called in the middle of a change: it must not throw or call back. */
  readonly onChange?: (state: CircuitState, of: CircuitOf) => void
}

const DEFAULT_PROBE_MS = 15_000
const DEFAULT_STALL_MS = 40_000
/** How often a doubtful host is probed. */
const CHECK_EVERY_MS = 5000
/** The first pause of a caller's own circuit. */
const FIRST_OWN_OPEN_MS = 1000
/** So long before an open circuit is tried again its owner tries it, or half of the time that it is open. */
const MAX_LEAD_MS = 1500
/** How often, where that succeeded and another success is asked for. */
const TRY_EVERY_MS = 500
const MAX_ORIGINS = 64
const MAX_LANES = 128
/** A longer model name gets no lane of its own. */
const MAX_MODEL_LENGTH = 128

export function breaker(options: BreakerOptions = {}): Breaker {
  const { onChange } = options
  const reportTo = (of: CircuitOf) => onChange && ((state: CircuitState) => onChange(state, of))
  const first = rulesOf(options)
  let { stallMs } = first
  // Circuits and lanes keep references to these, so that a changed number applies to all of them.
  const originRules: CircuitRules = { ...first.origin, onChange: reportTo('upstream') }
  const ownRules: CircuitRules = { ...first.own, onChange: reportTo('caller') }
  const laneRules: LaneRules = { ...first.lane, own: ownRules, onChange: reportTo('route') }
  let origins = new Recent<UpstreamOrigin>(MAX_ORIGINS / 2)
  let lanes = new Recent<Lane>(MAX_LANES / 2)
  const newOrigin = (): UpstreamOrigin => new UpstreamOrigin(new Circuit(originRules))
  const newLane = (): Lane => new Lane(laneRules)

  return {
    enter(asking, now) {
      const { caller, host, route, model } = asking
      const origin = origins.get(host, newOrigin)
      const originMs = origin.circuit.waitMs(now)
      if (originMs > 0) return wait(originMs, false)
      const isNamed = model !== undefined && model.length <= MAX_MODEL_LENGTH
      const laneName = isNamed ? `${route} ${model}` : route
      const lane = lanes.get(host === '' ? laneName : `${laneName} ${host}`, newLane)
      const row = lane.row(caller)
      const laneMs = lane.waitMs(caller, row, now)
      if (laneMs > 0) return wait(laneMs, false)
      const ownMs = row ? row.circuit.waitMs(now) : 0
      if (row && ownMs > 0) return wait(ownMs, !row.refused && !row.broke)

      const pass = new IssuedPass(origin, lane, caller, row?.circuit.era ?? 0, now)
      origin.circuit.enter(pass, now)
      lane.enter(caller, now)
      row?.circuit.enter(pass, now)
      origin.waiting.add(pass)
      return { ok: true, pass }
    },
    state({ monotonicMs: now, epochSeconds }) {
      const reports = [
        ...origins.all().map(({ circuit }) => ({
          state: circuit.stateAt(now),
          failures: circuit.failures,
          successes: circuit.successes,
          until: now + circuit.waitMs(now),
        })),
        ...lanes.all().map((lane) => lane.report(now)),
      ]
      const [worst] = reports.toSorted(
        (a, b) => RANK[b.state] - RANK[a.state] || b.failures - a.failures,
      )
      const waitMs = worst?.state === 'OPEN' ? Math.max(0, worst.until - now) : 0
      return {
        state: worst?.state ?? 'CLOSED',
        failureCount: worst?.failures ?? 0,
        successCount: worst?.successes ?? 0,
        nextAttempt: waitMs === 0 ? 0 : Math.ceil(epochSeconds * 1000 + waitMs),
      }
    },
    reset() {
      const shut = origins.all().some(({ circuit }) => !circuit.isClosed)
      const shutLane = lanes.all().some(({ isOpen }) => isOpen)
      origins = new Recent(MAX_ORIGINS / 2)
      lanes = new Recent(MAX_LANES / 2)
      if (shutLane) onChange?.('CLOSED', 'route')
      if (shut) onChange?.('CLOSED', 'upstream')
    },
    doubtful(now) {
      const hosts: string[] = []
      for (const [host, origin] of origins.entries()) {
        if (now < origin.checkAt || !origin.seemsDead(stallMs, now)) continue
        origin.checkAt = now + CHECK_EVERY_MS
        hosts.push(host)
      }
      return hosts
    },
    due(now) {
      const hosts: string[] = []
      const leadMs = Math.min(MAX_LEAD_MS, originRules.firstOpenMs / 2)
      for (const [host, origin] of origins.entries()) {
        if (!origin.isDue(leadMs, now)) continue
        origin.checkAt = now + TRY_EVERY_MS
        hosts.push(host)
      }
      return hosts
    },
    reached(host, isReached, askedAt, now) {
      origins.find(host)?.wasReached(isReached, askedAt, now)
    },
    isShut: (now) => (origins.find('')?.circuit.waitMs(now) ?? 0) > 0,
    retune(numbers) {
      const rules = rulesOf(numbers)
      ;({ stallMs } = rules)
      Object.assign(originRules, rules.origin)
      Object.assign(ownRules, rules.own)
      Object.assign(laneRules, rules.lane)
    },
    checked(host, isAlive, askedAt, now) {
      const origin = origins.find(host)
      if (isAlive) origin?.isAlive(now)
      else origin?.isSilent(askedAt, now)
    },
  }
}

function rulesOf(numbers: BreakerNumbers) {
  const { failureThreshold = 5, successThreshold = 2, openMs = 30_000 } = numbers
  const { probeMs = DEFAULT_PROBE_MS, stallMs = DEFAULT_STALL_MS } = numbers
  const common = { failureThreshold, successThreshold, openMs, probeMs }
  return {
    stallMs,
    origin: { ...common, firstOpenMs: openMs },
    own: { ...common, firstOpenMs: Math.min(FIRST_OWN_OPEN_MS, openMs) },
    lane: { witnesses: Math.max(2, failureThreshold), successThreshold, openMs },
  }
}

const RANK = { CLOSED: 0, HALF_OPEN: 1, OPEN: 2 } as const

function wait(ms: number, own: boolean): CircuitDecision {
  return { ok: false, own, retryAfterSeconds: Math.max(1, Math.ceil(ms / 1000)) }
}
