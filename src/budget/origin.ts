// One address of an upstream: who waits there, and whether it answers anybody. The rules are in
// breaker.ts.

import { type Placed, Unordered } from '../turn/unordered.ts'
import type { Circuit } from './circuit.ts'

export interface WaitingRequest extends Placed {
  readonly caller: string
  readonly sentAt: number
}

/** An upstream is slow if it takes this many times its recent average. */
const STALL_ANSWERS = 3

export class UpstreamOrigin {
  readonly circuit: Circuit
  /** Requests without an answer so far. */
  readonly waiting = new Unordered<WaitingRequest>()
  /** When it last answered anything, and how long its good answers take on average. */
  heardAt = Number.NEGATIVE_INFINITY
  meanMs = 0
  checkAt = 0
  /** Since when it answers nobody; undefined if it answers. */
  stalledAt: number | undefined
  /** When a connection was made last that was tried for that alone. */
  #reachedAt = Number.NEGATIVE_INFINITY

  constructor(circuit: Circuit) {
    this.circuit = circuit
  }

  seemsDead(stallMs: number, now: number): boolean {
    if (this.stalledAt !== undefined) return true
    const longMs = Math.max(stallMs, STALL_ANSWERS * this.meanMs)
    if (this.waiting.size < 2 || now - this.heardAt < longMs || !this.circuit.isClosed) return false
    const patient = this.waiting.all().filter(({ sentAt }) => now - sentAt >= longMs)
    return patient.some(({ caller }) => caller !== patient[0]?.caller)
  }

  /** Nobody could connect, and soon a request would be let through to find out whether that is over. */
  isDue(leadMs: number, now: number): boolean {
    const { circuit } = this
    if (circuit.isClosed || this.stalledAt !== undefined || now < this.checkAt) return false
    return circuit.waitMs(now) <= leadMs
  }

  /** A connection was made, or was not: what opened the circuit is over, or goes on. */
  wasReached(isReached: boolean, askedAt: number, now: number): void {
    if (this.circuit.isClosed || this.stalledAt !== undefined) return
    if (isReached) {
      this.#reachedAt = now
      this.circuit.reached()
    } else if (askedAt >= Math.max(this.#reachedAt, this.heardAt)) this.circuit.open(now)
  }

  isAlive(now: number): void {
    this.heardAt = now
    if (this.stalledAt === undefined) return
    this.stalledAt = undefined
    this.circuit.close()
  }

  isSilent(askedAt: number, now: number): void {
    if (this.heardAt >= askedAt) return
    // Opens again only if a probe was let through meanwhile, so that one gets through each time.
    if (this.stalledAt !== undefined && !this.circuit.isProbing) return
    this.stalledAt ??= now
    this.circuit.open(now)
  }
}
