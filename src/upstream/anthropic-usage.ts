// What Anthropic says that a request used, read from its answer's bytes while they pass: a stream's
// `message_start` and `message_delta`, or the `usage` of a whole message.
//
// Nothing is counted or estimated here, the classes of tokens are never added up into one, and
// whatever the bytes are, nothing is thrown: an answer that can't be read has its usage unknown.

import { type Decoding, decoding } from './decoding.ts'
import { eventReader } from './sse.ts'
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
  const decoder = reading && decoding(contentEncoding, reading.push)
  if (!reading || !decoder) return meter(undefined, () => tally().result(false))
  return meter(decoder, reading.end)
}

function meter(decoder: Decoding | undefined, result: () => MeteredUsage): Meter {
  let ended: MeteredUsage | undefined
  let deaf = decoder === undefined
  return {
    push(chunk) {
      if (deaf || ended) return
      try {
        decoder?.push(chunk)
      } catch {
        // Whatever this is, it is not worth the stream of which we only read along.
        deaf = true
      }
    },
    end() {
      ended ??= result()
      decoder?.close()
      return ended
    },
  }
}

function readingOf(contentType: string | undefined): Meter | undefined {
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

function streamed(): Meter {
  const counts = tally()
  let stopped = false
  const reader = eventReader({
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
  return { push: reader.push, end: () => counts.result(stopped) }
}

function whole(): Meter {
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
  return { push, end }
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
