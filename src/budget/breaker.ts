// The circuit breaker of one upstream. The rule, in plain words:
//
// - What says that the upstream itself is unwell shuts it for all. No connection (refused, no name,
//   no TLS, no answer to a SYN) depends on nobody's body: CIRCUIT_FAILURES of them in a row, from
//   whichever callers, open it for CIRCUIT_OPEN_SECONDS. Any head of an answer ends the row.
// - So does an upstream that accepts requests and answers nobody: two callers or more wait, and nobody
//   has had an answer for 40 s, or for three times what its recent answers took on average. The owner
//   then asks the upstream for its models (`doubtful`, `checked`). One that answers is slow, not dead.
// - A 5xx, a connection that ends without an answer, an answer too late and a stream that breaks may
//   be due to the body. They count in a lane, which is one route and one model, and open it for all
//   only where CIRCUIT_FAILURES callers (two at the least) have failed and nobody was answered
//   meanwhile. A caller that fails while others are answered is no such witness for ten minutes, and
//   where anybody was answered lately, nor is a stranger, who was not. So a few callers open nothing
//   for others, however often and however fast they fail, and minted identities do not either. Those
//   that are answered first can, for about half a second and five of them at a time. Where nobody was
//   answered lately all are alike, and one hand keeps a lane shut for a second with each identity.
// - An open lane is tried by callers that were answered lately and have not failed: 0 s, 0.25 s, 0.5 s
//   and so on up to CIRCUIT_OPEN_SECONDS apart, each further caller that fails doubling the pace. The
//   others wait for CIRCUIT_OPEN_SECONDS, and each probe in vain puts its caller behind all who have
//   probed less. To fail again prolongs nothing. CIRCUIT_SUCCESSES answers to anybody close it.
// - CIRCUIT_FAILURES failures in a row of one caller in one lane shut that caller out of that lane
//   alone, for a second at first and twice as long each time. On a gate with one caller that is all
//   who ask.
// - 429, 529, a 5xx that speaks of overload, every status below 500, a client that leaves and a drain
//   say nothing of health: they count neither way.
//
// Bounds: 64 origins; 128 lanes, each with 512 callers that have failed (300 bytes each) and 2,048 that
// were answered. Beyond them the longest unused is forgotten and counts anew: a flood of names makes
// the breaker forgetful, and shuts nobody out. Pure: `now` is monotonic milliseconds, an argument.

import type { Instant } from '../turn/instant.ts'
import { Circuit, type CircuitRules, type CircuitState } from './circuit.ts'
import { Lane, type LaneRules } from './lane.ts'
import { UpstreamOrigin } from './origin.ts'
import { IssuedPass, type CircuitPermit } from './pass.ts'
import { Recent } from './recent.ts'

/** What of a request tells whose failure it would be. */
export interface CircuitRequest {
  readonly caller: string
  /** The enclave that the caller chose; '' for the upstream's own address. */
  readonly host: string
  readonly route: string
  /** Where it is known; a caller's own word is enough. */
  readonly model: string | undefined
}

export type CircuitDecision =
  | { readonly ok: true; readonly pass: CircuitPermit }
  | {
      readonly ok: false
      /** Others are answered, and only this caller's requests fail. */
      readonly own: boolean
      readonly retryAfterSeconds: number
    }

/** The worst of the circuits that shut out more than one caller, or all who ask. */
export interface CircuitReport {
  readonly state: CircuitState
  readonly failureCount: number
  /** Of probes. */
  readonly successCount: number
  /** Milliseconds since the epoch; 0 where nobody has to wait. */
  readonly nextAttempt: number
}

export interface Breaker {
  /** Ask last, when all else is granted: a probe's place is taken from here on. */
  enter(asking: CircuitRequest, now: number): CircuitDecision
  state(now: Instant): CircuitReport
  /** Closes everything and forgets; what is under way no longer counts, either way. */
  reset(): void
  /** The hosts that seem to answer nobody, each once in a while: they should be asked something. */
  doubtful(now: number): string[]
  /** From now on by these numbers; what is open stays so until the end of its time. */
  retune(numbers: BreakerNumbers): void
  /** Whether a host that was asked at `askedAt` has answered, whatever it was. */
  checked(host: string, isAlive: boolean, askedAt: number, now: number): void
}

/** Whose circuit has changed. */
export type CircuitOf = 'upstream' | 'route' | 'caller'

export interface BreakerNumbers {
  readonly failureThreshold?: number
  readonly successThreshold?: number
  readonly openMs?: number
  /** See `Circuit`. Longer than a connection may take. */
  readonly probeMs?: number
  /** How long nobody has to be answered while several wait. */
  readonly stallMs?: number
}

export interface BreakerOptions extends BreakerNumbers {
  /** For a line in the log. Called in the middle of things: it must not throw, or call back. */
  readonly onChange?: (state: CircuitState, of: CircuitOf) => void
}

const DEFAULT_PROBE_MS = 15_000
const DEFAULT_STALL_MS = 40_000
/** How often a host in doubt is asked. */
const CHECK_EVERY_MS = 5000
/** A caller's own pause, at first. */
const FIRST_OWN_OPEN_MS = 1000
const MAX_ORIGINS = 64
const MAX_LANES = 128
/** A longer name is a stranger's joke, and no lane's. */
const MAX_MODEL_LENGTH = 128

export function breaker(options: BreakerOptions = {}): Breaker {
  const { onChange } = options
  const told = (of: CircuitOf) => onChange && ((state: CircuitState) => onChange(state, of))
  const first = rulesOf(options)
  let { stallMs } = first
  // Circuits and lanes hold on to these, so that another number in them is every one's.
  const originRules: CircuitRules = { ...first.origin, onChange: told('upstream') }
  const ownRules: CircuitRules = { ...first.own, onChange: told('caller') }
  const laneRules: LaneRules = { ...first.lane, own: ownRules, onChange: told('route') }
  let origins = new Recent<UpstreamOrigin>(MAX_ORIGINS / 2)
  let lanes = new Recent<Lane>(MAX_LANES / 2)
  const newOrigin = (): UpstreamOrigin => new UpstreamOrigin(new Circuit(originRules))
  const newLane = (): Lane => new Lane(laneRules)

  return {
    enter(asking, now) {
      const { caller, host, route, model } = asking
      const origin = origins.get(host, newOrigin)
      const elsewhere = origin.circuit.waitMs(now)
      if (elsewhere > 0) return wait(elsewhere, false)
      const isNamed = model !== undefined && model.length <= MAX_MODEL_LENGTH
      const named = isNamed ? `${route} ${model}` : route
      const lane = lanes.get(host === '' ? named : `${named} ${host}`, newLane)
      const row = lane.row(caller)
      const paused = lane.waitMs(caller, row, now)
      if (paused > 0) return wait(paused, false)
      const own = row ? row.circuit.waitMs(now) : 0
      if (row && own > 0) return wait(own, !row.refused && !row.broke)

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
