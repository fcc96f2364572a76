// One circuit: after a run of failures it lets nothing through for a while, then one request at a time
// as a probe, and closes when enough probes went well. Pure but for its own few numbers; `now` is
// monotonic milliseconds and an argument. It does not know what a failure is evidence of: breaker.ts
// keeps one for each origin and one for each caller whose requests fail.
//
// When is a request a success? Two moments count, because either alone misleads:
//
// - The headers of a 2xx end a run of failures to answer, and are what a probe succeeds by. A stream
//   may run for ten minutes; were its end awaited, an upstream that has recovered would stay shut
//   behind two of them.
// - Only a body's end ends a run of streams that broke midway. Were headers enough for that, an
//   upstream that answers 200 and then dies, every time, would never open the circuit.
//
// Both runs together make the count that opens it.

/** How the states are spelled at `GET /admin/circuit-breaker`. */
export type CircuitState = 'CLOSED' | 'OPEN' | 'HALF_OPEN'

export interface CircuitRules {
  /** How many failures in a row open it. */
  readonly failureThreshold: number
  /** How many probes have to succeed to close it. */
  readonly successThreshold: number
  /** How long it refuses at first, and at the most; each probe that fails doubles the time. */
  readonly firstOpenMs: number
  readonly openMs: number
  /**
   * After this a probe that has not reported gives up its place, so that a slow or lost one locks
   * nobody out. Two probes may then be under way, and the verdicts of both count.
   */
  readonly probeMs: number
  /** Called in the middle of things: it must not throw, or call back. */
  readonly onChange?: ((state: CircuitState) => void) | undefined
}

/** While a probe is out. Claude Code asks ten times and then gives up; a second would spend them. */
const PROBE_RETRY_MS = 5000

export class Circuit {
  /**
   * Counts openings and resets. A request of an earlier time reports on an upstream that was, and is
   * not heard. Closing keeps it: a probe whose stream breaks after that still tells of the present.
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

  /** The present run; it is kept until the circuit closes. */
  get failures(): number {
    return this.#unanswered + this.#broken
  }

  get isClosed(): boolean {
    return this.#state === 'CLOSED'
  }

  /** A request has been let through to try it. */
  get isProbing(): boolean {
    return this.#state === 'HALF_OPEN'
  }

  /** It turns half-open by itself; that nobody has come since is no reason to say otherwise. */
  stateAt(now: number): CircuitState {
    return this.#state === 'OPEN' && now >= this.#openUntil ? 'HALF_OPEN' : this.#state
  }

  /** Until a request may go; 0 where one may. Nothing is taken yet. */
  waitMs(now: number): number {
    if (this.#state === 'CLOSED') return 0
    if (now < this.#openUntil) return this.#openUntil - now
    return this.#probe && now < this.#probeUntil ? PROBE_RETRY_MS : 0
  }

  /** A request goes, for which `waitMs` was 0: as the probe, where there has to be one. */
  enter(request: object, now: number): void {
    if (this.#state === 'CLOSED') return
    this.#become('HALF_OPEN')
    this.#probe = request
    this.#probeUntil = now + this.#rules.probeMs
  }

  /** The headers of a good answer are here. */
  answered(request: object, era: number): void {
    if (!this.#hears(request, era)) return
    if (this.#state !== 'HALF_OPEN') this.#unanswered = 0
    else if (++this.successes >= this.#rules.successThreshold) this.close()
  }

  /** And its body has ended well. */
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

  /** It is over, and says nothing: a probe gives its place back. */
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

  /** A probe that has said something gives up its place. */
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
