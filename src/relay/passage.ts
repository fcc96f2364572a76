// Passes the bytes of one response from the upstream's connection to the client's: unread, in order,
// bounded in memory by pausing the upstream. The end is never prettier than it was: if the upstream
// dies, the client gets everything received before it sees the break.
//
// Bun's `direct` streams write to the client's connection itself: no queue, no promise for each event,
// and a write reports when the connection accepts no more. What is written leaves with a flush, or with
// the end of the stream.

import { soon } from '../turn/end-of-turn.ts'
import type { AnswerHeaders } from '../http1/fields.ts'
import type { ResponseBody, Listener } from '../http1/transport.ts'

/** What is held for a reader slower than its upstream, beyond the kernel's own buffers. */
const HIGH_WATER_BYTES = 65_536
const LOW_WATER_BYTES = 16_384

/**
 * Anything longer leaves at once, the rest at the end of the turn (see `soon`). For writes up to
 * this length Bun does not report how much the connection accepted (Bun 1.4.4).
 */
const GATHERED_BYTES = 16_384

export type PassageEnd = 'complete' | 'broken'

export interface Passage {
  /** Call it once. */
  stream(): ReadableStream<Uint8Array>
  /**
   * True once a byte has arrived, or a complete response without a body. False if the response
   * broke before that.
   */
  readonly begun: Promise<boolean>
  /** Whether everything has arrived. */
  readonly complete: boolean
  /** The trailer fields; empty until the response is complete. */
  readonly trailers: AnswerHeaders
  /** The whole body, if all of it has arrived and none has been handed on. */
  whole(): Uint8Array | undefined
  /** Tests what has arrived and not been handed on. */
  someHeld(test: (chunk: Uint8Array) => boolean): boolean
  /** Bytes handed on so far. */
  readonly bytes: number
  /** When the first byte moved, at most a turn before it was handed on; monotonic milliseconds. */
  readonly firstByteAt: number | undefined
  /** When a byte last moved, in or out; monotonic milliseconds. */
  readonly movedAt: number
  /** Whether it is the reader that stands still. */
  readonly stalled: boolean
  /** Accepts no more from the upstream; what is held is still delivered, then `onEnd('broken')`. */
  cut(): void
  /** There is nobody left to deliver to. */
  drop(): void
  /** Resets the client's connection at once, dropping what is held. */
  reset(): void
}

/** Sees what the upstream sends as it comes, and keeps none of it. */
export interface ReadingAlong {
  push?(chunk: Uint8Array, now: number): void
}

export interface PassageEvents {
  /**
   * Everything has been handed on. After 'broken' the stream stays open, for the owner to cut the
   * client off.
   */
  onEnd(end: PassageEnd): void
  /** The client has left; `drop` is to follow. */
  onCancel(): void
}

/** When a byte last arrived, for any response; monotonic milliseconds. */
let lastCameAt = 0
/** Bytes that arrive within this time of others are most likely read in the same turn. */
const TOGETHER_MS = 0.1

export function passage(
  incoming: ResponseBody,
  events: PassageEvents,
  along: ReadingAlong,
  now: number,
): Passage {
  return new StreamPassage(incoming, events, along, now)
}

class StreamPassage implements Passage, Listener, Bun.DirectUnderlyingSource<Uint8Array> {
  readonly type = 'direct'
  /** Resolves `begun`. */
  #begin: ((well: boolean) => void) | undefined
  readonly #incoming: ResponseBody
  readonly #events: PassageEvents
  readonly #along: ReadingAlong
  #held: Uint8Array[] = []
  #heldBytes = 0
  #paused = false
  /** The client's connection accepts no more for now. */
  #full = false
  /** What is being read is delivered as soon as it is read. */
  #due = false
  #received: PassageEnd | undefined
  #over = false
  #sink: ReadableStreamDirectController | undefined
  /** Resolves the promise that keeps the sink open. */
  #leave: (() => void) | undefined
  movedAt: number
  bytes = 0
  firstByteAt: number | undefined
  trailers: AnswerHeaders = {}

  constructor(incoming: ResponseBody, events: PassageEvents, along: ReadingAlong, now: number) {
    this.#incoming = incoming
    this.#events = events
    this.#along = along
    this.movedAt = now
    incoming.listen(this)
  }

  get begun(): Promise<boolean> {
    if (this.#held.length > 0) return Promise.resolve(true)
    if (this.#received !== undefined) return Promise.resolve(this.complete)
    return new Promise((resolve) => {
      this.#begin = resolve
    })
  }

  stream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(this)
  }

  /** Bun ends the response when this resolves. */
  pull(sink: ReadableStreamDirectController): Promise<void> {
    return new Promise((resolve) => {
      this.#sink = sink
      this.#leave = resolve
      this.movedAt = performance.now()
      this.deliver()
    })
  }

  cancel(): void {
    this.#events.onCancel()
  }

  onData(chunk: Uint8Array): void {
    if (this.#received !== undefined || this.#over) return
    const now = performance.now()
    this.#along.push?.(chunk, now)
    const alone = now - lastCameAt > TOGETHER_MS
    lastCameAt = now
    this.movedAt = now
    this.#held.push(chunk)
    this.#heldBytes += chunk.byteLength
    if (this.#sink && !this.#full) {
      if (this.#heldBytes > GATHERED_BYTES) return this.deliver()
      if (alone) this.#due = true
      else if (this.#held.length === 1) soon(this)
      return
    }
    this.#begin?.(true)
    this.#begin = undefined
    if (this.#heldBytes > HIGH_WATER_BYTES && !this.#paused) {
      this.#paused = true
      this.#incoming.pause()
    }
  }

  onRead(): void {
    if (!this.#due) return
    this.#due = false
    this.deliver()
  }

  onEnd(how: PassageEnd, trailers: AnswerHeaders): void {
    this.trailers = trailers
    this.#stop(how)
  }

  get complete(): boolean {
    return this.#received === 'complete'
  }

  get stalled(): boolean {
    return this.#full || this.#heldBytes > 0
  }

  someHeld(test: (chunk: Uint8Array) => boolean): boolean {
    return this.#held.some(test)
  }

  whole(): Uint8Array | undefined {
    if (!this.complete || this.#over) return undefined
    this.#over = true
    const [first] = this.#held
    const body = first && this.#held.length === 1 ? first : Buffer.concat(this.#held)
    this.bytes = body.byteLength
    this.firstByteAt = this.movedAt
    this.#events.onEnd('complete')
    return body
  }

  cut(): void {
    this.#stop('broken')
  }

  drop(): void {
    this.#over = true
    this.#held = []
    this.#leave?.()
  }

  reset(): void {
    this.#sink?.close(new Error('stream broken'))
    this.drop()
  }

  #stop(how: PassageEnd): void {
    if (this.#received !== undefined) return
    this.#received = how
    this.#begin?.(how === 'complete')
    this.#begin = undefined
    this.deliver()
  }

  /** Delivers as much as the client's connection accepts, and the end if that was all. */
  deliver(): void {
    const sink = this.#sink
    if (!sink) return
    while (!this.#full && !this.#over) {
      const chunk = this.#takeHeld()
      if (!chunk) break
      this.#hand(sink, chunk)
    }
    if (this.#paused && this.#heldBytes <= LOW_WATER_BYTES) {
      this.#paused = false
      this.#incoming.resume()
    }
    if (this.#full || this.#over) return
    if (this.#received === undefined) {
      // Bun would do it when the callback returns, for a twelfth more of what an event costs.
      sink.flush()
      return
    }
    this.#over = true
    this.#events.onEnd(this.#received)
    if (this.#received === 'broken') return
    sink.close()
    this.#leave?.()
  }

  /** Nothing can be delivered any more. */
  fail(): void {
    this.#events.onCancel()
  }

  /**
   * In one piece: Bun would not report that many small writes wait, and a break would lose them.
   */
  #takeHeld(): Uint8Array | undefined {
    const held = this.#held
    this.#heldBytes = 0
    if (held.length < 2) return held.pop()
    this.#held = []
    return Buffer.concat(held)
  }

  #hand(sink: ReadableStreamDirectController, chunk: Uint8Array): void {
    this.bytes += chunk.byteLength
    this.firstByteAt ??= this.movedAt
    const taken: unknown = sink.write(chunk)
    if (!(taken instanceof Promise)) return
    this.#full = true
    const drained = (): void => {
      this.#full = false
      this.movedAt = performance.now()
      this.deliver()
    }
    taken.then(drained, drained)
  }
}
