// One request's permit: it reports the request's outcome to the circuits it passed.

import type { Lane } from './lane.ts'
import type { UpstreamOrigin, WaitingRequest } from './origin.ts'

/**
 * `unreachable`: no connection. `failure`: a connection without a response, none in time, or a body
 * that broke or stalled by the upstream's fault. `neutral`: says nothing about the upstream's
 * health.
 */
export type Verdict = 'success' | 'failure' | 'unreachable' | 'neutral'

/**
 * A request's permission to go upstream. Every way a request can end has to report exactly once;
 * further reports do nothing.
 */
export interface CircuitPermit {
  /** The request waits at an upstream that answers nobody. */
  readonly isStuck: boolean
  /**
   * The upstream's headers have arrived. Any status but a 2xx is a verdict, and final.
   * `isOverload`: the error says that the upstream is healthy and overloaded.
   */
  answered(status: number, now: number, isOverload?: boolean): void
  /** The request has ended. */
  report(verdict: Verdict, now: number): void
}

/** The weight of the latest answer in the average. */
const MEAN_WEIGHT = 0.1

export class IssuedPass implements CircuitPermit, WaitingRequest {
  place = -1
  readonly caller: string
  readonly sentAt: number
  readonly #origin: UpstreamOrigin
  readonly #lane: Lane
  readonly #originEra: number
  /** The era of the caller's own circuit, if it had one by then. */
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

  /** Any answer shows that the upstream is alive. */
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
