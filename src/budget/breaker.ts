// A circuit breaker for one upstream: after a run of failures it lets nothing through for a while,
// then one request at a time to try, and closes when enough of those went well. Pure but for its own
// few numbers; `now` is monotonic milliseconds and an argument. It sets no timer, sees no request,
// and never decides by what a client did: only by what the upstream answered, or failed to.
//
// When is a request a success? Two moments count, because either alone misleads:
//
// - The headers of a 2xx end a run of failures to answer, and are what a probe succeeds by. A stream
//   may run for ten minutes; were its end awaited, an upstream that has recovered would stay shut
//   behind two of them, and five refusals among a hundred long streams would look like a run.
// - Only a body's end ends a run of streams that broke midway. Were headers enough for that, an
//   upstream that answers 200 and then dies, every time, would never open the circuit.
//
// Both runs together make the count that opens it.

import type { Instant } from '../instant.ts'

/** How the states are spelled at `GET /admin/circuit-breaker`. */
export type CircuitState = 'CLOSED' | 'OPEN' | 'HALF_OPEN'

/**
 * `failure`: no connection, no headers in time, a 5xx (529 too), a body that broke midway or stood
 * still by the upstream's fault. `neutral`: everything that says nothing of the upstream's health:
 * a client that left or stalled, a 4xx or 429, a redirect, our own refusal, a drain.
 */
export type Verdict = 'success' | 'failure' | 'neutral'

/** One request's leave to go upstream. Every way out of it has to report, once; more do nothing. */
export interface Pass {
  /** The upstream's headers are here. Any status but a 2xx is a verdict, and the last word. */
  answered(status: number, now: number): void
  /** It is over. */
  report(verdict: Verdict, now: number): void
}

export type Entry =
  | { readonly ok: true; readonly pass: Pass }
  | { readonly ok: false; readonly retryAfterSeconds: number }

export interface CircuitReport {
  readonly state: CircuitState
  /** The present run of failures; it is kept until the circuit closes. */
  readonly failureCount: number
  /** Of probes. */
  readonly successCount: number
  /** Milliseconds since the epoch; 0 where nobody has to wait. */
  readonly nextAttempt: number
}

export interface Breaker {
  /** Ask last, when all else is granted: a probe's place is taken from here on. */
  enter(now: number): Entry
  state(now: Instant): CircuitReport
  /** Closes it and forgets; what is under way no longer counts, either way. */
  reset(): void
}

export interface BreakerOptions {
  /** How many failures in a row open it. */
  readonly failureThreshold?: number
  /** How many probes have to succeed to close it. */
  readonly successThreshold?: number
  readonly openMs?: number
  /**
   * After this a probe that has not reported gives up its place, so that a lost one locks nobody out.
   * It should be longer than an upstream may take to send its headers; where it is not, two probes
   * may be under way at once, and the verdicts of both count.
   */
  readonly probeMs?: number
  /** For a line in the log. Called in the middle of things: it must not throw, or call back. */
  readonly onChange?: (state: CircuitState) => void
}

const DEFAULT_PROBE_MS = 120_000
/** While a probe is out. Claude Code asks ten times and then gives up; a second would spend them. */
const PROBE_RETRY_AFTER_SECONDS = 5

export function breaker(options: BreakerOptions = {}): Breaker {
  const { failureThreshold = 5, successThreshold = 2, openMs = 30_000 } = options
  const { probeMs = DEFAULT_PROBE_MS, onChange } = options
  let state: CircuitState = 'CLOSED'
  /**
   * Counts openings and resets. A pass of an earlier time reports on an upstream that was, and is
   * not heard. Closing keeps it: a probe whose stream breaks after that still tells of the present.
   */
  let era = 0
  let unanswered = 0
  let broken = 0
  let succeeded = 0
  let openUntil = 0
  let probe: { readonly pass: Pass; readonly until: number } | undefined

  const become = (next: CircuitState): void => {
    if (state === next) return
    state = next
    onChange?.(next)
  }
  const close = (): void => {
    unanswered = 0
    broken = 0
    succeeded = 0
    become('CLOSED')
  }
  const open = (now: number): void => {
    era += 1
    succeeded = 0
    probe = undefined
    openUntil = now + openMs
    become('OPEN')
  }
  const probeSucceeded = (): void => {
    succeeded += 1
    if (succeeded >= successThreshold) close()
  }

  /** A probe that has said something gives up its place. */
  const hears = (pass: Issued): boolean => {
    if (pass.era !== era) return false
    if (probe?.pass === pass) probe = undefined
    return true
  }
  const circuit: Circuit = {
    succeeded(pass) {
      if (!hears(pass)) return
      if (state === 'HALF_OPEN') probeSucceeded()
      else unanswered = 0
    },
    ended(pass, verdict, wasAnswered, now) {
      if (!hears(pass)) return
      if (verdict === 'failure') {
        if (wasAnswered) broken += 1
        else unanswered += 1
        if (state === 'HALF_OPEN' || unanswered + broken >= failureThreshold) open(now)
      } else if (verdict === 'success') {
        if (state === 'CLOSED') {
          unanswered = 0
          broken = 0
        } else if (!wasAnswered) probeSucceeded()
      }
    },
  }

  return {
    enter(now) {
      if (state === 'CLOSED') return { ok: true, pass: new Issued(circuit, era) }
      if (state === 'OPEN') {
        if (now < openUntil) return wait((openUntil - now) / 1000)
        become('HALF_OPEN')
      }
      if (probe && now < probe.until) return wait(PROBE_RETRY_AFTER_SECONDS)
      const pass = new Issued(circuit, era)
      probe = { pass, until: now + probeMs }
      return { ok: true, pass }
    },
    state({ monotonicMs, epochSeconds }) {
      const waitMs = state === 'OPEN' ? Math.max(0, openUntil - monotonicMs) : 0
      return {
        // It turns half-open by itself; that nobody has come since is no reason to say otherwise.
        state: state === 'OPEN' && waitMs === 0 ? 'HALF_OPEN' : state,
        failureCount: unanswered + broken,
        successCount: succeeded,
        nextAttempt: waitMs === 0 ? 0 : Math.ceil(epochSeconds * 1000 + waitMs),
      }
    },
    reset() {
      era += 1
      close()
    },
  }
}

/** What a pass tells of. */
interface Circuit {
  /** A 2xx is here. */
  succeeded(pass: Issued): void
  ended(pass: Issued, verdict: Verdict, wasAnswered: boolean, now: number): void
}

class Issued implements Pass {
  readonly era: number
  readonly #circuit: Circuit
  #stage: 'sent' | 'answered' | 'over' = 'sent'

  constructor(circuit: Circuit, era: number) {
    this.#circuit = circuit
    this.era = era
  }

  answered(status: number, now: number): void {
    if (this.#stage !== 'sent') return
    const verdict = verdictOf(status)
    if (verdict !== 'success') return this.report(verdict, now)
    this.#stage = 'answered'
    this.#circuit.succeeded(this)
  }

  report(verdict: Verdict, now: number): void {
    if (this.#stage === 'over') return
    const wasAnswered = this.#stage === 'answered'
    this.#stage = 'over'
    this.#circuit.ended(this, verdict, wasAnswered, now)
  }
}

function verdictOf(status: number): Verdict {
  if (status >= 500) return 'failure'
  return status >= 200 && status < 300 ? 'success' : 'neutral'
}

function wait(seconds: number): Entry {
  return { ok: false, retryAfterSeconds: Math.max(1, Math.ceil(seconds)) }
}
