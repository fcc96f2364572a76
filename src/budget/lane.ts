// One lane of an upstream: the requests for one route and one model. What a 5xx, a reset, a late
// response or a broken stream is evidence of depends on the body, so a lane goes by how many callers
// fail, never by how often one fails. The rules are in breaker.ts.

import { Circuit, type CircuitRules, type CircuitState } from './circuit.ts'

/** A caller whose requests in this lane have failed. Other callers have no row. */
export interface CallerRow {
  /** Opened by the caller's own failures in a row; shuts out nobody else. */
  readonly circuit: Circuit
  /** Whether it is in the present run of failures to answer, or of broken streams. */
  refused: boolean
  broke: boolean
  /** Whether it counts in that run. */
  witness: boolean
  /** Its last failure: when the request went out, and when it failed. */
  sentAt: number
  failedAt: number
  /** Until then its failures count against it alone: others were answered while it failed. */
  distrustedUntil: number
  /** How many probes failed since the lane opened, and when it may probe again. */
  vain: number
  probesAgainAt: number
}

/** How long a caller that failed while others were answered is not counted. */
const DISTRUST_MS = 600_000
/** An answer contradicts a failure if its request went out up to this long after it. */
const CONTRADICTS_MS = 10_000
/** The interval of the first probes after opening; each new caller that fails doubles it. */
const FIRST_PACE_MS = 250
/**
 * The longest interval if nobody was answered lately: the callers that fail may be one, under many
 * names.
 */
const STRANGERS_PACE_MS = 1000
/** How long a probe is reserved for a caller with a better claim. */
const FAIR_MS = 5000
/** The size of each of two tables; the older is dropped when the newer is full or this old. */
const MAX_ROWS = 256
const MAX_REGULARS = 1024
const TURN_MS = 600_000

export interface LaneRules {
  /**
   * How many callers have to fail, with nobody answered meanwhile, to open the lane for everybody.
   */
  readonly witnesses: number
  readonly successThreshold: number
  readonly openMs: number
  /** The rules of each caller's own circuit. */
  readonly own: CircuitRules
  readonly onChange?: ((state: CircuitState) => void) | undefined
}

/**
 * When the next probe of a group of callers may go. A waiting caller with fewer failed probes has
 * the better claim, then one with more answers behind it: neither a name minted for this nor the
 * fastest caller can take the probe from others.
 */
interface ProbePace {
  at: number
  ms: number
  /** The best claim among the waiting callers. */
  vain: number
  answers: number
}

export class Lane {
  readonly #rules: LaneRules
  #rows = new Map<string, CallerRow>()
  #formerRows = new Map<string, CallerRow>()
  #rowsTurnAt = 0
  /** Who was answered in about the last ten minutes, and how often. */
  #regulars = new Map<string, number>()
  #formerRegulars = new Map<string, number>()
  #regularsTurnAt = 0
  /** The callers in the present runs. */
  #refused: CallerRow[] = []
  #broke: CallerRow[] = []
  #witnesses = 0
  #opened = false
  #openedAt = 0
  /** Whether nobody had been answered lately when it opened. */
  #hadNoRegulars = false
  #successes = 0
  /** Callers that failed wait until then. */
  #openUntil = 0
  /** Regulars and strangers probe separately, so that minted names take no turn from regulars. */
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

  /** How long until this caller's request may go, by what the lane has seen; 0 if it may go now. */
  waitMs(caller: string, row: CallerRow | undefined, now: number): number {
    if (!this.#opened) return 0
    const answers = this.#answersOf(caller)
    const isRegular = answers > 0
    const pace = isRegular ? this.#regularPace : this.#strangerPace
    const isSuspect = row && (row.refused || row.broke || now < row.distrustedUntil)
    const from = isRegular && !isSuspect ? 0 : Math.max(this.#openUntil, row?.probesAgainAt ?? 0)
    const vain = row?.vain ?? 0
    const hasLesserClaim = vain > pace.vain || (vain === pace.vain && 2 * answers < pace.answers)
    const until = Math.max(from, hasLesserClaim ? pace.at + FAIR_MS : pace.at)
    if (until <= now) return 0
    if (from <= Math.max(pace.at, now) && vain <= pace.vain) {
      pace.answers = vain < pace.vain ? answers : Math.max(pace.answers, answers)
      pace.vain = vain
    }
    return until - now
  }

  /** Lets a request go for which `waitMs` was 0. */
  enter(caller: string, now: number): void {
    if (!this.#opened) return
    const pace = this.#answersOf(caller) > 0 ? this.#regularPace : this.#strangerPace
    pace.at = now + pace.ms
    pace.vain = Infinity
    pace.answers = 0
  }

  /** A 2xx arrived, for a request that went out at `sentAt`. */
  answered(caller: string, sentAt: number, now: number): void {
    this.#remember(caller, now)
    // After broken streams, headers prove nothing.
    if (this.#opened && this.#broke.length === 0) this.#probed(sentAt)
    // Whenever it went out: the upstream was answering while others failed.
    else if (!this.#opened && this.#refused.length > 0) {
      // Except for a caller whose own circuit is still probing: an operator should see that.
      const own = this.row(caller)
      const ends = (row: CallerRow): boolean => row !== own || row.circuit.isClosed
      this.#refused = this.#forget('refused', sentAt, ends)
    }
  }

  /** A body has ended well. Streams that began later may still break. */
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
    const slowest = this.#hasNoRegulars ? STRANGERS_PACE_MS : this.#rules.openMs
    if (this.#opened) pace.ms = Math.min(2 * pace.ms, slowest)
    else if (this.#witnesses >= this.#rules.witnesses) this.#open(now)
    return row
  }

  /**
   * What an operator should see: the lane itself, or the circuit of a caller since whose failures
   * nobody was answered here.
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
    this.#hadNoRegulars = this.#hasNoRegulars
    this.#opened = true
    this.#openedAt = now
    this.#openUntil = now + this.#rules.openMs
    for (const row of [...this.#refused, ...this.#broke]) row.vain = 0
    // Regulars probe at once: if bad bodies opened the lane, the first other regular closes it
    // again.
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

  /**
   * Ends a run, or a part of it. A caller that failed while others were answered failed by its own
   * doing.
   */
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

  get #hasNoRegulars(): boolean {
    if (this.#opened) return this.#hadNoRegulars
    return this.#regulars.size === 0 && this.#formerRegulars.size === 0
  }

  /** How often the caller was answered lately; counts as once for everybody if nobody was. */
  #answersOf(caller: string): number {
    const least = this.#hasNoRegulars ? 1 : 0
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
