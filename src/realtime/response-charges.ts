// What the responses of one connection cost, each as it is done. Under a cap the most that one response can
// cost is reserved before it begins, and one more than run: speech begins responses that no event asks for.

import type { Admitted } from '../admit/admitted.ts'
import { type HeldReservation, NOTHING_HELD } from '../budget/limit.ts'
import type { End } from '../end.ts'
import { type Exchange, exchangeOf } from '../exchange.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { Settle } from '../settle/settle.ts'
import { instant, type Instant } from '../turn/instant.ts'
import type { Costly } from '../upstream/costly.ts'
import type { MeteredUsage } from '../upstream/reading/tally.ts'
import { estimated, type PassedBytes } from './estimate.ts'
import { costOfOne } from './session-cost.ts'
import type { ServerEvent } from './server-events.ts'

export interface ChargingParts {
  hold(admitted: Admitted, costly: Costly, now: Instant): Decision<HeldReservation>
  /** Opens a row of the ledger for a response. */
  openRow(exchange: Exchange, admitted: Admitted): void
  readonly settle: Settle
}

interface RunningResponse {
  readonly exchange: Exchange
  readonly held: HeldReservation
  readonly said: CountedBytes
}

interface CountedBytes extends PassedBytes {
  sound: number
  text: number
}

const DONE = granted(undefined)
/** One belongs to the conversation, and others stand beside it. */
const MAX_RUNNING = 64
const TOO_MANY = refused('upstream_invalid', { reason: 'too many responses at once' })
const nothing = (): CountedBytes => ({ sound: 0, text: 0 })
/** In the head of an event. */
const SOUND = /"(?:input_audio_buffer\.append|response\.(?:output_)?audio\.delta)"/
const HEAD_CHARS = 200

export class ResponseCharges {
  readonly #parts: ChargingParts
  readonly #of: Exchange
  #model: string | undefined
  #transcribes: string | undefined
  /** One for each response that may begin. */
  readonly #free: HeldReservation[]
  /** By the ids of the client's events that asked for responses. */
  readonly #asked: (string | undefined)[] = []
  readonly #running = new Map<string, RunningResponse>()
  /** Of the conversation, by the last usage. */
  #context = 0
  #heard = nothing()
  #untranscribed = nothing()

  /** `of`: that of the connection. `first`: reserved with its handshake. */
  constructor(parts: ChargingParts, of: Exchange, first: HeldReservation) {
    this.#parts = parts
    this.#of = of
    this.#model = of.model
    this.#free = [first]
  }

  get isRunning(): boolean {
    return this.#running.size > 0
  }

  /** The client asks for a response. */
  ask(eventId: string | undefined, admitted: Admitted): Decision<undefined> {
    const room = this.#makeRoom(admitted, this.#asked.length + 1)
    if (!room.ok) return room
    this.#asked.push(eventId)
    // What an upstream neither begins nor refuses by its id is forgotten at last.
    if (this.#asked.length > MAX_RUNNING) this.#asked.shift()
    return room
  }

  /** Whether the caller's caps have room for one more response. */
  ensure(admitted: Admitted): Decision<undefined> {
    return this.#makeRoom(admitted, Math.max(1, this.#asked.length))
  }

  /** What is reserved is for transcriptions by this model, too. */
  transcribesBy(model: string, admitted: Admitted): Decision<undefined> {
    const before = this.#transcribes
    if (model === before) return DONE
    this.#transcribes = model
    const held = this.#hold(admitted)
    if (!held.ok) {
      this.#transcribes = before
      return held
    }
    this.#free.pop()?.reservation?.release()
    this.#free.push(held.value)
    return DONE
  }

  sent(text: string): void {
    count(text, this.#heard)
    count(text, this.#untranscribed)
  }

  note(event: ServerEvent, text: string, admitted: Admitted): Decision<undefined> {
    switch (event.kind) {
      case 'piece': {
        const last = [...this.#running.values()].at(-1)
        if (last) count(text, last.said)
        return DONE
      }
      case 'created':
        return this.#begin(event.id, admitted)
      case 'done':
        return this.#end(event.id, event.usage, admitted)
      case 'transcribed':
        this.#untranscribed = nothing()
        return this.#transcribed(event.usage, admitted)
      case 'session':
        this.#model = event.model ?? this.#model
        this.#transcribes = event.transcribes
        return DONE
      case 'error': {
        const at = this.#asked.indexOf(event.eventId)
        if (at !== -1) this.#asked.splice(at, 1)
        return DONE
      }
      case 'other':
        return DONE
    }
  }

  /**
   * The connection has ended: what runs is estimated, and what is reserved beyond it released. `byClient`:
   * what it asked for and did not wait for may be billed, as of a request whose client leaves.
   */
  cut(end: End, admitted: Admitted, byClient = false): void {
    for (const { exchange, held, said } of this.#running.values()) {
      this.#settle(exchange, end, held, estimated(this.#context, this.#heard, said))
    }
    this.#running.clear()
    for (const _ of byClient ? this.#asked : []) {
      const held = this.#free.pop()
      const usage = estimated(this.#context, this.#heard, nothing())
      if (held) this.#settle(this.#exchange(admitted, this.#model), end, held, usage)
    }
    this.#asked.length = 0
    if (this.#transcribes !== undefined && this.#untranscribed.sound > 0) {
      const usage = estimated(0, this.#untranscribed, nothing())
      const held = this.#free.pop()
      if (held) this.#settle(this.#exchange(admitted, this.#transcribes), end, held, usage)
    }
    for (const { reservation } of this.#free) reservation?.release()
    this.#free.length = 0
  }

  #hold(admitted: Admitted): Decision<HeldReservation> {
    const model = this.#model ?? ''
    return this.#parts.hold(admitted, costOfOne(model, this.#transcribes), instant())
  }

  #makeRoom(admitted: Admitted, needed: number): Decision<undefined> {
    while (this.#free.length < needed) {
      const held = this.#hold(admitted)
      if (!held.ok) return held
      this.#free.push(held.value)
    }
    return DONE
  }

  #take(admitted: Admitted): Decision<HeldReservation> {
    const free = this.#free.pop()
    return free ? granted(free) : this.#hold(admitted)
  }

  #begin(id: string, admitted: Admitted): Decision<undefined> {
    if (this.#running.has(id)) return DONE
    if (this.#running.size >= MAX_RUNNING) return TOO_MANY
    this.#asked.shift()
    const held = this.#take(admitted)
    if (!held.ok) return held
    const exchange = this.#exchange(admitted, this.#model)
    this.#running.set(id, { exchange, held: held.value, said: nothing() })
    return DONE
  }

  #end(id: string, usage: MeteredUsage | undefined, admitted: Admitted): Decision<undefined> {
    const begun = this.#begin(id, admitted)
    const run = this.#running.get(id)
    if (!run) {
      // It is done already, too.
      this.#settle(this.#exchange(admitted, this.#model), 'complete', NOTHING_HELD, usage)
      return begun
    }
    this.#running.delete(id)
    this.#heard = nothing()
    if (usage) {
      const { inputTokens, cacheReadTokens, cacheCreationTokens, outputTokens } = usage
      this.#context = inputTokens + cacheReadTokens + cacheCreationTokens + outputTokens
    }
    this.#settle(run.exchange, 'complete', run.held, usage)
    return this.ensure(admitted)
  }

  #transcribed(usage: MeteredUsage | undefined, admitted: Admitted): Decision<undefined> {
    const held = this.#take(admitted)
    const exchange = this.#exchange(admitted, this.#transcribes)
    // It is done already: without room it is recorded, and the connection ends.
    this.#settle(exchange, 'complete', held.ok ? held.value : NOTHING_HELD, usage)
    return held.ok ? this.ensure(admitted) : held
  }

  #settle(
    exchange: Exchange,
    end: End,
    { reservation, atMost, maxTokens, answers }: HeldReservation,
    usage: MeteredUsage | undefined,
  ): void {
    exchange.status = 200
    const isFailed = usage?.sawError !== undefined
    this.#parts.settle(exchange, isFailed ? 'upstream_error' : end, {
      reservation,
      atMost,
      maxTokens,
      answers,
      usage,
      owed: true,
    })
  }

  #exchange(admitted: Admitted, model: string | undefined): Exchange {
    const { requestId, method, route, dialect, upstream, identity, org } = this.#of
    const headers = new Headers()
    const begun = { requestId, at: instant(), method, route, dialect, silent: false, headers }
    const exchange = Object.assign(exchangeOf(begun), { upstream, identity, org, model })
    this.#parts.openRow(exchange, admitted)
    return exchange
  }
}

function count(text: string, to: CountedBytes): void {
  if (SOUND.test(text.slice(0, HEAD_CHARS))) to.sound += text.length
  else to.text += text.length
}
