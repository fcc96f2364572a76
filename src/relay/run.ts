// One running request, and what must happen exactly once when it ends, for any cause. It far outlives
// the request's body, so it keeps no part of it.

import type { Charge } from '../budget/charge.ts'
import type { Reserved } from '../budget/budget.ts'
import type { CircuitPermit, Verdict } from '../budget/pass.ts'
import type { End } from '../end.ts'
import type { Exchange } from '../exchange.ts'
import { type Refusal, refusalResponse, statusOf } from '../refusal.ts'
import type { Settle, SettleAttempt } from '../settle/settle.ts'
import type { Flight, ResponseBody } from '../http1/transport.ts'
import type { Kept, KeptAs } from '../upstream/reading/kept.ts'
import type { Bill } from '../settle/bill.ts'
import { type BatchResults, type MeteredUsage, NO_USAGE } from '../upstream/reading/tally.ts'
import type { UsageMeter } from '../upstream/upstream.ts'
import type { Placed, Unordered } from '../turn/unordered.ts'
import type { EndedAttempt, Ending, NextAttempt } from './again.ts'
import type { RelayClient } from './client.ts'
import { verdictOnError } from './error-event.ts'
import { type Passage, passage, type PassageEnd, type PassageEvents } from './passage.ts'

/** What was taken for this request, and is released or settled when it ends. */
export interface RequestHoldings {
  readonly reserved: Reserved
  readonly charge: Charge
}

/** How a request ends if its upstream gave no response to pass on. */
export interface Unanswered {
  readonly refusal: Refusal
  readonly end: End
  /** For the circuit breaker: was it the upstream's fault? */
  readonly verdict: Verdict
}

export type NoteKept = (id: string, exchange: Exchange, noted: KeptNote) => void

export interface KeptNote {
  readonly as: KeptAs | undefined
  /** What it may cost was charged when it was made. */
  readonly isCharged: boolean
}

/** Whether these results are read for the first time. */
export type IsFirstRead = (results: BatchResults, exchange: Exchange) => boolean

/** Who is told of what happens to a request. */
interface Recorders {
  readonly settle: Settle
  readonly settleAttempt: SettleAttempt
  readonly noteKept: NoteKept
  readonly isFirstRead: IsFirstRead
}

export class RunningRequest implements PassageEvents, Placed, Kept, Ending, EventListenerObject {
  place = -1
  /** Whether the upstream may bill this request; undefined until it has answered. */
  owed: boolean | undefined
  /** Why the request ends, if we are the cause. */
  cause: End | undefined
  flight: Flight
  /** Without its concurrency slot, nothing else may be sent for it. */
  hasSlot = true
  readonly #running: Unordered<RunningRequest>
  readonly #told: Recorders
  readonly #reserved: Reserved
  /** Of the attempt that runs. */
  #charge: Charge
  readonly #exchange: Exchange
  readonly #client: RelayClient
  #ended = false
  #listening = false
  #passing: Passage | undefined
  #meter: UsageMeter | undefined

  constructor(
    running: Unordered<RunningRequest>,
    told: Recorders,
    { reserved, charge }: RequestHoldings,
    exchange: Exchange,
    client: RelayClient,
    flight: Flight,
  ) {
    this.#running = running
    this.#told = told
    this.#reserved = reserved
    this.#charge = charge
    this.#exchange = exchange
    this.#client = client
    this.flight = flight
    running.add(this)
  }

  /**
   * From here on a client's abort is noticed at once. Not earlier: most responses arrive before a
   * client could leave, and listening costs a tenth of such a request.
   */
  listen(): void {
    if (this.#listening || this.#ended) return
    this.#listening = true
    const { signal } = this.#client
    // Never removed: the signal is collected with its request.
    signal.addEventListener('abort', this)
    if (signal.aborted) this.handleEvent()
  }

  get permit(): CircuitPermit {
    return this.#charge.pass
  }

  isOver(): boolean {
    return this.#ended || this.cause !== undefined
  }

  giveBack(verdict: Verdict): void {
    const { pass, reservation } = this.#charge
    pass.report(verdict, performance.now())
    if (!this.#isOwed) reservation?.release()
  }

  /** Another attempt takes the place of the one that has ended, which is settled. */
  replace({ outgoing, charge }: NextAttempt, ended: EndedAttempt, flight: Flight): void {
    this.flight.cancel()
    this.#told.settleAttempt(this.#exchange, ended, this.#billFor(undefined))
    this.#exchange.upstream = outgoing.upstream.name
    this.#charge = charge
    this.flight = flight
    this.owed = undefined
  }

  /** From here on the upstream's response is passed on. */
  pass(body: ResponseBody, meter: UsageMeter, now: number): Passage {
    this.#meter = meter
    this.#passing = passage(body, this, meter, now)
    return this.#passing
  }

  refuse({ refusal, end, verdict }: Unanswered): Response {
    const exchange = this.#exchange
    this.#client.release()
    exchange.status ??= statusOf(refusal)
    exchange.code = refusal.code
    if (refusal.reason !== undefined) exchange.reason = refusal.reason
    this.finish(end, verdict)
    return refusalResponse(refusal, exchange)
  }

  isOf(exchange: Exchange): boolean {
    return this.#exchange === exchange
  }

  abandon(): void {
    if (this.#ended) return
    this.#ended = true
    this.#running.delete(this)
    const { pass, reservation } = this.#charge
    pass.report('neutral', performance.now())
    // What was not read may be billed.
    const most = reservation?.amountMicroUsd ?? 0
    if (this.#isOwed) reservation?.settle(most, most)
    else reservation?.release()
    this.#client.release()
    this.#passing?.drop()
    this.flight.cancel()
  }

  break(end: End): void {
    this.cause ??= end
    this.flight.cancel()
    this.#passing?.cut()
  }

  check(now: number, idleMs: number): void {
    this.listen()
    const passing = this.#passing
    // It may still be answered; meanwhile it must not keep others from a healthy upstream.
    if (!passing && this.#charge.pass.isStuck) {
      this.hasSlot = false
      this.#reserved.release()
    }
    if (!passing || now - passing.movedAt < idleMs) return
    const { stalled } = passing
    this.break('timeout')
    if (!stalled) return
    this.finish('timeout', 'neutral')
    passing.reset()
  }

  finish(end: End, verdict: Verdict): void {
    if (this.#ended) return
    this.#ended = true
    this.#running.delete(this)
    const exchange = this.#exchange
    const passing = this.#passing
    if (passing) {
      const { bytes, firstByteAt } = passing
      exchange.bytesOut = bytes
      if (firstByteAt !== undefined) exchange.firstByteMs = firstByteAt - exchange.at.monotonicMs
    }
    const metered = this.#meter?.end(passing?.trailers ?? {}, passing?.complete ?? false)
    const results = metered?.resultsOf
    const isAgain = results !== undefined && !this.#told.isFirstRead(results, exchange)
    const usage = isAgain ? NO_USAGE : metered
    const failed = usage?.sawError
    if (failed !== undefined) exchange.reason ??= failed
    // A client leaves as soon as it has read the error event.
    const isFailed = failed !== undefined && (end === 'complete' || end === 'client_gone')
    this.#charge.pass.report(isFailed ? verdictOnError(failed) : verdict, performance.now())
    this.#reserved.release()
    this.#told.settle(exchange, isFailed ? 'upstream_error' : end, this.#billFor(usage))
  }

  get #isOwed(): boolean {
    return this.owed ?? this.flight.sent
  }

  #billFor(usage: MeteredUsage | undefined): Bill {
    const { reservation, atMost, maxTokens, answers } = this.#charge
    const isUnsent = this.owed === undefined && !this.flight.begun
    return { reservation, atMost, maxTokens, answers, usage, owed: this.#isOwed, isUnsent }
  }

  onEnd(end: PassageEnd): void {
    const client = this.#client
    if (end === 'complete') {
      client.release()
      return this.finish('complete', 'success')
    }
    const drained = this.cause === 'drained'
    this.finish(this.cause ?? 'upstream_error', drained ? 'neutral' : 'failure')
    client.breakOff(() => this.#passing?.reset(), drained)
  }

  keeps(id: string, as?: KeptAs): void {
    const isCharged = this.#charge.reservation !== undefined
    this.#told.noteKept(id, this.#exchange, { as, isCharged })
  }

  /** Of the client's abort. */
  handleEvent(): void {
    if (!this.#ended) this.onCancel()
  }

  /** The client has left. */
  onCancel(): void {
    this.cause ??= 'client_gone'
    // First: otherwise the cancelled flight would count as the upstream's failure.
    this.finish(this.cause, 'neutral')
    this.#client.release()
    this.#passing?.drop()
    this.flight.cancel()
  }
}
