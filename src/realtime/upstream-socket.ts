// The upstream's side of a WebSocket: messages and control frames over the connection of a handshake.

import type { Flight, Listener, ResponseBody } from '../http1/transport.ts'
import { clearDeadline, type Deadline, deadline, setDeadline } from '../turn/deadline.ts'
import { BINARY, CLOSE, closePayload, maskedFrame, PING, PONG, TEXT } from '../websocket/frames.ts'
import { type MessageEvents, MessageReader } from '../websocket/reader.ts'

export interface UpstreamEvents extends Omit<MessageEvents, 'onInvalid'> {
  /** The connection ended without a close frame, or what came was no WebSocket. */
  onBroken(reason: string): void
  /** All that was written has left. */
  onDrain(): void
}

/** How long the other side has to close the connection, which the server does first (RFC 6455 §7.1.1). */
const CLOSE_MS = 5000
/** How long it may take to read what was sent before. */
const FLUSH_MS = 60_000

export class UpstreamSocket implements Listener {
  readonly #flight: Flight
  readonly #body: ResponseBody
  readonly #maxBytes: number
  #reader: MessageReader | undefined
  #events: UpstreamEvents | undefined
  #closing: Deadline | undefined
  #isOver = false

  /** `maxBytes`: of a message that comes. */
  constructor(flight: Flight, body: ResponseBody, maxBytes: number) {
    this.#flight = flight
    this.#body = body
    this.#maxBytes = maxBytes
  }

  listen(events: UpstreamEvents): void {
    this.#events = events
    const invalid = (code: 1002 | 1007 | 1009): void => {
      this.close(code, '')
      this.#broken(`invalid frames (${code})`)
    }
    this.#reader = new MessageReader(
      {
        onText: (text) => events.onText(text),
        onBinary: (bytes) => events.onBinary(bytes),
        onPing: (payload) => events.onPing(payload),
        onPong: (payload) => events.onPong(payload),
        onClose: (code, reason) => {
          this.#isOver = true
          events.onClose(code, reason)
        },
        onInvalid: invalid,
      },
      this.#maxBytes,
    )
    this.#body.listen(this)
  }

  /** False if the caller should wait for `onDrain`. */
  text(text: string): boolean {
    return this.#send(TEXT, Buffer.from(text))
  }

  binary(bytes: Uint8Array): boolean {
    return this.#send(BINARY, bytes)
  }

  ping(payload: Uint8Array): boolean {
    return this.#send(PING, payload)
  }

  pong(payload: Uint8Array): boolean {
    return this.#send(PONG, payload)
  }

  /** Sends a close frame, and drops the connection if the upstream does not close it in time. */
  close(code: number | undefined, reason: string): void {
    if (this.#closing) return
    const isFlushed = this.#send(CLOSE, closePayload(code, reason))
    this.#closing = deadline(isFlushed ? CLOSE_MS : FLUSH_MS, () => this.#flight.cancel())
    this.#body.resume()
  }

  /** Drops the connection. */
  drop(): void {
    this.#isOver = true
    this.#reader?.stop()
    clearDeadline(this.#closing)
    this.#flight.cancel()
  }

  pause(): void {
    this.#body.pause()
  }

  resume(): void {
    this.#body.resume()
  }

  onData(chunk: Uint8Array): void {
    this.#reader?.push(chunk as Buffer)
  }

  onEnd(): void {
    clearDeadline(this.#closing)
    this.#broken('connection ended')
  }

  onDrain(): void {
    if (this.#closing) setDeadline(this.#closing, CLOSE_MS)
    if (!this.#isOver) this.#events?.onDrain()
  }

  #send(opcode: Parameters<typeof maskedFrame>[0], payload: Uint8Array): boolean {
    return this.#closing !== undefined || this.#flight.write(maskedFrame(opcode, payload))
  }

  #broken(reason: string): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#events?.onBroken(reason)
  }
}
