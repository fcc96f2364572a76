// Reads what a WebSocket's server sends (RFC 6455 §5): messages, put together from their fragments, and
// control frames, which may stand between those. What breaks the protocol ends the connection: two
// readers could read the rest differently.

import { isUtf8 } from 'node:buffer'
import { BINARY, FINAL, isCloseCode, PING, PONG, TEXT } from './frames.ts'

export interface MessageEvents {
  onText(text: string): void
  onBinary(bytes: Buffer): void
  onPing(payload: Buffer): void
  onPong(payload: Buffer): void
  /** Nothing is read after it. `code` is undefined if the frame has none. */
  onClose(code: number | undefined, reason: string): void
  /** Nothing is read after it. `code`: with which the connection is to be closed. */
  onInvalid(code: 1002 | 1007 | 1009): void
}

const CONTINUATION = 0
const IS_CONTROL = 8
const RESERVED = 0x70
const MASKED = 0x80
const MAX_CONTROL_BYTES = 125
const MAX_HEADER_BYTES = 10
/** Each costs memory beside its bytes. */
const MAX_FRAGMENTS = 65_536

export class MessageReader {
  readonly #to: MessageEvents
  readonly #maxBytes: number
  readonly #header = Buffer.alloc(MAX_HEADER_BYTES)
  #headerBytes = 0
  /** Of the frame that is being read. */
  #opcode = -1
  #isFinal = false
  #left = 0
  #control: Buffer[] = []
  /** Of the message that is being read; undefined between messages. */
  #type: number | undefined
  #message: Buffer[] = []
  #messageBytes = 0
  #over = false

  /** `maxBytes`: of a message. */
  constructor(to: MessageEvents, maxBytes: number) {
    this.#to = to
    this.#maxBytes = maxBytes
  }

  push(chunk: Buffer): void {
    let at = 0
    while (!this.#over && at < chunk.length) {
      at = this.#opcode < 0 ? this.#readHeader(chunk, at) : this.#readPayload(chunk, at)
    }
  }

  stop(): void {
    this.#over = true
  }

  #readHeader(chunk: Buffer, at: number): number {
    const header = this.#header
    header[this.#headerBytes] = chunk[at] ?? 0
    this.#headerBytes += 1
    if (this.#headerBytes < 2) return at + 1
    const short = (header[1] ?? 0) & 0x7f
    const bytes = short === 126 ? 4 : short === 127 ? 10 : 2
    if (this.#headerBytes < bytes) return at + 1
    this.#headerBytes = 0
    const length =
      bytes === 2 ? short : bytes === 4 ? header.readUInt16BE(2) : Number(header.readBigUInt64BE(2))
    // §5.2: the shortest form of the length.
    if ((bytes === 4 && length < 126) || (bytes === 10 && length < 65_536)) this.#invalid(1002)
    else this.#begin(header[0] ?? 0, header[1] ?? 0, length)
    return at + 1
  }

  #begin(first: number, second: number, length: number): void {
    const opcode = first & 0x0f
    const isFinal = (first & FINAL) !== 0
    // §5.1: a server masks nothing. No extension was offered that could use a reserved bit.
    if ((first & RESERVED) !== 0 || (second & MASKED) !== 0) return this.#invalid(1002)
    if (opcode >= IS_CONTROL) {
      if (opcode > PONG || !isFinal || length > MAX_CONTROL_BYTES) return this.#invalid(1002)
    } else {
      if (opcode > BINARY) return this.#invalid(1002)
      if ((opcode === CONTINUATION) === (this.#type === undefined)) return this.#invalid(1002)
      if (this.#messageBytes + length > this.#maxBytes) return this.#invalid(1009)
      if (this.#message.length > MAX_FRAGMENTS) return this.#invalid(1009)
      if (opcode !== CONTINUATION) this.#type = opcode
      this.#messageBytes += length
    }
    this.#opcode = opcode
    this.#isFinal = isFinal
    this.#left = length
    if (length === 0) this.#end()
  }

  #readPayload(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#left)
    const part = chunk.subarray(at, end)
    this.#left -= end - at
    // A small part would keep the whole chunk until its message is whole.
    const isKept = this.#left > 0 || !this.#isFinal
    const own = isKept && part.length * 2 < chunk.length ? Buffer.from(part) : part
    ;(this.#opcode >= IS_CONTROL ? this.#control : this.#message).push(own)
    if (this.#left === 0) this.#end()
    return end
  }

  /** The frame is whole. */
  #end(): void {
    const opcode = this.#opcode
    this.#opcode = -1
    if (opcode >= IS_CONTROL) {
      const payload = whole(this.#control)
      this.#control = []
      if (opcode === PING) this.#to.onPing(payload)
      else if (opcode === PONG) this.#to.onPong(payload)
      else this.#closed(payload)
      return
    }
    if (!this.#isFinal) return
    const message = whole(this.#message)
    const type = this.#type
    this.#message = []
    this.#messageBytes = 0
    this.#type = undefined
    if (type !== TEXT) this.#to.onBinary(message)
    else if (isUtf8(message)) this.#to.onText(message.toString('utf8'))
    else this.#invalid(1007)
  }

  #closed(payload: Buffer): void {
    if (payload.length === 0) {
      this.stop()
      return this.#to.onClose(undefined, '')
    }
    const code = payload.length < 2 ? 0 : payload.readUInt16BE(0)
    const reason = payload.subarray(2)
    if (!isCloseCode(code)) return this.#invalid(1002)
    if (!isUtf8(reason)) return this.#invalid(1007)
    this.stop()
    this.#to.onClose(code, reason.toString('utf8'))
  }

  #invalid(code: 1002 | 1007 | 1009): void {
    this.stop()
    this.#to.onInvalid(code)
  }
}

const whole = (parts: readonly Buffer[]): Buffer =>
  parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts)
