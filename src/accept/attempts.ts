// The attempts of one request that several upstreams may answer: which one comes next, and what goes out
// to it. Each attempt is inspected, dispatched and charged by itself, under the one slot and rate of the
// request. When there is another one at all, dispatch/plan.ts says.

import type { Charge } from '../budget/charge.ts'
import { retryAfterMs, type Waits } from '../budget/waits.ts'
import type { Permitted } from '../dispatch/bodies.ts'
import type { PickByModel } from '../dispatch/by-model.ts'
import { isByModel, type Served } from '../dispatch/choose.ts'
import type { Dispatch, Incoming, Outgoing } from '../dispatch/dispatch.ts'
import type { RunningAt } from '../dispatch/load.ts'
import { makesLasting } from '../dispatch/made-once.ts'
import { type FallbackPlan, inOrder, mayTryAgain } from '../dispatch/plan.ts'
import type { Exchange } from '../exchange.ts'
import type { FallbackCause, RouteGroup } from '../names.ts'
import { allows, bounded } from '../policy/allows.ts'
import { type Decision, granted, type Refusal } from '../refusal.ts'
import type { Again, EndedAttempt, Ending, NextAttempt } from '../relay/again.ts'
import { instant } from '../turn/instant.ts'
import type { Inspected } from '../upstream/inspected.ts'
import { bodyModel } from '../upstream/reading/body-model.ts'
import { type ChargeFor, modelAsked } from './charging.ts'
import { UPSTREAM_HEADER } from './cors.ts'
import type { PickedUpstream } from './picked.ts'
import type { RouteFacts } from './route-facts.ts'

export interface AttemptParts {
  readonly dispatch: Dispatch
  readonly pickByModel: PickByModel
  readonly chargeFor: ChargeFor
  readonly waits: Waits
}

/** What is the same for every attempt. */
export interface AttemptedRequest {
  readonly plan: FallbackPlan
  readonly permitted: Permitted
  readonly facts: RouteFacts
  readonly group: RouteGroup | undefined
  readonly incoming: Omit<Incoming, 'upstream' | 'held'>
  /** The first upstream, and those that it was picked from. */
  readonly picked: PickedUpstream
  /** Where it is counted, if requests are spread. */
  readonly place: RunningAt | undefined
  readonly exchange: Exchange
}

/** The one that gives no answer, or nothing where none was sent. */
interface Before extends Pick<Ending, 'isOver'> {
  giveBack(): void
}
const NOTHING_SENT: Before = { isOver: () => false, giveBack: () => undefined }

export class FallbackAttempts implements Again {
  readonly #parts: AttemptParts
  readonly #request: AttemptedRequest
  /** In order; those that were asked or passed over are gone. */
  readonly #left: Served[]
  /** Undefined until it is read. */
  #held: PickedUpstream['held']
  #made = 0
  /** Of the attempt that runs. */
  #on: Served
  /** The caller's own claim. */
  #model: string | undefined
  /** Monotonic: when the earliest pause that an upstream asked for ends. */
  #soonestMs = Number.POSITIVE_INFINITY

  constructor(parts: AttemptParts, request: AttemptedRequest) {
    this.#parts = parts
    this.#request = request
    const { plan, picked, exchange } = request
    this.#held = picked.held
    this.#on = picked.on
    const draw = Bun.hash.crc32(exchange.requestId) / 2 ** 32
    this.#left = inOrder(plan, picked.on.upstream.name, draw).flatMap(
      (name) => picked.among.find(({ upstream }) => upstream.name === name) ?? [],
    )
  }

  /**
   * The first upstream is passed over if its circuit is open or it asked for a pause, and another one
   * takes the request.
   */
  async first(): Promise<Decision<NextAttempt>> {
    const { picked } = this.#request
    const { on } = picked
    const outgoing = await this.#dispatch(on, picked.inspected)
    if (!outgoing.ok) return outgoing
    const { call, asked, costly } = outgoing.value
    // A body that passes as it comes can be sent once.
    if (call.body instanceof Uint8Array) this.#held = granted(call.body)
    else this.#left.length = 0
    this.#model = modelAsked(asked, call, costly)
    if (this.#waitMs(on) > 0 && this.#may('overloaded')) {
      const instead = await this.#next(NOTHING_SENT)
      if (instead?.ok) return this.#passingOver(on, instead)
    }
    const charge = this.#charge(on, outgoing.value)
    if (charge.ok) return granted(this.#begin(on, outgoing.value, charge.value))
    if (charge.code !== 'circuit_open' || !this.#may('open')) return charge
    const instead = await this.#next(NOTHING_SENT, charge)
    return instead?.ok ? this.#passingOver(on, instead) : (instead ?? charge)
  }

  async next(ended: EndedAttempt, ending: Ending): Promise<NextAttempt | undefined> {
    const now = instant()
    if (ended.cause === 'overloaded') {
      this.#parts.waits.note(this.#on.upstream, this.#modelRead(), ended.headers, now)
      this.#sooner(now.monotonicMs + retryAfterMs(ended.headers, now), now.monotonicMs)
    }
    if (!this.#may(ended.cause)) return undefined
    const next = await this.#next({
      isOver: () => ending.isOver(),
      giveBack: () => ending.giveBack(ended.verdict),
    })
    return next?.ok ? next.value : undefined
  }

  tellSoonest(to: Headers): void {
    const seconds = Math.max(1, Math.ceil((this.#soonestMs - performance.now()) / 1000))
    lower(to, 'retry-after', seconds)
    // Clients of OpenAI's API go by the finer one where there is one.
    lower(to, 'retry-after-ms', seconds * 1000)
  }

  #may(cause: FallbackCause): boolean {
    const { plan, exchange } = this.#request
    return mayTryAgain(plan, cause, {
      attempts: this.#made,
      sinceArrivalMs: performance.now() - exchange.at.monotonicMs,
      isOnce: () => this.#isOnce(),
    })
  }

  #isOnce(): boolean {
    const { request, path } = this.#request.incoming
    return request.headers.has('idempotency-key') || makesLasting(path, this.#plain)
  }

  /** The model that an upstream reads in the body, so far as that is certain. */
  #modelRead(): string | undefined {
    const body = this.#plain
    const found = body && bodyModel(body)
    return found?.ok ? found.value : undefined
  }

  /** The body, if it is not compressed. */
  get #plain(): Uint8Array | undefined {
    const { headers } = this.#request.incoming.request
    return this.#held?.ok && !headers.has('content-encoding') ? this.#held.value : undefined
  }

  /**
   * The first remaining upstream that takes the request now. A refusal if a cap is reached, or if every
   * circuit is open, including that of `open`.
   */
  async #next(before: Before, open?: Refusal): Promise<Decision<NextAttempt> | undefined> {
    let refusal = open
    for (let on = this.#left.shift(); on; on = this.#left.shift()) {
      if (this.#waitMs(on) > 0) continue
      const outgoing = await this.#prepared(on)
      if (before.isOver()) return undefined
      if (!outgoing) continue
      before.giveBack()
      const charge = this.#charge(on, outgoing)
      if (charge.ok) return granted(this.#begin(on, outgoing, charge.value))
      if (charge.code !== 'circuit_open') return charge
      refusal = refusal && sooner(refusal, charge)
    }
    return refusal
  }

  /** What goes out to another upstream than the first; undefined if it does not take the request. */
  async #prepared(on: Served): Promise<Outgoing | undefined> {
    const { permitted, group } = this.#request
    const { policy } = permitted.admitted
    const inspected = await this.#inspected(on)
    if (!inspected.ok || inspected.value.sealed || on.upstream.credential) return undefined
    if (!allows(policy, group, on.upstream.name, true, inspected.value).ok) return undefined
    const outgoing = await this.#dispatch(on, bounded(policy, inspected.value))
    return outgoing.ok ? outgoing.value : undefined
  }

  async #inspected(on: Served): Promise<Decision<Inspected>> {
    const { permitted, picked, incoming, exchange } = this.#request
    const { request, path } = incoming
    if (!isByModel([on])) return on.upstream.inspect(request.headers, true)
    const { inspected } = picked
    const asked = { request, path, inspected, among: [on], held: this.#held }
    const found = await this.#parts.pickByModel(permitted, asked, exchange)
    return found.ok ? granted(found.value.inspected) : found
  }

  #dispatch({ upstream }: Served, inspected: Inspected): ReturnType<Dispatch> {
    const { permitted, incoming, exchange } = this.#request
    const to = { ...incoming, upstream, held: this.#held, isKept: true }
    return this.#parts.dispatch(permitted, to, inspected, exchange)
  }

  #charge(on: Served, outgoing: Outgoing): Decision<Charge> {
    const { permitted, facts } = this.#request
    return this.#parts.chargeFor(permitted.admitted, facts, on, outgoing)
  }

  #waitMs({ upstream }: Served): number {
    const now = performance.now()
    const ms = this.#parts.waits.waitMs(upstream, this.#model, now)
    this.#sooner(now + ms, now)
    return ms
  }

  #sooner(atMs: number, now: number): void {
    if (atMs > now) this.#soonestMs = Math.min(this.#soonestMs, atMs)
  }

  #begin(on: Served, outgoing: Outgoing, charge: Charge): NextAttempt {
    const { permitted, exchange, place } = this.#request
    this.#made += 1
    this.#on = on
    place?.move(on.upstream.name)
    if (permitted.admitted.policy.tellsUpstream) {
      exchange.headers.set(UPSTREAM_HEADER, on.upstream.name)
    }
    return { outgoing, charge }
  }

  /** Nothing was sent to `on`, so it has no row of its own. */
  #passingOver({ upstream }: Served, instead: Decision<NextAttempt>): Decision<NextAttempt> {
    const { exchange } = this.#request
    exchange.tried = [upstream.name]
    exchange.upstream = this.#on.upstream.name
    return instead
  }
}

function lower(headers: Headers, name: string, most: number): void {
  if (most < Number(headers.get(name) ?? Number.NaN)) headers.set(name, String(most))
}

const sooner = (a: Refusal, b: Refusal): Refusal =>
  (b.retryAfterSeconds ?? Infinity) < (a.retryAfterSeconds ?? Infinity) ? b : a
