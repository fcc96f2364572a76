// One lane of an upstream: the requests for one route and one model. What a 5xx, a reset, a late answer
// or a broken stream is evidence of depends on the body, so a lane goes by how many callers fail, never
// by how often one does. The rules are in breaker.ts.

import { Circuit, type CircuitRules, type CircuitState } from './circuit.ts'

/** A caller whose requests of this lane have failed. The others have no row. */
export interface CallerRow {
  /** Opens by the caller's own failures in a row, and shuts out nobody else. */
  readonly circuit: Circuit
  /** Is it in the present run of failures to answer, or of broken streams? */
  refused: boolean
  broke: boolean
  /** Does it count in that run? */
  witness: boolean
  /** Of its last failure: when its request went out, and when it failed. */
  sentAt: number
  failedAt: number
  /** Until then its failures are its own: others were answered while it failed. */
  distrustedUntil: number
  /** It has probed in vain: so often since the lane opened, and not again until then. */
  vain: number
  probesAgainAt: number
}

/** How long a caller that failed while others were answered bears no witness. */
const DISTRUST_MS = 600_000
/** An answer to a request that went out by so long after a failure contradicts it. */
const CONTRADICTS_MS = 10_000
/** Between the first probes of an opening; each new caller that fails doubles it. */
const FIRST_PACE_MS = 250
/** The slowest where nobody was answered lately: those who fail may all be one, under many names. */
const STRANGERS_PACE_MS = 1000
/** For so long a probe is kept for a caller that has a better claim to it. */
const FAIR_MS = 5000
/** In each of two tables, of which the older is dropped when the newer is full, or is this old. */
const MAX_ROWS = 256
const MAX_REGULARS = 1024
const TURN_MS = 600_000

export interface LaneRules {
  /** How many callers have to fail, and nobody be answered meanwhile, for it to open for all. */
  readonly witnesses: number
  readonly successThreshold: number
  readonly openMs: number
  /** Of each caller's own circuit. */
  readonly own: CircuitRules
  readonly onChange?: ((state: CircuitState) => void) | undefined
}

/**
 * When the next probe of some callers may go. A waiting caller with fewer vain probes has the better
 * claim, then one with more answers behind it: neither a name that was
 * minted for this nor the fastest asker takes it from the others.
 */
interface ProbePace {
  at: number
  ms: number
  /** The best claim among those that wait. */
  vain: number
  answers: number
}

export class Lane {
  readonly #rules: LaneRules
  #rows = new Map<string, CallerRow>()
  #formerRows = new Map<string, CallerRow>()
  #rowsTurnAt = 0
  /** Who was answered in the last ten minutes or so, and how often. */
  #regulars = new Map<string, number>()
  #formerRegulars = new Map<string, number>()
  #regularsTurnAt = 0
  /** The callers in the present runs. */
  #refused: CallerRow[] = []
  #broke: CallerRow[] = []
  #witnesses = 0
  #opened = false
  #openedAt = 0
  /** When it opened, nobody had been answered lately. */
  #knewNobody = false
  #successes = 0
  /** Callers that failed wait so long. */
  #openUntil = 0
  /** Regulars and strangers probe apart, so that minted names take no turn of theirs. */
  readonly #regularPace: ProbePace = { at: 0, ms: FIRST_PACE_MS, vain: Infinity, answers: 0 }
  readonly #strangerPace: ProbePace = { at: 0, ms: FIRST_PACE_MS, vain: Infinity, answers: 0 }

  constructor(rules: LaneRules) {
    this.#rules = rules
  }

  get isOpen(): boolean {
    return this.#opened
  }

  row(caller: string): CallerRow | undefined {
    if (this.#rows.size === 0 && this.#formerRows.size === 0) return undefined
    return this.#rows.get(caller) ?? this.#formerRows.get(caller)
  }

  /** Until a request of this caller's may go, by what the lane has seen; 0 where one may. */
  waitMs(caller: string, row: CallerRow | undefined, now: number): number {
    if (!this.#opened) return 0
    const answers = this.#answersOf(caller)
    const isRegular = answers > 0
    const pace = isRegular ? this.#regularPace : this.#strangerPace
    const offends = row && (row.refused || row.broke || now < row.distrustedUntil)
    const from = isRegular && !offends ? 0 : Math.max(this.#openUntil, row?.probesAgainAt ?? 0)
    const vain = row?.vain ?? 0
    const isOutdone = vain > pace.vain || (vain === pace.vain && 2 * answers < pace.answers)
    const until = Math.max(from, isOutdone ? pace.at + FAIR_MS : pace.at)
    if (until <= now) return 0
    if (from <= Math.max(pace.at, now) && vain <= pace.vain) {
      pace.answers = vain < pace.vain ? answers : Math.max(pace.answers, answers)
      pace.vain = vain
    }
    return until - now
  }

  /** A request for which `waitMs` was 0 goes. */
  enter(caller: string, now: number): void {
    if (!this.#opened) return
    const pace = this.#answersOf(caller) > 0 ? this.#regularPace : this.#strangerPace
    pace.at = now + pace.ms
    pace.vain = Infinity
    pace.answers = 0
  }

  /** A 2xx is here, to a request that went out at `sentAt`. */
  answered(caller: string, sentAt: number, now: number): void {
    this.#remember(caller, now)
    // Where streams broke, their headers prove nothing.
    if (this.#opened && this.#broke.length === 0) this.#probed(sentAt)
    // Whenever it went out: the upstream was answering while others failed.
    else if (!this.#opened && this.#refused.length > 0) {
      // But for a caller whose own circuit is still trying it: that is what an operator sees.
      const own = this.row(caller)
      const ends = (row: CallerRow): boolean => row !== own || row.circuit.isClosed
      this.#refused = this.#forget('refused', sentAt, ends)
    }
  }

  /** A body has ended well. Streams that were begun later may break all the same. */
  completed(sentAt: number): void {
    if (this.#broke.length === 0) return
    if (this.#opened) {
      if (sentAt >= this.#openedAt) this.#probed(sentAt)
      return
    }
    this.#broke = this.#forget('broke', sentAt, (row) => row.sentAt <= sentAt)
  }

  /** Returns the caller's row. */
  failed(caller: string, wasAnswered: boolean, sentAt: number, now: number): CallerRow {
    const row = this.#rowFor(caller, now)
    row.sentAt = sentAt
    row.failedAt = now
    if (this.#opened) {
      row.probesAgainAt = now + this.#rules.openMs
      if (sentAt >= this.#openedAt) row.vain += 1
    }
    const isNew = !row.refused && !row.broke
    this.#join(row, wasAnswered ? 'broke' : 'refused')
    if (!isNew || now < row.distrustedUntil || this.#answersOf(caller) === 0) return row
    row.witness = true
    this.#witnesses += 1
    const pace = this.#regularPace
    const slowest = this.#knowsNobody ? STRANGERS_PACE_MS : this.#rules.openMs
    if (this.#opened) pace.ms = Math.min(2 * pace.ms, slowest)
    else if (this.#witnesses >= this.#rules.witnesses) this.#open(now)
    return row
  }

  /**
   * What an operator should know of: the lane itself, or the circuit of a caller since whose failures
   * nobody has been answered here.
   */
  report(now: number): { state: CircuitState; failures: number; successes: number; until: number } {
    const running = [...new Set([...this.#refused, ...this.#broke])]
    const failures = Math.max(running.length, ...running.map(({ circuit }) => circuit.failures))
    if (this.#opened) {
      const state = now < this.#openUntil ? 'OPEN' : 'HALF_OPEN'
      return { state, failures, successes: this.#successes, until: this.#openUntil }
    }
    const worst = running.find(({ circuit }) => !circuit.isClosed)?.circuit
    const state = worst?.stateAt(now) ?? 'CLOSED'
    const until = worst && state === 'OPEN' ? now + worst.waitMs(now) : 0
    return { state, failures, successes: worst?.successes ?? 0, until }
  }

  #open(now: number): void {
    this.#knewNobody = this.#knowsNobody
    this.#opened = true
    this.#openedAt = now
    this.#openUntil = now + this.#rules.openMs
    for (const row of [...this.#refused, ...this.#broke]) row.vain = 0
    // Regulars at once: where callers of bad bodies have opened it, the first of the others mends it.
    this.#setPaces(now)
    this.#rules.onChange?.('OPEN')
  }

  #probed(sentAt: number): void {
    this.#successes += 1
    this.#setPaces(0)
    if (this.#successes < this.#rules.successThreshold) return
    this.#opened = false
    this.#successes = 0
    this.#refused = this.#forget('refused', sentAt)
    this.#broke = this.#forget('broke', sentAt)
    this.#rules.onChange?.('CLOSED')
  }

  #setPaces(at: number): void {
    for (const pace of [this.#regularPace, this.#strangerPace]) {
      pace.at = at
      pace.ms = FIRST_PACE_MS
      pace.vain = Infinity
      pace.answers = 0
    }
  }

  #join(row: CallerRow, run: 'refused' | 'broke'): void {
    if (row[run]) return
    const rows = run === 'refused' ? this.#refused : this.#broke
    if (rows.length >= 2 * MAX_ROWS) return
    row[run] = true
    rows.push(row)
  }

  /** A run, or a part of it, has ended. Who failed while others were answered fails by themselves. */
  #forget(
    run: 'refused' | 'broke',
    sentAt: number,
    ends: (row: CallerRow) => boolean = () => true,
  ): CallerRow[] {
    const left: CallerRow[] = []
    for (const row of run === 'refused' ? this.#refused : this.#broke) {
      if (!ends(row)) {
        left.push(row)
        continue
      }
      row[run] = false
      if (sentAt <= row.failedAt + CONTRADICTS_MS) row.distrustedUntil = row.failedAt + DISTRUST_MS
      if (row.refused || row.broke || !row.witness) continue
      row.witness = false
      this.#witnesses -= 1
    }
    return left
  }

  get #knowsNobody(): boolean {
    if (this.#opened) return this.#knewNobody
    return this.#regulars.size === 0 && this.#formerRegulars.size === 0
  }

  /** Lately, and a little more than none for all where nobody was answered. */
  #answersOf(caller: string): number {
    const least = this.#knowsNobody ? 1 : 0
    return least + (this.#regulars.get(caller) ?? 0) + (this.#formerRegulars.get(caller) ?? 0)
  }

  #remember(caller: string, now: number): void {
    if (now >= this.#regularsTurnAt || this.#regulars.size >= MAX_REGULARS) {
      this.#formerRegulars = now >= this.#regularsTurnAt + TURN_MS ? new Map() : this.#regulars
      this.#regulars = new Map()
      this.#regularsTurnAt = now + TURN_MS
    }
    this.#regulars.set(caller, (this.#regulars.get(caller) ?? 0) + 1)
  }

  #rowFor(caller: string, now: number): CallerRow {
    if (now >= this.#rowsTurnAt || this.#rows.size >= MAX_ROWS) {
      this.#formerRows = this.#rows
      this.#rows = new Map()
      this.#rowsTurnAt = now + TURN_MS
    }
    const known = this.#rows.get(caller)
    if (known) return known
    const row = this.#formerRows.get(caller) ?? {
      circuit: new Circuit(this.#rules.own),
      refused: false,
      broke: false,
      witness: false,
      sentAt: 0,
      failedAt: 0,
      distrustedUntil: 0,
      vain: 0,
      probesAgainAt: 0,
    }
    this.#rows.set(caller, row)
    return row
  }
}
