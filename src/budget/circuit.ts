// One circuit: after a run of failures it lets nothing through for a while, then one request at a time
// as a probe, and closes after enough successful probes. Pure except for its few numbers; `now` is
// monotonic milliseconds, an argument. It does not know what a failure is evidence of: breaker.ts
// keeps one circuit for each origin and one for each caller whose requests fail.
//
// When is a request a success? Two moments count, because either alone misleads:
//
// - The headers of a 2xx end a run of failures to answer, and make a probe succeed. A stream may run for
//   ten minutes; if its end were awaited, a recovered upstream would stay shut behind two of them.
// - Only a body's end ends a run of streams that broke midway. If headers were enough for that, an
//   upstream that answers 200 and then always dies would never open the circuit.
//
// Both runs together make the count that opens it.

/** The states as `GET /admin/circuit-breaker` spells them. */
export type CircuitState = 'CLOSED' | 'OPEN' | 'HALF_OPEN'

export interface CircuitRules {
  /** How many failures in a row open it. */
  readonly failureThreshold: number
  /** How many probes have to succeed to close it. */
  readonly successThreshold: number
  /** How long it refuses at first, and at most; each failed probe doubles the time. */
  readonly firstOpenMs: number
  readonly openMs: number
  /**
   * After this time a probe that has not reported loses its slot, so that a slow or lost probe
   * locks nobody out. Two probes may then run, and the verdicts of both count.
   */
  readonly probeMs: number
  /** Called in the middle of a change: it must not throw or call back. */
  readonly onChange?: ((state: CircuitState) => void) | undefined
}

/**
 * The wait while a probe runs. Claude Code retries ten times and then gives up; one second would
 * use those up.
 */
const PROBE_RETRY_MS = 5000

export class Circuit {
  /**
   * Counts openings and resets. A request of an earlier era reports on an upstream as it was, and
   * is ignored. Closing keeps the era: a probe whose stream breaks afterwards still reports on the
   * present.
   */
  era = 0
  successes = 0
  readonly #rules: CircuitRules
  #state: CircuitState = 'CLOSED'
  #unanswered = 0
  #broken = 0
  #openUntil = 0
  #pauseMs: number
  #probe: object | undefined
  #probeUntil = 0

  constructor(rules: CircuitRules) {
    this.#rules = rules
    this.#pauseMs = rules.firstOpenMs
  }

  /** The failures of the present run, kept until the circuit closes. */
  get failures(): number {
    return this.#unanswered + this.#broken
  }

  get isClosed(): boolean {
    return this.#state === 'CLOSED'
  }

  /** A probe was let through. */
  get isProbing(): boolean {
    return this.#state === 'HALF_OPEN'
  }

  /** An open circuit turns half-open by itself, even if nobody has come since. */
  stateAt(now: number): CircuitState {
    return this.#state === 'OPEN' && now >= this.#openUntil ? 'HALF_OPEN' : this.#state
  }

  /** How long until a request may go; 0 if one may go now. Takes nothing. */
  waitMs(now: number): number {
    if (this.#state === 'CLOSED') return 0
    if (now < this.#openUntil) return this.#openUntil - now
    return this.#probe && now < this.#probeUntil ? PROBE_RETRY_MS : 0
  }

  /** Lets a request go for which `waitMs` was 0, as the probe if one is needed. */
  enter(request: object, now: number): void {
    if (this.#state === 'CLOSED') return
    this.#become('HALF_OPEN')
    this.#probe = request
    this.#probeUntil = now + this.#rules.probeMs
  }

  /** The headers of a successful response have arrived. */
  answered(request: object, era: number): void {
    if (!this.#hears(request, era)) return
    if (this.#state !== 'HALF_OPEN') this.#unanswered = 0
    else if (++this.successes >= this.#rules.successThreshold) this.close()
  }

  /** It was reached without a request of anybody's, which counts as a probe that succeeded. */
  reached(): void {
    if (this.#state === 'CLOSED') return
    this.#become('HALF_OPEN')
    if (++this.successes >= this.#rules.successThreshold) this.close()
  }

  /** Its body has ended well. */
  completed(request: object, era: number): void {
    if (!this.#hears(request, era) || this.#state !== 'CLOSED') return
    this.#unanswered = 0
    this.#broken = 0
  }

  failed(request: object, era: number, wasAnswered: boolean, now: number): void {
    if (!this.#hears(request, era)) return
    if (wasAnswered) this.#broken += 1
    else this.#unanswered += 1
    const again = this.#state === 'HALF_OPEN'
    if (!again && this.failures < this.#rules.failureThreshold) return
    if (again) this.#pauseMs = Math.min(2 * this.#pauseMs, this.#rules.openMs)
    this.open(now)
  }

  /** The request ended and says nothing: a probe gives its slot back. */
  left(request: object, era: number): void {
    this.#hears(request, era)
  }

  open(now: number): void {
    this.era += 1
    this.successes = 0
    this.#probe = undefined
    this.#openUntil = now + this.#pauseMs
    this.#become('OPEN')
  }

  close(): void {
    this.#unanswered = 0
    this.#broken = 0
    this.successes = 0
    this.#pauseMs = this.#rules.firstOpenMs
    this.#become('CLOSED')
  }

  /** A probe that has reported gives up its slot. */
  #hears(request: object, era: number): boolean {
    if (era !== this.era) return false
    if (this.#probe === request) this.#probe = undefined
    return true
  }

  #become(next: CircuitState): void {
    if (this.#state === next) return
    this.#state = next
    this.#rules.onChange?.(next)
  }
}
