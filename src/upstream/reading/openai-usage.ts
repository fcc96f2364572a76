// What an answer in OpenAI's dialect says that a request used, read from its bytes while they pass:
// the `usage` of a chunk (the last one, or each, cumulative), of `response.completed` and its kin, or
// of a whole body. Most chunks say none and are not parsed; their text is only measured, for a stream
// that is cut.

import { decoding, type Sink } from '../../http1/decoding.ts'
import { objectIn, parseObject } from './json-object.ts'
import { mediaTypeOf, type Meter, Metering, type Reading } from './metering.ts'
import { Passed } from './passed.ts'
import { EventReader } from './sse.ts'
import { type MeteredUsage, type Tally, tally } from './tally.ts'
import { wholeBody } from './whole-body.ts'

type JsonObject = Readonly<Record<string, unknown>>

/** A last event of the Responses API repeats the whole answer. */
const MAX_LAST_EVENT_BYTES = 1024 * 1024
/** A whole body is parsed in one turn of the loop; embeddings without a usage header may be larger. */
const MAX_BODY_BYTES = 2 * 1024 * 1024

/** Undefined where such an answer says nothing of usage. */
export function openAiUsageMeter(
  contentType: string | undefined,
  contentEncoding: string | undefined,
): Meter | undefined {
  const reading = readingOf(contentType)
  const decoder = reading && decoding(contentEncoding, reading.sink)
  return reading && decoder && new Metering(decoder, reading)
}

function readingOf(contentType: string | undefined): Reading | undefined {
  switch (mediaTypeOf(contentType)) {
    case 'text/event-stream':
      return new Streamed()
    case 'application/json':
      return wholeBody(noteBody, MAX_BODY_BYTES)
    default:
      return undefined
  }
}

const EVENTS = ['message', 'error', 'response.completed', 'response.incomplete', 'response.failed']

/** JSON strings escape their quotes, so that none of these is part of a text. */
const SAYS_USAGE = /"usage":\s*\{/
const SAYS_ERROR = /"error":\s*[{"]/
/** What a model writes, by the names of the members in which chunks carry it. */
const WRITTEN =
  /"(?:content|reasoning_content|reasoning|text|arguments|refusal|delta)":\s*"((?:[^"\\]|\\.)*)"/g
const DONE = /^data: ?\[DONE\]\s*$/
/** A chunk of a token or a few; longer ones are measured as a whole. */
const MAX_CHUNK_BYTES = 4096
/** Of an event of the Responses API, without what it carries: its ids, and padding. */
const RESPONSE_FRAME_BYTES = 250

/**
 * Whole nameless events with neither usage nor an error in them, which is most chunks of a stream: to
 * take each apart would cost as much as to pass it on.
 */
function saysNothing(bytes: Uint8Array): boolean {
  const last = bytes.length - 1
  if (last > MAX_CHUNK_BYTES || bytes[0] !== LOWER_D) return false
  if (bytes[last] !== LF || bytes[last - 1] !== LF) return false
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
  return !SAYS_SOMETHING.test(text)
}

const LF = 0x0a
const LOWER_D = 0x64
const SAYS_SOMETHING = /"usage":[^n]|"error"|\[DONE\]|event:|\r/

class Streamed implements Reading {
  readonly sink: Sink
  readonly #counts = new Counts()
  readonly #passed = new Passed()
  #ended = false

  constructor() {
    const passed = this.#passed
    const reader = new EventReader({
      wanted: EVENTS,
      maxEventBytes: MAX_LAST_EVENT_BYTES,
      onDelta: (dataBytes) => passed.text(Math.max(1, dataBytes - RESPONSE_FRAME_BYTES)),
      isOfInterest: (bytes, from, to) => this.#isOfInterest(bytes, from, to),
      onEvent: (_name, data) => this.#onEvent(data),
      onLost: () => this.#counts.doubt(),
    })
    this.sink = {
      push(bytes) {
        if (reader.isBetweenEvents && saysNothing(bytes)) passed.events(bytes.length)
        else reader.push(bytes)
      },
    }
  }

  moved(now: number): void {
    this.#passed.moved(now)
  }

  end(isComplete: boolean, wasRead: boolean): MeteredUsage {
    const isWhole = isComplete || this.#ended
    return wasRead
      ? this.#counts.result(isWhole, this.#passed.tokens)
      : this.#counts.result(false, undefined)
  }

  #isOfInterest(bytes: Uint8Array, from: number, to: number): boolean {
    if (to - from > MAX_CHUNK_BYTES) return true
    const line = Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1')
    if (line.includes('"usage"') && SAYS_USAGE.test(line)) return true
    if (line.includes('"error"') && SAYS_ERROR.test(line)) return true
    if (DONE.test(line)) this.#ended = true
    else this.#measure(line)
    // JSON that is spread over several lines is put together first.
    return !line.endsWith('}') && !line.endsWith(']')
  }

  #measure(text: string): void {
    let bytes = 0
    for (const [, written = ''] of text.matchAll(WRITTEN)) bytes += written.length
    this.#passed.text(bytes)
  }

  #onEvent(data: string): void {
    const event = parseObject(data)
    if (!event) return this.#counts.doubt()
    const response = objectIn(event['response'])
    const type = String(event['type'])
    if (/^response\.(?:completed|incomplete|failed)$/.test(type)) this.#ended = true
    const usage = event['usage'] ?? response?.['usage']
    const isCounted = this.#counts.note(usage)
    this.#counts.model(event['model'] ?? response?.['model'])
    this.#counts.error(event, response)
    // The count of a chunk holds what the chunk itself carries.
    if (isCounted) this.#passed.counted()
    else if (data.length > MAX_CHUNK_BYTES) this.#passed.text(data.length)
    else this.#measure(data)
  }
}

function noteBody(tally: Tally, body: JsonObject): void {
  const counts = new Counts(tally)
  counts.note(body['usage'])
  counts.model(body['model'])
  counts.error(body, undefined)
  counts.tell()
}

/** Some servers give the status as the code, and a type of their own. */
function typeOfStatus(status: number, type: unknown): unknown {
  if (status === 429 || status === 529) return 'rate_limit_error'
  if (status >= 400 && status < 500) return 'invalid_request_error'
  return type
}

/** Prompt tokens hold those that came from a cache; in a tally these are a class of their own. */
class Counts {
  readonly #tally: Tally
  #prompt: number | undefined
  #completion: number | undefined
  #cached = 0

  constructor(to: Tally = tally()) {
    this.#tally = to
  }

  /** Whether it counted anything. */
  note(usage: unknown): boolean {
    if (usage === undefined || usage === null) return false
    const members = objectIn(usage)
    if (!members) {
      this.doubt()
      return false
    }
    const prompt = this.#count(members['prompt_tokens'] ?? members['input_tokens'])
    const completion = this.#count(members['completion_tokens'] ?? members['output_tokens'])
    const details = objectIn(members['prompt_tokens_details'] ?? members['input_tokens_details'])
    this.#cached = Math.max(this.#cached, this.#count(details?.['cached_tokens']) ?? 0)
    if (prompt !== undefined) this.#prompt = Math.max(this.#prompt ?? 0, prompt)
    // Embeddings write nothing, and say nothing of it.
    const written = completion ?? (prompt === undefined ? undefined : 0)
    if (written !== undefined) this.#completion = Math.max(this.#completion ?? 0, written)
    return (prompt ?? 0) + (completion ?? 0) > 0
  }

  model(name: unknown): void {
    this.#tally.model(name)
  }

  /** `{"error":{"type":…}}`, an event of that type, or the error of a response that failed. */
  error(event: JsonObject, response: JsonObject | undefined): void {
    const error = event['error'] ?? response?.['error']
    if (error !== undefined && error !== null) {
      const { type, code } = objectIn(error) ?? {}
      this.#tally.error(typeof code === 'number' ? typeOfStatus(code, type) : (type ?? code))
    } else if (event['type'] === 'error') {
      this.#tally.error(event['code'])
    } else if (response?.['status'] === 'failed') {
      this.#tally.error(undefined)
    }
  }

  doubt(): void {
    this.#tally.doubt()
  }

  tell(): void {
    if (this.#prompt === undefined && this.#completion === undefined) return
    const cached = Math.min(this.#cached, this.#prompt ?? 0)
    const usage = {
      input_tokens: this.#prompt === undefined ? undefined : this.#prompt - cached,
      output_tokens: this.#completion,
      cache_read_input_tokens: cached,
    }
    this.#tally.note(usage, 'last')
  }

  result(isWhole: boolean, tokensSince: number | undefined): MeteredUsage {
    this.tell()
    const since =
      tokensSince === undefined ? undefined : { outputTokens: tokensSince, inputTokens: 0 }
    const isFinal = isWhole && (tokensSince ?? 0) === 0
    return this.#tally.result(isFinal, since, isWhole)
  }

  #count(value: unknown): number | undefined {
    if (value === undefined || value === null) return undefined
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
    this.doubt()
    return undefined
  }
}
