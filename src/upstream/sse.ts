// Server-sent events (WHATWG HTML §9.2.6) read out of bytes that pass on to somebody else. Only the
// events asked for are decoded; of all others, lines are found and stepped over.
//
// It never changes or keeps a chunk: what a wanted line holds so far is copied, up to a bound, and
// an event beyond the bound is reported as lost. What comes after the last blank line is no event.

/** The events wanted are under 2 KiB; the bound is for an upstream that lost its mind. */
export const MAX_EVENT_BYTES = 65_536

export interface EventReaderOptions {
  /** ASCII. `message` also stands for events without a name. */
  readonly wanted: readonly string[]
  readonly maxEventBytes?: number
  readonly onEvent: (name: string, data: string) => void
  /** A wanted event was there and could not be read. */
  readonly onLost: (name: string) => void
}

export interface EventReader {
  push(chunk: Uint8Array): void
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

/** Never told of a stream, and so one for all: lines end between characters. */
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true })

export function eventReader(options: EventReaderOptions): EventReader {
  const { onEvent, onLost, maxEventBytes = MAX_EVENT_BYTES } = options
  const { wanted } = options
  const unnamed = wanted.includes(UNNAMED) ? UNNAMED : undefined

  /** The last chunk ended with an event, and in LF: nothing else is to be remembered. */
  let between = false
  let markBytes = 0
  let afterCr = false

  /** The line so far, where it began in an earlier chunk and may matter. */
  let held: Uint8Array | undefined
  let heldBytes = 0
  /** The line so far does not matter, nor will its rest. */
  let skipping = false

  /** The event so far. */
  let name: string | undefined
  let unwanted = false
  let data: string | undefined
  let dataBytes = 0
  let lost = false

  const dispatch = (): void => {
    const dispatched = unwanted ? undefined : (name ?? unnamed)
    const text = data
    const incomplete = lost
    name = undefined
    unwanted = false
    data = undefined
    dataBytes = 0
    lost = false
    if (dispatched === undefined) return
    if (incomplete) onLost(dispatched)
    else if (text !== undefined) onEvent(dispatched, text)
  }

  const setName = (bytes: Uint8Array, from: number, to: number): void => {
    name = undefined
    unwanted = from !== to
    for (const each of wanted) {
      if (!isAt(each, bytes, from, to)) continue
      name = each
      unwanted = false
      return
    }
  }

  const addData = (bytes: Uint8Array, from: number, to: number): void => {
    dataBytes += to - from
    if (dataBytes > maxEventBytes) lost = true
    if (lost) {
      data = undefined
      return
    }
    const text = utf8.decode(bytes.subarray(valueStart(bytes, from + DATA.length, to), to))
    data = data === undefined ? text : `${data}\n${text}`
  }

  const readLine = (bytes: Uint8Array, from: number, to: number): void => {
    if (from === to) return dispatch()
    const first = bytes[from]
    if (first === D) {
      // Should an event have two names, and the last be wanted, the data before it is gone.
      if (unwanted) lost = true
      else if (isField(DATA, bytes, from, to)) addData(bytes, from, to)
    } else if (first === E && isField(EVENT, bytes, from, to)) {
      setName(bytes, valueStart(bytes, from + EVENT.length, to), to)
    }
  }

  const hold = (chunk: Uint8Array, from: number, to: number): void => {
    if (skipping || from === to) return
    if (heldBytes === 0) {
      const first = chunk[from]
      if (first === D && unwanted) lost = true
      if (first !== E && (first !== D || unwanted)) {
        skipping = true
        return
      }
    }
    const bytes = heldBytes + to - from
    if (bytes > maxEventBytes) {
      lost = true
      skipping = true
      heldBytes = 0
      return
    }
    if (held === undefined || held.length < bytes) {
      let size = held?.length ?? FIRST_HOLD_BYTES
      while (size < bytes) size *= 2
      const grown = new Uint8Array(size)
      if (held) grown.set(held.subarray(0, heldBytes))
      held = grown
    }
    held.set(chunk.subarray(from, to), heldBytes)
    heldBytes = bytes
  }

  const endLine = (chunk: Uint8Array, from: number, to: number): void => {
    if (heldBytes > 0) hold(chunk, from, to)
    if (skipping) {
      skipping = false
    } else if (heldBytes > 0 && held !== undefined) {
      const bytes = heldBytes
      heldBytes = 0
      readLine(held, 0, bytes)
    } else {
      readLine(chunk, from, to)
    }
  }

  /** Steps over a byte order mark that opens the stream; it may come in three pieces. */
  const stepOverMark = (chunk: Uint8Array): number => {
    let at = 0
    while (at < chunk.length && markBytes < BYTE_ORDER_MARK.length) {
      if (chunk[at] !== BYTE_ORDER_MARK[markBytes]) {
        // Part of a mark is the start of some field that nobody knows.
        if (markBytes > 0) skipping = true
        markBytes = BYTE_ORDER_MARK.length
        break
      }
      markBytes += 1
      at += 1
    }
    return at
  }

  return {
    push(chunk) {
      // Most chunks are such an event, and what is below is cold where many streams take turns.
      if (between && isUnwanted(chunk, wanted)) return
      between = false
      const length = chunk.length
      let at = markBytes < BYTE_ORDER_MARK.length ? stepOverMark(chunk) : 0
      if (at === length) return
      if (afterCr) {
        afterCr = false
        if (chunk[at] === LF) at += 1
      }
      // Both are looked for once and remembered, or a chunk of one of them alone would be searched
      // to its end again for each of its lines.
      let lf = -1
      let cr = -1
      while (at < length) {
        // Half of what ends is blank, and needs no search.
        if (chunk[at] === LF && heldBytes === 0 && !skipping) {
          dispatch()
          at += 1
          between = at === length
          continue
        }
        if (lf < at) lf = position(chunk, LF, at)
        if (cr < at) cr = position(chunk, CR, at)
        const end = cr < lf ? cr : lf
        if (end === length) return hold(chunk, at, length)
        endLine(chunk, at, end)
        at = end + 1
        if (end === cr) {
          if (at === length) afterCr = true
          else if (chunk[at] === LF) at += 1
        }
      }
    },
  }
}

/**
 * Is all of it one event of an unwanted name, in two lines that end in LF? Whatever the second line
 * is, nothing comes of such an event.
 */
function isUnwanted(chunk: Uint8Array, wanted: readonly string[]): boolean {
  const colon = EVENT.length
  const last = chunk.length - 1
  if (chunk[last] !== LF || chunk[colon] !== COLON || !isAt(EVENT, chunk, 0, colon)) return false
  let end = colon + 1
  while (chunk[end] !== LF) end += 1
  const from = valueStart(chunk, colon, end)
  if (from === end) return false
  for (const name of wanted) if (isAt(name, chunk, from, end)) return false
  return position(chunk, LF, end + 1) === last - 1 && !chunk.includes(CR)
}

/** Where `byte` is next, or the chunk's length. */
function position(chunk: Uint8Array, byte: number, from: number): number {
  const at = chunk.indexOf(byte, from)
  return at === -1 ? chunk.length : at
}

/** Is the line `field`, or does it begin with `field:`? */
function isField(field: string, line: Uint8Array, from: number, to: number): boolean {
  const end = from + field.length
  return isAt(field, line, from, Math.min(end, to)) && (end === to || line[end] === COLON)
}

function valueStart(line: Uint8Array, colon: number, to: number): number {
  if (colon >= to) return to
  return line[colon + 1] === SPACE && colon + 1 < to ? colon + 2 : colon + 1
}

/** `text` is ASCII. */
function isAt(text: string, bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from !== text.length) return false
  for (let i = 0; i < text.length; i += 1) if (bytes[from + i] !== text.charCodeAt(i)) return false
  return true
}
