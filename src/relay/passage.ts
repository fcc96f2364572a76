// The bytes of one answer on their way from an upstream's connection to a client's: unread, in
// order, bounded in memory by pausing the upstream, and with an end that is never prettier than it
// was. What had been received when an upstream died is delivered before the break shows.

import type { IncomingMessage } from 'node:http'

/** What is held for a reader that is slower than its upstream, beyond the kernel's own buffers. */
const HIGH_WATER_BYTES = 65_536
const LOW_WATER_BYTES = 16_384

export type PassageEnd = 'complete' | 'broken'

export interface Passage {
  readonly stream: ReadableStream<Uint8Array>
  /** Once a byte is there, or a whole answer without any: true. False where it broke before that. */
  readonly begun: Promise<boolean>
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
  readonly onBytes: (bytes: number) => void
  /** Everything has been handed over. After 'broken' the stream stays open: the client is to be cut. */
  readonly onEnd: (end: PassageEnd) => void
  readonly onCancel: () => void
}

export function passage(message: IncomingMessage, events: PassageEvents): Passage {
  let held: Uint8Array[] = []
  let heldBytes = 0
  let paused = false
  let movedAt = performance.now()
  let received: PassageEnd | undefined
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
        message.resume()
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
  const take = (chunk: Uint8Array): void => {
    held.push(chunk)
    heldBytes += chunk.byteLength
    movedAt = performance.now()
    begin(true)
  }
  /** A connection that dies while it is paused leaves in the message what it had still read. */
  const die = (): void => {
    if (received !== undefined) return
    message.off('data', onData)
    for (let rest = message.read(); rest !== null; rest = message.read()) take(rest)
    stop('broken')
  }
  const onData = (chunk: Buffer): void => {
    if (received !== undefined) return
    take(chunk)
    wake()
    if (heldBytes > HIGH_WATER_BYTES) {
      paused = true
      message.pause()
    }
  }

  message.on('data', onData)
  message.once('end', () => stop(message.complete ? 'complete' : 'broken'))
  message.on('error', die)
  message.once('close', die)

  const stream = new ReadableStream<Uint8Array>(
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
