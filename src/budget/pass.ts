// What one request does to the circuits that it passed: its own report, and nobody else's.

import type { Lane } from './lane.ts'
import type { UpstreamOrigin, WaitingRequest } from './origin.ts'

/**
 * `unreachable`: no connection. `failure`: a connection without an answer, none in time, or a body
 * that broke or stood still by the upstream's fault. `neutral`: what says nothing of its health.
 */
export type Verdict = 'success' | 'failure' | 'unreachable' | 'neutral'

/** One request's leave to go upstream. Every way out of it has to report, once; more do nothing. */
export interface CircuitPermit {
  /** It waits at an upstream that answers nobody. */
  readonly isStuck: boolean
  /**
   * The upstream's headers are here. Any status but a 2xx is a verdict, and the last word.
   * `isOverload`: its error says that it is well, and has too much to do.
   */
  answered(status: number, now: number, isOverload?: boolean): void
  /** It is over. */
  report(verdict: Verdict, now: number): void
}

/** What the last answer weighs in that average. */
const MEAN_WEIGHT = 0.1

export class IssuedPass implements CircuitPermit, WaitingRequest {
  place = -1
  readonly caller: string
  readonly sentAt: number
  readonly #origin: UpstreamOrigin
  readonly #lane: Lane
  readonly #originEra: number
  /** Of the caller's own circuit, where it has one by then. */
  readonly #ownEra: number
  #stage: 'sent' | 'answered' | 'over' = 'sent'

  constructor(origin: UpstreamOrigin, lane: Lane, caller: string, ownEra: number, now: number) {
    this.#origin = origin
    this.#lane = lane
    this.#originEra = origin.circuit.era
    this.#ownEra = ownEra
    this.caller = caller
    this.sentAt = now
  }

  get isStuck(): boolean {
    return this.#stage === 'sent' && this.#origin.stalledAt !== undefined
  }

  answered(status: number, now: number, isOverload = false): void {
    if (this.#stage !== 'sent') return
    this.#heard(now)
    const verdict = verdictOf(status, isOverload)
    if (verdict !== 'success') {
      this.#stage = 'over'
      return verdict === 'failure' ? this.#failed(false, now) : this.#left()
    }
    this.#stage = 'answered'
    const origin = this.#origin
    origin.meanMs += MEAN_WEIGHT * (now - this.sentAt - origin.meanMs)
    this.#lane.row(this.caller)?.circuit.answered(this, this.#ownEra)
    this.#lane.answered(this.caller, this.sentAt, now)
  }

  report(verdict: Verdict, now: number): void {
    if (this.#stage === 'over') return
    const wasAnswered = this.#stage === 'answered'
    this.#stage = 'over'
    this.#origin.waiting.delete(this)
    if (verdict === 'unreachable') {
      this.#origin.circuit.failed(this, this.#originEra, false, now)
      return this.#left()
    }
    if (!wasAnswered) this.#origin.circuit.left(this, this.#originEra)
    if (verdict === 'failure') this.#failed(wasAnswered, now)
    else if (verdict === 'success' && wasAnswered) this.#completed()
    else this.#left()
  }

  /** Whatever it says, something answers there. */
  #heard(now: number): void {
    const origin = this.#origin
    origin.waiting.delete(this)
    origin.isAlive(now)
    origin.circuit.answered(this, this.#originEra)
  }

  #failed(wasAnswered: boolean, now: number): void {
    const { circuit } = this.#lane.failed(this.caller, wasAnswered, this.sentAt, now)
    circuit.failed(this, this.#ownEra, wasAnswered, now)
  }

  #completed(): void {
    this.#lane.completed(this.sentAt)
    this.#lane.row(this.caller)?.circuit.completed(this, this.#ownEra)
  }

  #left(): void {
    this.#lane.row(this.caller)?.circuit.left(this, this.#ownEra)
  }
}

function verdictOf(status: number, isOverload: boolean): 'success' | 'failure' | 'neutral' {
  if (status >= 200 && status < 300) return 'success'
  return status < 500 || status === 529 || isOverload ? 'neutral' : 'failure'
}
