// Reads the usage of a response in OpenAI's dialect while its bytes pass: the `usage` of a chunk (the
// last one, or each, cumulative), of `response.completed` and similar events, or of a complete body. Most
// chunks have none and are not parsed; only the length of their text is measured, in case the stream is
// cut.

import { decoding, type Sink } from '../../http1/decoding.ts'
import { parseObject } from './json-object.ts'
import { type Kept, type KeptAs, tellKeptHead, tellKeptItem } from './kept.ts'
import { mediaTypeOf, type Meter, Metering, type Reading } from './metering.ts'
import { OpenAiCounts } from './openai-counts.ts'
import { Passed } from './passed.ts'
import { type EventListener, EventReader, type EventsWanted } from './sse.ts'
import type { MeteredUsage, Tally } from './tally.ts'
import { usageInTail } from './usage-tail.ts'
import { wholeBody } from './whole-body.ts'

/** The last event of the Responses API repeats the whole response. */
const MAX_LAST_EVENT_BYTES = 1024 * 1024
/** A complete body is parsed in one turn of the event loop; embeddings and images may be larger. */
const MAX_BODY_BYTES = 2 * 1024 * 1024

/**
 * Undefined if such a response has no usage. `isText`: the stream's content is a model's text, whose
 * length tells how much it wrote; audio and images do not. `kept` is called as soon as the response
 * contains an id.
 */
export function openAiUsageMeter(
  contentType: string | undefined,
  contentEncoding: string | undefined,
  isText = true,
  kept?: Kept,
): Meter | undefined {
  const reading = readingOf(contentType, isText, kept)
  const decoder = reading && decoding(contentEncoding, reading.sink)
  return reading && decoder && new Metering(decoder, reading)
}

function readingOf(
  contentType: string | undefined,
  isText: boolean,
  kept: Kept | undefined,
): Reading | undefined {
  switch (mediaTypeOf(contentType)) {
    case 'text/event-stream':
      return new Streamed(isText, kept)
    case 'application/json':
      return kept ? keptBody(kept) : wholeBody(noteBody, WHOLE)
    default:
      return undefined
  }
}

const WHOLE = { maxBytes: MAX_BODY_BYTES, readTail: usageInTail }

const keptBody = (kept: Kept): Reading =>
  wholeBody((tally, body) => noteBody(tally, body, kept), {
    ...WHOLE,
    readHead: (head) => tellKeptHead(head, kept),
  })

/** The last events of a response, an image, a transcript and speech. */
const ENDS: ReadonlySet<string> = new Set([
  'response.completed',
  'response.incomplete',
  'response.failed',
  'image_generation.completed',
  'image_edit.completed',
  'transcript.text.done',
  'speech.audio.done',
])
/** The early event with the id of a response; it repeats the request and has no output. */
const BEGUN = 'response.created'
/** The early event with the id of an item: the last one may be too large, with an image. */
const ADDED = 'response.output_item.added'
const EVENTS: EventsWanted = {
  names: ['message', 'error', BEGUN, ...ENDS],
  maxEventBytes: MAX_LAST_EVENT_BYTES,
}
const KEPT_EVENTS: EventsWanted = { ...EVENTS, names: [...EVENTS.names, ADDED] }

/** JSON strings escape their quotes, so none of these can be inside a text. */
const SAYS_USAGE = /"usage":\s*\{/
const SAYS_ERROR = /"error":\s*[{"]/
/** The members in which chunks carry a model's output. */
const WRITTEN =
  /"(?:content|reasoning_content|reasoning|thinking|text|arguments|input|refusal|delta)":\s*"((?:[^"\\]|\\.)*)"/g
const CHUNK = '"chat.completion.chunk"'
const ID_CHUNKS = 4
const DONE = /^data: ?\[DONE\]\s*$/
/** A chunk with a few tokens at most; longer ones are measured as a whole. */
const MAX_CHUNK_BYTES = 4096
/** The overhead of an event of the Responses API: ids and padding. */
const RESPONSE_FRAME_BYTES = 250

/**
 * Complete nameless events with neither usage nor an error, which are most chunks of a stream: splitting
 * each would cost as much as passing it on.
 */
function saysNothing(bytes: Uint8Array): boolean {
  const last = bytes.length - 1
  if (last > MAX_CHUNK_BYTES || bytes[0] !== LOWER_D) return false
  if (bytes[last] !== LF || bytes[last - 1] !== LF) return false
  const text: string = Buffer.prototype.latin1Slice.call(bytes, 0, bytes.length)
  if (text.includes('"usage":') && SAYS_COUNTS.test(text)) return false
  return !SAY_SOMETHING.some((each) => text.includes(each))
}

const LF = 0x0a
const LOWER_D = 0x64
/** Most upstreams write `null` until the end. */
const SAYS_COUNTS = /"usage":[^n]/
/** Searched one by one, which takes half as long as one regular expression for all. */
const SAY_SOMETHING = ['"error"', '[DONE]', 'event:', '\r']

class Streamed implements Reading, Sink, Kept, EventListener {
  readonly #reader: EventReader
  readonly #counts: OpenAiCounts
  readonly #passed = new Passed()
  readonly #isText: boolean
  readonly #kept: Kept | undefined
  #ended = false
  /**
   * How many chunks are read for a chat's id. Every chunk has it, except the first of some servers; the id of
   * audio comes in the second.
   */
  #awaited: number

  constructor(isText: boolean, kept: Kept | undefined) {
    this.#isText = isText
    this.#kept = kept
    this.#awaited = kept ? ID_CHUNKS : 0
    this.#counts = new OpenAiCounts(undefined, kept && this)
    this.#reader = new EventReader(kept ? KEPT_EVENTS : EVENTS, this)
  }

  get sink(): Sink {
    return this
  }

  push(bytes: Uint8Array): void {
    const mayPass = this.#awaited === 0 && this.#reader.isBetweenEvents
    if (mayPass && saysNothing(bytes)) this.#passed.events(bytes.length)
    else this.#reader.push(bytes)
  }

  keeps(id: string, as?: KeptAs): void {
    this.#kept?.keeps(id, as)
  }

  moved(now: number): void {
    this.#passed.moved(now)
  }

  end(isComplete: boolean, wasRead: boolean): MeteredUsage {
    const isWhole = isComplete || this.#ended
    return wasRead
      ? this.#counts.result(isWhole, this.#isText ? this.#passed : undefined)
      : this.#counts.result(false, undefined)
  }

  onDelta(dataBytes: number): void {
    this.#passed.piece(Math.max(1, dataBytes - RESPONSE_FRAME_BYTES))
  }

  onLost(name: string): void {
    if (name !== ADDED) this.#counts.doubt()
  }

  isOfInterest(bytes: Uint8Array, from: number, to: number): boolean {
    if (to - from > MAX_CHUNK_BYTES) return true
    const line = Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1')
    if (line.includes('"usage"') && SAYS_USAGE.test(line)) return true
    if (line.includes('"error"') && SAYS_ERROR.test(line)) return true
    if (this.#awaited > 0) {
      this.#awaited -= 1
      if (line.includes(CHUNK)) return true
    }
    if (DONE.test(line)) this.#ended = true
    else this.#measure(line)
    // JSON that spans several lines is joined first.
    return !line.endsWith('}') && !line.endsWith(']')
  }

  #measure(text: string): void {
    let bytes = 0
    for (const [, written = ''] of text.matchAll(WRITTEN)) bytes += written.length
    this.#passed.piece(bytes)
  }

  onEvent(name: string, data: string): void {
    const event = parseObject(data)
    if (this.#kept && name === ADDED) return tellKeptItem(event?.['item'], this.#kept)
    if (!event) return this.#counts.doubt()
    if (ENDS.has(String(event['type']))) this.#ended = true
    const isCounted = this.#counts.noteAnswer(event)
    if (event['type'] === BEGUN) return
    // The count in a chunk includes the chunk's own text.
    if (isCounted) this.#passed.counted()
    else if (data.length > MAX_CHUNK_BYTES) this.#passed.text(data.length)
    else this.#measure(data)
  }
}

function noteBody(tally: Tally, body: Readonly<Record<string, unknown>>, kept?: Kept): void {
  const counts = new OpenAiCounts(tally, kept)
  counts.noteAnswer(body)
  counts.tell()
}
