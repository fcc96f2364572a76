// The bytes of one answer on their way from an upstream's connection to a client's: unread, in
// order, bounded in memory by pausing the upstream, and with an end that is never prettier than it
// was. What had been received when an upstream died is delivered before the break shows.
//
// Bun's `direct` streams write to the client's connection itself: no queue, no promise for each
// event, and a write says when that connection takes no more. What it was given leaves without
// a flush when the callback is over, in one send.

import { soon } from '../turn/end-of-turn.ts'
import type { AnswerHeaders } from '../http1/fields.ts'
import type { ResponseBody, Listener } from '../http1/transport.ts'

/** What is held for a reader that is slower than its upstream, beyond the kernel's own buffers. */
const HIGH_WATER_BYTES = 65_536
const LOW_WATER_BYTES = 16_384

/**
 * What is more than this leaves at once, the rest once the turn is over: see `soon`. Of writes up to
 * this length Bun does not say what the connection took of them (Bun 1.4.4).
 */
const GATHERED_BYTES = 16_384

export type PassageEnd = 'complete' | 'broken'

export interface Passage {
  /** Asked for once. */
  stream(): ReadableStream<Uint8Array>
  /** Once a byte is there, or a whole answer without any: true. False where it broke before that. */
  readonly begun: Promise<boolean>
  /** Whether everything has arrived. */
  readonly complete: boolean
  /** What came after the last byte; empty before that. */
  readonly trailers: AnswerHeaders
  /** Everything, where it has all arrived already and none of it has been handed on. */
  whole(): Uint8Array | undefined
  /** Of what has arrived and has not been handed on. */
  someHeld(test: (chunk: Uint8Array) => boolean): boolean
  /** Handed over so far. */
  readonly bytes: number
  /** When the first of them moved, at most a turn before it was handed over; monotonic milliseconds. */
  readonly firstByteAt: number | undefined
  /** When a byte last moved, in or out; monotonic milliseconds. */
  readonly movedAt: number
  /** Is the reader the one who stands still? */
  readonly stalled: boolean
  /** Takes no more from the upstream; what is held is still delivered, then `onEnd('broken')`. */
  cut(): void
  /** Nobody is there to deliver to. */
  drop(): void
  /** Resets the client's connection at once, dropping what is held. */
  reset(): void
}

/** Looks at what the upstream sent, as it comes, and keeps nothing of it. */
export interface ReadingAlong {
  push?(chunk: Uint8Array, now: number): void
}

export interface PassageEvents {
  /** Everything has been handed over. After 'broken' the stream stays open: the client is to be cut. */
  onEnd(end: PassageEnd): void
  /** The client has left; `drop` is to follow. */
  onCancel(): void
}

/** When something last came, for anybody; monotonic milliseconds. */
let lastCameAt = 0
/** What comes closer than this to what came before is read in the same turn, most likely. */
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
  /** Of whoever waits for the first byte. */
  #begin: ((well: boolean) => void) | undefined
  readonly #incoming: ResponseBody
  readonly #events: PassageEvents
  readonly #along: ReadingAlong
  #held: Uint8Array[] = []
  #heldBytes = 0
  #paused = false
  /** The client's connection takes no more for now. */
  #full = false
  #received: PassageEnd | undefined
  #over = false
  #sink: ReadableStreamDirectController | undefined
  /** Lets go of the sink. */
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

  /** Bun ends the answer when this has resolved. */
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
      if (alone || this.#heldBytes > GATHERED_BYTES) return this.deliver()
      if (this.#held.length === 1) soon(this)
      return
    }
    this.#begin?.(true)
    this.#begin = undefined
    if (this.#heldBytes > HIGH_WATER_BYTES && !this.#paused) {
      this.#paused = true
      this.#incoming.pause()
    }
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

  /** As much as the client's connection takes, and the end where that was all. */
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
    if (this.#full || this.#over || this.#received === undefined) return
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

  /** In one piece: of many small ones Bun would not say that they wait, and a break loses them. */
  #takeHeld(): Uint8Array | undefined {
    const held = this.#held
    if (held.length === 0) return undefined
    this.#held = []
    this.#heldBytes = 0
    return held.length === 1 ? held[0] : Buffer.concat(held)
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
