// Callers, one upstream and the breaker between them, in virtual time: nothing waits, and the same seed
// gives the same history.

import { type Breaker, breaker, type BreakerOptions } from '../../src/budget/breaker.ts'
import type { Random } from '../support/random.ts'

export interface Request {
  readonly caller: string
  readonly route: string
  readonly model: string | undefined
  /** By itself, whatever the upstream's health is. */
  readonly isBad: boolean
}

/** What the upstream does with it; `never` until somebody gives up. */
export type Reaction =
  | {
      readonly kind: 'status'
      readonly afterMs: number
      readonly status: number
      readonly breaks?: boolean
      readonly bodyMs?: number
    }
  | { readonly kind: 'unreachable' | 'reset'; readonly afterMs: number }
  | { readonly kind: 'never' }

export type Upstream = (request: Request, now: number) => Reaction

export interface Tally {
  asked: number
  answered: number
  refused: number
  failed: number
  /** Still waiting at the end. */
  waiting: number
}

const HEADERS_TIMEOUT_MS = 600_000
const CHECK_TIMEOUT_MS = 10_000

export class Simulation {
  now = 0
  readonly circuit: Breaker
  /** When the shared circuits opened and closed. */
  readonly changes: { at: number; state: string; of: string }[] = []
  readonly tallies = new Map<string, Tally>()
  /** That reached the upstream, by time. */
  readonly reached: number[] = []
  readonly refusals: { at: number; caller: string }[] = []
  readonly random: Random
  upstream: Upstream
  #queue: { at: number; order: number; run: () => void }[] = []
  #order = 0

  constructor(random: Random, upstream: Upstream, options: BreakerOptions = {}) {
    this.random = random
    this.upstream = upstream
    this.circuit = breaker({
      ...options,
      onChange: (state, of) => {
        if (of !== 'caller') this.changes.push({ at: this.now, state, of })
      },
    })
    this.every(1000, () => this.#watch())
  }

  at(at: number, run: () => void): void {
    const entry = { at, order: this.#order++, run }
    // A binary search keeps it in order of time, then of arrival.
    let [low, high] = [0, this.#queue.length]
    while (low < high) {
      const middle = (low + high) >> 1
      const each = this.#queue[middle]!
      if (each.at > entry.at || (each.at === entry.at && each.order > entry.order)) low = middle + 1
      else high = middle
    }
    this.#queue.splice(low, 0, entry)
  }

  every(ms: number, run: () => void, from = 0): void {
    const again = (): void => {
      run()
      this.at(this.now + ms, again)
    }
    this.at(from + ms, again)
  }

  runUntil(end: number): void {
    for (let next = this.#queue.pop(); next; next = this.#queue.pop()) {
      if (next.at > end) {
        this.at(next.at, next.run)
        break
      }
      this.now = next.at
      next.run()
    }
    this.now = end
  }

  tally(group: string): Tally {
    return this.tallies.getOrInsertComputed(group, () => ({
      asked: 0,
      answered: 0,
      refused: 0,
      failed: 0,
      waiting: 0,
    }))
  }

  /** One request; `done` when the caller has its answer, of whatever kind. */
  ask(group: string, request: Request, done: (answered: boolean) => void = () => {}): void {
    const tally = this.tally(group)
    tally.asked += 1
    const entry = this.circuit.enter({ ...request, host: '' }, this.now)
    if (!entry.ok) {
      tally.refused += 1
      this.refusals.push({ at: this.now, caller: request.caller })
      return done(false)
    }
    this.reached.push(this.now)
    tally.waiting += 1
    const { pass } = entry
    const reaction = this.upstream(request, this.now)
    const end = (answered: boolean): void => {
      tally.waiting -= 1
      tally[answered ? 'answered' : 'failed'] += 1
      done(answered)
    }
    if (reaction.kind === 'never') {
      this.at(this.now + HEADERS_TIMEOUT_MS, () => {
        pass.report('failure', this.now)
        end(false)
      })
      return
    }
    this.at(this.now + reaction.afterMs, () => {
      if (reaction.kind !== 'status') {
        pass.report(reaction.kind === 'reset' ? 'failure' : 'unreachable', this.now)
        return end(false)
      }
      const { status, breaks = false, bodyMs = 0 } = reaction
      pass.answered(status, this.now)
      this.at(this.now + bodyMs, () => {
        pass.report(status < 300 && !breaks ? 'success' : 'failure', this.now)
        end(status < 300 && !breaks)
      })
    })
  }

  /** Independent of what it is answered. */
  steadily(group: string, perSecond: number, make: () => Request, from = 0): void {
    const next = (): void => {
      this.ask(group, make())
      this.at(this.now + (-Math.log(1 - this.random.next()) * 1000) / perSecond, next)
    }
    this.at(from + (this.random.next() * 1000) / perSecond, next)
  }

  /** So many at once, each again as soon as it is answered, or `pauseMs` after. */
  atOnce(group: string, count: number, make: () => Request, pauseMs = 0, from = 0): void {
    for (let each = 0; each < count; each += 1) {
      const next = (): void => this.ask(group, make(), () => this.at(this.now + pauseMs + 1, next))
      this.at(from, next)
    }
  }

  #watch(): void {
    for (const host of this.circuit.doubtful(this.now)) {
      const askedAt = this.now
      const check = { caller: '', route: 'GET /v1/models', model: undefined, isBad: false }
      const reaction = this.upstream(check, askedAt)
      const isAlive = reaction.kind === 'status' && reaction.afterMs < CHECK_TIMEOUT_MS
      const afterMs =
        reaction.kind === 'never' ? CHECK_TIMEOUT_MS : Math.min(reaction.afterMs, CHECK_TIMEOUT_MS)
      this.at(askedAt + afterMs, () => this.circuit.checked(host, isAlive, askedAt, this.now))
    }
  }
}
