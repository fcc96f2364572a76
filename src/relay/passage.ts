// The bytes of one answer on their way from an upstream's connection to a client's: unread, in
// order, bounded in memory by pausing the upstream, and with an end that is never prettier than it
// was. What had been received when an upstream died is delivered before the break shows.

import type { AnswerHeaders } from '../upstream/response.ts'
import type { Incoming } from '../upstream/transport.ts'

/** What is held for a reader that is slower than its upstream, beyond the kernel's own buffers. */
const HIGH_WATER_BYTES = 65_536
const LOW_WATER_BYTES = 16_384

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
  /** When a byte last moved, in or out; monotonic milliseconds. */
  readonly movedAt: number
  /** Is the reader the one who stands still? */
  readonly stalled: boolean
  /** Takes no more from the upstream; what is held is still delivered, then `onEnd('broken')`. */
  cut(): void
  /** Resets the client's connection at once, dropping what is held. */
  reset(): void
}

export interface PassageEvents {
  /** What the upstream sent, as it comes. */
  readonly onReceived: ((chunk: Uint8Array) => void) | undefined
  readonly onBytes: (bytes: number) => void
  /** Everything has been handed over. After 'broken' the stream stays open: the client is to be cut. */
  readonly onEnd: (end: PassageEnd) => void
  readonly onCancel: () => void
}

export function passage(incoming: Incoming, events: PassageEvents): Passage {
  let held: Uint8Array[] = []
  let heldBytes = 0
  let paused = false
  let movedAt = performance.now()
  let received: PassageEnd | undefined
  let trailers: AnswerHeaders = {}
  let over = false
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined
  const { promise: begun, resolve: begin } = Promise.withResolvers<boolean>()
  /** Set while the reader waits for a chunk that is not there yet. */
  let handOver: (() => void) | undefined

  const end = (how: PassageEnd): void => {
    if (over) return
    over = true
    events.onEnd(how)
    if (how === 'complete') controller?.close()
  }
  /** True where the reader got something, or everything. */
  const deliver = (): boolean => {
    const chunk = held.shift()
    if (chunk) {
      heldBytes -= chunk.byteLength
      movedAt = performance.now()
      events.onBytes(chunk.byteLength)
      controller?.enqueue(chunk)
      if (paused && heldBytes <= LOW_WATER_BYTES) {
        paused = false
        incoming.resume()
      }
      return true
    }
    if (received === undefined) return false
    end(received)
    return received === 'complete'
  }
  const wake = (): void => {
    if (handOver && deliver()) {
      const done = handOver
      handOver = undefined
      done()
    }
  }
  const stop = (how: PassageEnd): void => {
    if (received !== undefined) return
    received = how
    begin(how === 'complete')
    wake()
  }
  incoming.listen({
    onData(chunk) {
      if (received !== undefined) return
      events.onReceived?.(chunk)
      held.push(chunk)
      heldBytes += chunk.byteLength
      movedAt = performance.now()
      begin(true)
      wake()
      if (heldBytes > HIGH_WATER_BYTES && !paused) {
        paused = true
        incoming.pause()
      }
    },
    onEnd(how, last) {
      trailers = last
      stop(how)
    },
  })

  const stream = (): ReadableStream<Uint8Array> =>
    new ReadableStream<Uint8Array>(
      {
        start(given) {
          controller = given
        },
        pull() {
          if (over || deliver()) return
          return new Promise<void>((resolve) => {
            handOver = resolve
          })
        },
        cancel() {
          over = true
          held = []
          events.onCancel()
        },
      },
      { highWaterMark: 0 },
    )

  return {
    stream,
    begun,
    get complete() {
      return received === 'complete'
    },
    get trailers() {
      return trailers
    },
    whole() {
      if (received !== 'complete' || over) return undefined
      over = true
      const body = held.length === 1 && held[0] ? held[0] : Buffer.concat(held)
      events.onBytes(body.byteLength)
      events.onEnd('complete')
      return body
    },
    get movedAt() {
      return movedAt
    },
    get stalled() {
      return heldBytes > 0
    },
    cut: () => stop('broken'),
    reset() {
      over = true
      held = []
      controller?.error(new Error('stream broken'))
    },
  }
}
