// Reads the answers of one connection to an upstream (RFC 9112). Stricter than it has to be: an
// answer that two readers could read differently is no answer, since what is left of it on a kept
// connection would be taken for the next caller's. It decodes no content coding and keeps no body.

/** Names in lower case. */
export type AnswerHeaders = Readonly<Record<string, string | undefined>>

export interface ResponseHead {
  readonly status: number
  readonly headers: AnswerHeaders
}

export interface ResponseEvents {
  onHead(head: ResponseHead): void
  onData(chunk: Buffer): void
  /** The whole answer has been read. */
  onEnd(trailers: AnswerHeaders): void
  /** What came is no answer, and nothing after it will be one. */
  onInvalid(): void
}

const MAX_HEAD_BYTES = 65_536
const MAX_INTERIM = 8
/** With its extensions, which mean nothing to us. */
const MAX_CHUNK_LINE_BYTES = 1024
const MAX_TRAILER_BYTES = 16_384

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [^\r\n\0]*)?$/
/** RFC 9110 §5.6.2 */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** A CR or an LF of its own, or a NUL: RFC 9112 §2.2, RFC 9110 §5.5. */
const STRAY = /\r(?:[^\n]|$)|(?:[^\r]|^)\n|\0/
const LENGTH = /^\d{1,15}$/
/** Those of which the first counts where there are several. */
const SINGLE = new Set(['content-type', 'retry-after', 'etag', 'last-modified', 'location'])
const NO_HEADERS: AnswerHeaders = {}

type State = 'head' | 'length' | 'close' | 'size' | 'chunk' | 'chunk end' | 'trailers' | 'over'

export class ResponseReader {
  readonly #to: ResponseEvents
  #state: State = 'head'
  /** What came of a line, or of a head, that is not whole yet. */
  #rest: Buffer | undefined
  /** Of the body, or of its present chunk. */
  #left = 0
  #interim = 0
  #reusable = true

  constructor(to: ResponseEvents) {
    this.#to = to
  }

  /** Whether the connection may carry another request: the answer says so, and nothing is left. */
  get reusable(): boolean {
    return this.#reusable
  }

  push(given: Buffer): void {
    const chunk = this.#rest ? Buffer.concat([this.#rest, given]) : given
    this.#rest = undefined
    let at = 0
    while (at < chunk.length) {
      const next = this.#step(chunk, at)
      if (next === undefined) {
        if (this.#state !== 'over') this.#rest = at === 0 ? chunk : chunk.subarray(at)
        return
      }
      at = next
      if (this.#state === 'over') {
        // Nobody asked for more.
        if (at < chunk.length) this.#reusable = false
        return
      }
    }
  }

  /** The connection was closed in order. */
  close(): void {
    this.#reusable = false
    if (this.#state === 'close') this.#end(NO_HEADERS)
  }

  /** Nothing more is told. */
  stop(): void {
    this.#state = 'over'
    this.#reusable = false
  }

  /** Where to go on; undefined where more has to come first. */
  #step(chunk: Buffer, at: number): number | undefined {
    switch (this.#state) {
      case 'head':
        return this.#readHead(chunk, at)
      case 'close':
        this.#to.onData(at === 0 ? chunk : chunk.subarray(at))
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
    const end = chunk.indexOf('\r\n\r\n', at, 'latin1')
    if (end === -1 ? chunk.length - at > MAX_HEAD_BYTES : end - at > MAX_HEAD_BYTES) {
      return this.#invalid()
    }
    if (end === -1) return undefined
    const text = chunk.toString('latin1', at, end)
    const lineEnd = text.indexOf('\r\n')
    const line = STATUS_LINE.exec(lineEnd === -1 ? text : text.slice(0, lineEnd))
    const headers = lineEnd === -1 ? NO_HEADERS : readFields(text, lineEnd + 2)
    if (!line || !headers) return this.#invalid()
    const status = Number(line[2])
    if (status < 200) {
      this.#interim += 1
      return status === 101 || this.#interim > MAX_INTERIM ? this.#invalid() : end + 4
    }
    if (!this.#frame(status, headers)) return this.#invalid()
    if (line[1] === '0' || closes(headers['connection'])) this.#reusable = false
    const empty = this.#state === 'length' && this.#left === 0
    this.#to.onHead({ status, headers })
    if (empty) this.#end(NO_HEADERS)
    return end + 4
  }

  /** RFC 9112 §6.3. */
  #frame(status: number, headers: AnswerHeaders): boolean {
    const coding = headers['transfer-encoding']
    const length = headers['content-length']
    if (coding !== undefined && length !== undefined) return false
    if (status === 204 || status === 304) {
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
    this.#to.onData(at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end))
    if (this.#left === 0) {
      if (this.#state === 'chunk') this.#state = 'chunk end'
      else if (this.#state === 'length') this.#end(NO_HEADERS)
    }
    return end
  }

  #readSize(chunk: Buffer, at: number): number | undefined {
    const end = chunk.indexOf('\r\n', at, 'latin1')
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
    const end = chunk.indexOf('\r\n\r\n', at, 'latin1')
    if ((end === -1 ? chunk.length : end) - at > MAX_TRAILER_BYTES) return this.#invalid()
    if (end === -1) return undefined
    const text = chunk.toString('latin1', at, end)
    const trailers = readFields(text, 0)
    if (!trailers) return this.#invalid()
    this.#end(trailers)
    return end + 4
  }

  #end(trailers: AnswerHeaders): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#to.onEnd(trailers)
  }

  #invalid(): undefined {
    this.stop()
    this.#to.onInvalid()
    return undefined
  }
}

const CR = 13
const LF = 10

/** Undefined where a line is none of `name: value`. */
function readFields(text: string, from: number): AnswerHeaders | undefined {
  if (STRAY.test(text)) return undefined
  const headers: Record<string, string> = { __proto__: null as never }
  let at = from
  while (at < text.length) {
    const found = text.indexOf('\r\n', at)
    const end = found === -1 ? text.length : found
    const colon = text.indexOf(':', at)
    if (colon === -1 || colon > end) return undefined
    const key = keyOf(text.slice(at, colon))
    if (key === undefined) return undefined
    const value = text.slice(colon + 1, end).trim()
    const before = headers[key]
    if (before === undefined) headers[key] = value
    else if (!SINGLE.has(key)) headers[key] = `${before}, ${value}`
    at = end + 2
  }
  return headers
}

/** As they came, to their key: an upstream sends the same ones each time. */
const KEYS = new Map<string, string>()
const MAX_KEYS = 256

/** Undefined for what is no name. */
function keyOf(name: string): string | undefined {
  const known = KEYS.get(name)
  if (known !== undefined) return known
  if (!TOKEN.test(name)) return undefined
  const key = name.toLowerCase()
  if (KEYS.size < MAX_KEYS) KEYS.set(name, key)
  return key
}

const closes = (connection: string | undefined): boolean =>
  connection !== undefined && /(?:^|,)[ \t]*close[ \t]*(?:,|$)/i.test(connection)

/** RFC 9112 §7.1: hexadecimal digits, then perhaps extensions. */
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
