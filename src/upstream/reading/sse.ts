// Reads server-sent events (WHATWG HTML §9.2.6) from bytes that are passed on to a client. Only wanted
// events are decoded; the lines of all others are found and skipped.
//
// It never changes or keeps a chunk: it copies the wanted line so far, up to a bound, and reports a
// longer event as lost. Text after the last blank line is not an event.

/** Wanted events are under 2 KiB; the bound is for a broken upstream. */
export const MAX_EVENT_BYTES = 65_536

/** The events that are read; ASCII. One object serves all streams of an API. */
export interface EventsWanted {
  /** `message` also stands for events without a name. */
  readonly names: readonly string[]
  readonly maxEventBytes?: number
  /** Searched near the beginning of each event that `onDelta` reports. */
  readonly mark?: string
}

export interface EventListener {
  onEvent(name: string, data: string): void
  /** A wanted event could not be read. */
  onLost(name: string): void
  /**
   * An unwanted event whose name ends in `delta` has passed, with this many bytes of data; `marked` if
   * the mark was near their beginning.
   */
  onDelta?(dataBytes: number, marked: boolean): void
  /** Decides whether the line of a nameless event is worth decoding. */
  isOfInterest?(bytes: Uint8Array, from: number, to: number): boolean
}

const CR = 0x0d
const LF = 0x0a
const COLON = 0x3a
const SPACE = 0x20
const UNNAMED = 'message'
const FIRST_HOLD_BYTES = 1024

const BYTE_ORDER_MARK = Uint8Array.of(0xef, 0xbb, 0xbf)
const EVENT = 'event'
const DATA = 'data'
const E = 0x65
const D = 0x64
const LAST_OF_DELTA = 0x61
const DELTA = 'delta'
const EMPTY = new Uint8Array()
/** The mark follows `data: {"type":"…","index":12,"delta":{"type":"`. */
const MARK_BYTES = 128
/** Marked events are long; shorter ones, which are most, are not searched. */
const MIN_MARKED_BYTES = 200

/** Shared by all streams, because it has no state: lines end between characters. */
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true })

export class EventReader {
  /** The last chunk ended with an event and an LF, so there is no other state. */
  #between = false
  readonly #wanted: EventsWanted
  readonly #to: EventListener

  #markBytes = 0
  #afterCr = false

  /** The line so far, if it began in an earlier chunk and may matter. */
  #held: Uint8Array | undefined
  #heldBytes = 0
  /** Neither the line so far nor its rest matters. */
  #skipping = false

  /** The event so far. */
  #name: string | undefined
  #unwanted = false
  #data: string | undefined
  #dataBytes = 0
  #lost = false
  /** It is reported to `onDelta`. */
  #isDelta = false
  #marked = false
  /** The first bytes of its data, if they came in pieces. */
  #head: Uint8Array | undefined
  #splitBytes = 0
  /** The line whose rest is skipped is a data line. */
  #skippingData = false

  constructor(wanted: EventsWanted, to: EventListener) {
    this.#wanted = wanted
    this.#to = to
  }

  /** Nothing of an event or a line is held; false before the first one. */
  get isBetweenEvents(): boolean {
    return this.#between
  }

  get #maxEventBytes(): number {
    return this.#wanted.maxEventBytes ?? MAX_EVENT_BYTES
  }

  /** The name of an event that has none. */
  get #unnamed(): string | undefined {
    return this.#wanted.names.includes(UNNAMED) ? UNNAMED : undefined
  }

  push(chunk: Uint8Array): void {
    // Most chunks are one such event, and with many streams the code below is cold.
    if (this.#between && this.#passes(chunk)) return
    this.#between = false
    const length = chunk.length
    let at = this.#markBytes < BYTE_ORDER_MARK.length ? this.#stepOverMark(chunk) : 0
    if (at === length) return
    if (this.#afterCr) {
      this.#afterCr = false
      if (chunk[at] === LF) at += 1
    }
    // Both positions are remembered: otherwise a chunk with only one of the two would be searched to its
    // end for each line.
    let lf = -1
    let cr = -1
    while (at < length) {
      // Every second line is blank and needs no search.
      if (chunk[at] === LF && this.#heldBytes === 0 && !this.#skipping) {
        this.#dispatch()
        at += 1
        this.#between = at === length
        continue
      }
      if (lf < at) lf = position(chunk, LF, at)
      if (cr < at) cr = position(chunk, CR, at)
      const end = cr < lf ? cr : lf
      if (end === length) return this.#hold(chunk, at, length)
      this.#endLine(chunk, at, end)
      at = end + 1
      if (end === cr) {
        if (at === length) this.#afterCr = true
        else if (chunk[at] === LF) at += 1
      }
    }
  }

  /**
   * Whether the chunk is exactly one event with an unwanted name, in two lines that end in LF. The second
   * line does not matter then.
   */
  #passes(chunk: Uint8Array): boolean {
    const colon = EVENT.length
    const last = chunk.length - 1
    if (chunk[last] !== LF || chunk[colon] !== COLON || !isAt(EVENT, chunk, 0, colon)) return false
    let end = colon + 1
    while (chunk[end] !== LF) end += 1
    const from = valueStart(chunk, colon, end)
    if (from === end) return false
    for (const name of this.#wanted.names) if (isAt(name, chunk, from, end)) return false
    if (position(chunk, LF, end + 1) !== last - 1 || chunk.includes(CR)) return false
    if (this.#to.onDelta && isDeltaName(chunk, from, end)) {
      this.#to.onDelta(last - 2 - end, this.#isMarked(chunk, end + 1, last))
    }
    return true
  }

  #isMarked(bytes: Uint8Array, from: number, to: number): boolean {
    const { mark } = this.#wanted
    if (mark === undefined || to - from < MIN_MARKED_BYTES) return false
    const last = Math.min(to, from + MARK_BYTES) - mark.length
    for (let at = from; at <= last; at += 1)
      if (isAt(mark, bytes, at, at + mark.length)) return true
    return false
  }

  #dispatch(): void {
    if (this.#isDelta) {
      const bytes = this.#dataBytes
      const isSplit = this.#splitBytes > 0 && this.#head !== undefined
      this.#to.onDelta?.(
        bytes,
        this.#marked || (isSplit && this.#isMarked(this.#head ?? EMPTY, 0, bytes)),
      )
      this.#isDelta = false
      this.#marked = false
      this.#splitBytes = 0
    }
    const dispatched = this.#unwanted ? undefined : (this.#name ?? this.#unnamed)
    const text = this.#data
    const incomplete = this.#lost
    this.#name = undefined
    this.#unwanted = false
    this.#data = undefined
    this.#dataBytes = 0
    this.#lost = false
    if (dispatched === undefined) return
    if (incomplete) this.#to.onLost(dispatched)
    else if (text !== undefined) this.#to.onEvent(dispatched, text)
  }

  #setName(bytes: Uint8Array, from: number, to: number): void {
    this.#name = this.#wanted.names.find((each) => isAt(each, bytes, from, to))
    this.#unwanted = this.#name === undefined && from !== to
    this.#isDelta = this.#unwanted && this.#to.onDelta !== undefined && isDeltaName(bytes, from, to)
  }

  /** Bytes of an unwanted event's data, which are counted and not read. */
  #countData(bytes: Uint8Array, from: number, to: number): void {
    if (!this.#isDelta) return
    this.#dataBytes += to - from
    const room = MARK_BYTES - this.#splitBytes
    if (room <= 0 || this.#wanted.mark === undefined) return
    const piece = bytes.subarray(from, Math.min(to, from + room))
    this.#head ??= new Uint8Array(MARK_BYTES)
    this.#head.set(piece, this.#splitBytes)
    this.#splitBytes += piece.length
  }

  #addData(bytes: Uint8Array, from: number, to: number): void {
    // A further line belongs to the wanted data before it.
    const isFirst = this.#name === undefined && this.#data === undefined && !this.#lost
    if (isFirst && this.#to.isOfInterest?.(bytes, from, to) === false) return
    this.#dataBytes += to - from
    if (this.#dataBytes > this.#maxEventBytes) this.#lost = true
    if (this.#lost) {
      this.#data = undefined
      return
    }
    const text = utf8.decode(bytes.subarray(valueStart(bytes, from + DATA.length, to), to))
    this.#data = this.#data === undefined ? text : `${this.#data}\n${text}`
  }

  #readLine(bytes: Uint8Array, from: number, to: number): void {
    if (from === to) return this.#dispatch()
    const first = bytes[from]
    if (first === D) {
      // If an event has two names and only the last is wanted, the data before it is lost.
      if (this.#unwanted) {
        this.#lost = true
        if (!this.#isDelta) return
        this.#dataBytes += to - from
        this.#marked ||= this.#isMarked(bytes, from, to)
      } else if (isField(DATA, bytes, from, to)) this.#addData(bytes, from, to)
    } else if (first === E && isField(EVENT, bytes, from, to)) {
      this.#setName(bytes, valueStart(bytes, from + EVENT.length, to), to)
    }
  }

  #hold(chunk: Uint8Array, from: number, to: number): void {
    if (from === to) return
    if (this.#skipping) {
      if (this.#skippingData) this.#countData(chunk, from, to)
      return
    }
    if (this.#heldBytes === 0) {
      const first = chunk[from]
      const isUnwantedData = first === D && this.#unwanted
      if (isUnwantedData) {
        this.#lost = true
        this.#countData(chunk, from, to)
      }
      if (first !== E && (first !== D || this.#unwanted)) {
        this.#skipping = true
        this.#skippingData = isUnwantedData
        return
      }
    }
    const bytes = this.#heldBytes + to - from
    if (bytes > this.#maxEventBytes) {
      this.#lost = true
      this.#skipping = true
      this.#heldBytes = 0
      return
    }
    const held = this.#roomFor(bytes)
    held.set(chunk.subarray(from, to), this.#heldBytes)
    this.#heldBytes = bytes
  }

  /** The held bytes; the buffer grows by doubling. */
  #roomFor(bytes: number): Uint8Array {
    const held = this.#held
    if (held && held.length >= bytes) return held
    let size = held?.length ?? FIRST_HOLD_BYTES
    while (size < bytes) size *= 2
    const grown = new Uint8Array(size)
    if (held) grown.set(held.subarray(0, this.#heldBytes))
    this.#held = grown
    return grown
  }

  #endLine(chunk: Uint8Array, from: number, to: number): void {
    if (this.#heldBytes > 0) this.#hold(chunk, from, to)
    if (this.#skipping) {
      if (this.#skippingData) this.#countData(chunk, from, to)
      this.#skipping = false
      this.#skippingData = false
    } else if (this.#heldBytes > 0 && this.#held) {
      const bytes = this.#heldBytes
      this.#heldBytes = 0
      this.#readLine(this.#held, 0, bytes)
    } else {
      this.#readLine(chunk, from, to)
    }
  }

  /** Skips a byte order mark at the beginning of the stream; it may come in three pieces. */
  #stepOverMark(chunk: Uint8Array): number {
    let at = 0
    while (at < chunk.length && this.#markBytes < BYTE_ORDER_MARK.length) {
      if (chunk[at] !== BYTE_ORDER_MARK[this.#markBytes]) {
        // A part of a byte order mark begins an unknown field.
        if (this.#markBytes > 0) this.#skipping = true
        this.#markBytes = BYTE_ORDER_MARK.length
        break
      }
      this.#markBytes += 1
      at += 1
    }
    return at
  }
}

/** Called for each event: the first different byte decides. */
function isDeltaName(bytes: Uint8Array, from: number, to: number): boolean {
  return (
    bytes[to - 1] === LAST_OF_DELTA &&
    to - from >= DELTA.length &&
    isAt(DELTA, bytes, to - DELTA.length, to)
  )
}

/** The next position of `byte`, or the chunk's length. */
function position(chunk: Uint8Array, byte: number, from: number): number {
  const at = chunk.indexOf(byte, from)
  return at === -1 ? chunk.length : at
}

/** Whether the line is `field`, or begins with `field:`. */
function isField(field: string, line: Uint8Array, from: number, to: number): boolean {
  const end = from + field.length
  return isAt(field, line, from, Math.min(end, to)) && (end === to || line[end] === COLON)
}

function valueStart(line: Uint8Array, colon: number, to: number): number {
  if (colon >= to) return to
  return line[colon + 1] === SPACE && colon + 1 < to ? colon + 2 : colon + 1
}

/** `text` is ASCII. Compares from the end, where names of events differ. */
function isAt(text: string, bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from !== text.length) return false
  for (let i = text.length - 1; i >= 0; i -= 1) {
    if (bytes[from + i] !== text.charCodeAt(i)) return false
  }
  return true
}
