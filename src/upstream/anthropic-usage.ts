// What Anthropic says that a request used, read from its answer's bytes while they pass: a stream's
// `message_start` and `message_delta`, or the `usage` of a whole message.
//
// Nothing is counted or estimated here, the classes of tokens are never added up into one, and
// whatever the bytes are, nothing is thrown: an answer that can't be read has its usage unknown.

import { type Decoding, decoding, type Sink } from './decoding.ts'
import { EventReader } from './sse.ts'
import { type MeteredUsage, type Tally, tally } from './tally.ts'

export interface Meter {
  /** The chunk is only looked at, and not kept. */
  push(chunk: Uint8Array): void
  /** Whether the answer was whole shows in it, however its connection ended. */
  end(): MeteredUsage
}

/** Whole messages are under 1 MiB; one that is larger has its usage unknown. */
export const MAX_WHOLE_BYTES = 8 * 1024 * 1024

const FIRST_BUFFER_BYTES = 16_384

/** Both are the answer's headers, as they came. */
export function anthropicUsageMeter(
  contentType: string | undefined,
  contentEncoding: string | undefined,
): Meter {
  const reading = readingOf(contentType)
  const decoder = reading && decoding(contentEncoding, reading.sink)
  if (!reading || !decoder) return { push() {}, end: () => tally().result(false) }
  return new Metering(decoder, reading.end)
}

class Metering implements Meter {
  readonly #decoder: Decoding
  readonly #result: () => MeteredUsage
  #ended: MeteredUsage | undefined
  #deaf = false

  constructor(decoder: Decoding, result: () => MeteredUsage) {
    this.#decoder = decoder
    this.#result = result
  }

  push(chunk: Uint8Array): void {
    if (this.#deaf || this.#ended) return
    try {
      this.#decoder.push(chunk)
    } catch {
      // Whatever this is, it is not worth the stream of which we only read along.
      this.#deaf = true
    }
  }

  end(): MeteredUsage {
    this.#ended ??= this.#result()
    this.#decoder.close?.()
    return this.#ended
  }
}

/** One way of reading what was decoded. */
interface Reading {
  readonly sink: Sink
  end(): MeteredUsage
}

function readingOf(contentType: string | undefined): Reading | undefined {
  switch (contentType?.split(';', 1)[0]?.trim().toLowerCase()) {
    case 'text/event-stream':
      return streamed()
    case 'application/json':
      return whole()
    default:
      return undefined
  }
}

const EVENTS = ['message_start', 'message_delta', 'message_stop', 'error'] as const

function streamed(): Reading {
  const counts = tally()
  let stopped = false
  const sink = new EventReader({
    wanted: EVENTS,
    onEvent(name, data) {
      const event = parseObject(data)
      // Anthropic's own client goes by the name on the line; the two say the same.
      if (event?.['type'] !== name) return counts.doubt()
      switch (name) {
        case 'message_start': {
          const message = objectIn(event['message'])
          counts.model(message?.['model'])
          return counts.note(message?.['usage'], 'first')
        }
        case 'message_delta':
          return counts.note(event['usage'], 'last')
        case 'message_stop':
          stopped = true
          return
        case 'error':
          return noteError(counts, event)
      }
    },
    onLost: counts.doubt,
  })
  return { sink, end: () => counts.result(stopped) }
}

function whole(): Reading {
  let buffer = new Uint8Array(FIRST_BUFFER_BYTES)
  let bytes = 0
  const push = (chunk: Uint8Array): void => {
    const length = bytes + chunk.length
    if (length > MAX_WHOLE_BYTES) {
      bytes = Infinity
      buffer = new Uint8Array(0)
      return
    }
    if (length > buffer.length) {
      const grown = new Uint8Array(Math.max(length, Math.min(2 * buffer.length, MAX_WHOLE_BYTES)))
      grown.set(buffer.subarray(0, bytes))
      buffer = grown
    }
    buffer.set(chunk, bytes)
    bytes = length
  }
  const end = (): MeteredUsage => {
    const counts = tally()
    const text = bytes === Infinity ? '' : new TextDecoder().decode(buffer.subarray(0, bytes))
    buffer = new Uint8Array(0)
    const body = parseObject(text)
    counts.model(body?.['model'])
    counts.note(body?.['usage'], 'last')
    noteError(counts, body)
    return counts.result(body !== undefined)
  }
  return { sink: { push }, end }
}

/** `{"type":"error","error":{"type":"overloaded_error",…}}` */
function noteError(counts: Tally, body: Readonly<Record<string, unknown>> | undefined): void {
  if (body?.['type'] === 'error') counts.error(objectIn(body['error'])?.['type'])
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return objectIn(JSON.parse(text))
  } catch {
    return undefined
  }
}

function objectIn(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined
}
