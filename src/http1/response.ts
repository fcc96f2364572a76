// Reads the responses of one connection to an upstream (RFC 9112). Stricter than required: a response
// that two readers could read differently is refused, because on a reused connection the rest of it
// would be taken for the next caller's. It decodes no content coding and keeps no body.

import { type AnswerHeaders, readFields } from './fields.ts'

export interface ResponseHead {
  readonly status: number
  readonly headers: AnswerHeaders
}

export interface ResponseEvents {
  onHead(head: ResponseHead): void
  onData(chunk: Buffer): void
  /** The whole response has been read. */
  onEnd(trailers: AnswerHeaders): void
  /** Not a valid response; nothing after it on this connection can be trusted. */
  onInvalid(): void
}

const MAX_HEAD_BYTES = 65_536
const MAX_INTERIM = 8
/** Includes chunk extensions, which are ignored. */
const MAX_CHUNK_LINE_BYTES = 1024
const MAX_TRAILER_BYTES = 16_384

// RFC 9110 §5.5, RFC 9112 §2.2: no control characters (some readers take `\vchunked` for `chunked`,
// which makes two responses of one), and no lone CR or LF. The whole head is checked in one match,
// because that is its main cost.
const HEAD =
  /^HTTP\/1\.[01] [1-9]\d\d(?: [\t\x20-\x7e\x80-\xff]*)?(?:\r\n[\t\x20-\x7e\x80-\xff]*)*$/
const FIELDS = /^[\t\x20-\x7e\x80-\xff]*(?:\r\n[\t\x20-\x7e\x80-\xff]*)*$/
/** The positions of the minor version and of the status. */
const [MINOR_AT, STATUS_AT] = ['HTTP/1.'.length, 'HTTP/1.1 '.length]
const LENGTH = /^\d{1,15}$/
/** RFC 2068 §19.7.1.1: how long the server keeps an idle connection. */
const KEEP_ALIVE = /(?:^|[,;])[ \t]*timeout=(\d{1,6})/i
const NO_HEADERS: AnswerHeaders = {}

type State = 'head' | 'length' | 'close' | 'size' | 'chunk' | 'chunk end' | 'trailers' | 'over'

export class ResponseReader {
  readonly #to: ResponseEvents
  /** The request asks for another protocol. */
  readonly #upgrades: boolean
  #state: State = 'head'
  /** A partial line or head; the buffer may have room behind it. */
  #rest: Buffer | undefined
  #restBytes = 0
  /**
   * How much of it has been searched for its end, so that a head that drips in is not rescanned.
   */
  #searched = 0
  /** Bytes left of the body, or of the current chunk. */
  #left = 0
  #interim = 0
  #reusable = true
  #idleSeconds: number | undefined
  /** The trailers of a response that has ended and was not yet reported. */
  #trailers: AnswerHeaders | undefined

  constructor(to: ResponseEvents, upgrades = false) {
    this.#to = to
    this.#upgrades = upgrades
  }

  /**
   * Whether the connection may carry another request: the response allows it, and nothing is left.
   */
  get reusable(): boolean {
    return this.#reusable
  }

  /** How long the server keeps the connection, if it said so. */
  get idleSeconds(): number | undefined {
    return this.#idleSeconds
  }

  push(given: Buffer): void {
    const chunk = this.#rest ? this.#joined(this.#rest, given) : given
    let at = 0
    while (at < chunk.length) {
      const next = this.#step(chunk, at)
      if (next === undefined) return this.#keep(chunk, at)
      at = next
      if (this.#state !== 'over') continue
      // Nobody asked for more bytes. Set before the end is reported, because that returns the
      // connection.
      if (at < chunk.length) this.#reusable = false
      return this.#tellEnd()
    }
    this.#rest = undefined
    this.#searched = 0
  }

  /** The connection was closed in order. */
  close(): void {
    this.#reusable = false
    if (this.#state !== 'close') return
    this.#end(NO_HEADERS)
    this.#tellEnd()
  }

  /** Reports nothing more. */
  stop(): void {
    this.#state = 'over'
    this.#reusable = false
  }

  /** The buffer grows by doubling. No part of it has been reported yet, so it may be written to. */
  #joined(rest: Buffer, given: Buffer): Buffer {
    const bytes = this.#restBytes + given.length
    let whole = rest
    if (bytes > rest.length) {
      whole = Buffer.allocUnsafe(bytes * 2)
      rest.copy(whole, 0, 0, this.#restBytes)
      this.#rest = whole
    }
    given.copy(whole, this.#restBytes)
    this.#restBytes = bytes
    return whole.subarray(0, bytes)
  }

  #keep(chunk: Buffer, at: number): void {
    if (this.#state === 'over') {
      this.#rest = undefined
      return
    }
    if (at > 0 || !this.#rest) this.#rest = at === 0 ? chunk : chunk.subarray(at)
    this.#restBytes = chunk.length - at
    this.#searched = this.#restBytes
  }

  /**
   * Where to search for an end: the kept bytes begin at 0, and may hold all of an end but its last
   * byte.
   */
  #unsearched(at: number): number {
    return at === 0 && this.#searched > 3 ? this.#searched - 3 : at
  }

  /** Where to continue; undefined if more bytes are needed first. */
  #step(chunk: Buffer, at: number): number | undefined {
    switch (this.#state) {
      case 'head':
        return this.#readHead(chunk, at)
      case 'close':
        this.#to.onData(part(chunk, at, chunk.length))
        return chunk.length
      case 'length':
      case 'chunk':
        return this.#readBody(chunk, at)
      case 'size':
        return this.#readSize(chunk, at)
      case 'chunk end':
        if (chunk.length - at < 2) return undefined
        if (chunk[at] !== CR || chunk[at + 1] !== LF) return this.#invalid()
        this.#state = 'size'
        return at + 2
      case 'trailers':
        return this.#readTrailers(chunk, at)
      case 'over':
        return undefined
    }
  }

  #readHead(chunk: Buffer, at: number): number | undefined {
    const from = this.#unsearched(at)
    const end = chunk.indexOf(BLANK_LINE, from)
    if ((end === -1 ? chunk.length : end) - at > MAX_HEAD_BYTES) return this.#invalid()
    // Otherwise a reply that is not HTTP would be awaited until the timeout.
    if (end === -1) return looksLikeHead(chunk, at, from) ? undefined : this.#invalid()
    const text = chunk.toString('latin1', at, end)
    if (!HEAD.test(text)) return this.#invalid()
    const status = Number(text.slice(STATUS_AT, STATUS_AT + 3))
    const firstEnd = text.indexOf('\r\n', STATUS_AT)
    const headers = firstEnd === -1 ? NO_HEADERS : readFields(text, firstEnd + 2)
    if (!headers) return this.#invalid()
    if (status < 200) {
      if (status === 101 && this.#upgrades) return this.#upgraded(headers, end + 4)
      this.#interim += 1
      return status === 101 || this.#interim > MAX_INTERIM ? this.#invalid() : end + 4
    }
    if (!this.#frame(status, headers)) return this.#invalid()
    if (text[MINOR_AT] === '0' || closes(headers['connection'])) this.#reusable = false
    const hint = headers['keep-alive']
    if (hint !== undefined) {
      const seconds = KEEP_ALIVE.exec(hint)?.[1]
      if (seconds !== undefined) this.#idleSeconds = Number(seconds)
    }
    const empty = this.#state === 'length' && this.#left === 0
    this.#to.onHead({ status, headers })
    if (empty) this.#end(NO_HEADERS)
    return end + 4
  }

  /** RFC 9110 §15.2.2: what follows is of the other protocol, until the connection is closed. */
  #upgraded(headers: AnswerHeaders, at: number): number {
    this.#reusable = false
    this.#state = 'close'
    this.#to.onHead({ status: 101, headers })
    return at
  }

  /** RFC 9112 §6.3. */
  #frame(status: number, headers: AnswerHeaders): boolean {
    const coding = headers['transfer-encoding']
    const length = headers['content-length']
    if (coding !== undefined && length !== undefined) return false
    if (status === 204 || status === 304) {
      // A body is announced where none is allowed: one may still follow.
      if (coding !== undefined || (length ?? '0') !== '0') this.#reusable = false
      this.#state = 'length'
      return true
    }
    if (coding !== undefined) {
      this.#state = 'size'
      return coding.toLowerCase() === 'chunked'
    }
    if (length === undefined) {
      this.#state = 'close'
      this.#reusable = false
      return true
    }
    this.#state = 'length'
    this.#left = Number(length)
    return LENGTH.test(length)
  }

  #readBody(chunk: Buffer, at: number): number {
    const end = Math.min(at + this.#left, chunk.length)
    this.#left -= end - at
    this.#to.onData(part(chunk, at, end))
    if (this.#left === 0) {
      if (this.#state === 'chunk') this.#state = 'chunk end'
      else if (this.#state === 'length') this.#end(NO_HEADERS)
    }
    return end
  }

  #readSize(chunk: Buffer, at: number): number | undefined {
    const end = lineEnd(chunk, at)
    if ((end === -1 ? chunk.length : end) - at > MAX_CHUNK_LINE_BYTES) return this.#invalid()
    if (end === -1) return undefined
    const size = readSize(chunk, at, end)
    if (size === undefined) return this.#invalid()
    this.#left = size
    this.#state = size === 0 ? 'trailers' : 'chunk'
    return end + 2
  }

  #readTrailers(chunk: Buffer, at: number): number | undefined {
    if (chunk.length - at >= 2 && chunk[at] === CR && chunk[at + 1] === LF) {
      this.#end(NO_HEADERS)
      return at + 2
    }
    const end = chunk.indexOf(BLANK_LINE, this.#unsearched(at))
    if ((end === -1 ? chunk.length : end) - at > MAX_TRAILER_BYTES) return this.#invalid()
    if (end === -1) return undefined
    const text = chunk.toString('latin1', at, end)
    const trailers = FIELDS.test(text) ? readFields(text, 0) : undefined
    if (!trailers) return this.#invalid()
    this.#end(trailers)
    return end + 4
  }

  #end(trailers: AnswerHeaders): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#trailers = trailers
  }

  #tellEnd(): void {
    const trailers = this.#trailers
    this.#rest = undefined
    this.#trailers = undefined
    if (trailers) this.#to.onEnd(trailers)
  }

  #invalid(): undefined {
    this.stop()
    this.#to.onInvalid()
    return undefined
  }
}

const CR = 13
const LF = 10
const BLANK_LINE = Buffer.from('\r\n\r\n')

/**
 * JavaScriptCore keeps arrays up to this size in its own heap, and moves one out, with two more
 * allocations, at the first subarray. A copy costs less, and keeps nothing else alive.
 */
const MAX_COPIED_BYTES = 1000

/** Returns the chunk itself if that is all of it. */
function part(chunk: Buffer, from: number, to: number): Buffer {
  const bytes = to - from
  if (bytes === chunk.length) return chunk
  if (bytes > MAX_COPIED_BYTES) return chunk.subarray(from, to)
  const copy = Buffer.allocUnsafeSlow(bytes)
  chunk.copy(copy, 0, from, to)
  return copy
}

/**
 * Finds the end of a chunk-size line, which is short: a native search costs more than these few
 * steps.
 */
function lineEnd(chunk: Buffer, from: number): number {
  const last = Math.min(from + MAX_CHUNK_LINE_BYTES + 1, chunk.length - 1)
  for (let at = from; at < last; at++) if (chunk[at] === CR && chunk[at + 1] === LF) return at
  return -1
}

/** Whether a partial head may still become a valid one; nothing after `from` has been checked. */
function looksLikeHead(chunk: Buffer, at: number, from: number): boolean {
  const compared = Math.min(chunk.length - at, HTTP.length)
  if (chunk.compare(HTTP, 0, compared, at, at + compared) !== 0) return false
  const lf = chunk.indexOf(LF, from)
  return lf === -1 || chunk[lf - 1] === CR
}

const HTTP = Buffer.from('HTTP/1.')

const closes = (connection: string | undefined): boolean =>
  connection !== undefined && /(?:^|,)[ \t]*close[ \t]*(?:,|$)/i.test(connection)

/** RFC 9112 §7.1: hexadecimal digits, possibly with extensions. */
function readSize(chunk: Buffer, from: number, end: number): number | undefined {
  let size = 0
  let at = from
  for (; at < end; at++) {
    const digit = HEX[chunk[at] ?? 0] ?? -1
    if (digit < 0) break
    size = size * 16 + digit
  }
  if (at === from || at - from > 12) return undefined
  if (at === end) return size
  if (chunk[at] !== SEMICOLON) return undefined
  for (; at < end; at++) if ((chunk[at] ?? 0) < 32 && chunk[at] !== TAB) return undefined
  return size
}

const SEMICOLON = 59
const TAB = 9
const HEX = new Int8Array(256).fill(-1)
for (let digit = 0; digit < 16; digit++) {
  const text = digit.toString(16)
  HEX[text.charCodeAt(0)] = digit
  HEX[text.toUpperCase().charCodeAt(0)] = digit
}
