// Reads the usage of an Anthropic response while its bytes pass: from a stream's `message_start` and
// `message_delta`, or from the `usage` of a complete message. The output since a stream's last count is
// estimated separately, in case the stream is cut.
//
// Classes of tokens are never added together. It throws for no bytes: the usage of an unreadable response
// is unknown.

import { decoding } from '../../http1/decoding.ts'
import type { ResultsReader } from '../reading/batch-results.ts'
import { objectIn, parseObject } from '../reading/json-object.ts'
import { type Kept, tellBlock, tellMessage } from '../reading/kept.ts'
import { mediaTypeOf, type Meter, Metering, type Reading } from '../reading/metering.ts'
import { Passed, tokensOf } from '../reading/passed.ts'
import { type EventListener, EventReader, type EventsWanted } from '../reading/sse.ts'
import { type MeteredUsage, Tally } from '../reading/tally.ts'
import { wholeBody } from '../reading/whole-body.ts'

/** Both are the response's headers, unchanged. */
export function anthropicUsageMeter(
  contentType: string | undefined,
  contentEncoding: string | undefined,
  kept?: Kept,
): Meter {
  const reading = readingOf(contentType, kept)
  const decoder = reading && decoding(contentEncoding, reading.sink)
  if (!reading || !decoder) return { push() {}, end: () => new Tally().result(false) }
  return new Metering(decoder, reading)
}

function readingOf(contentType: string | undefined, kept?: Kept): Reading | undefined {
  switch (mediaTypeOf(contentType)) {
    case 'text/event-stream':
      return new Streamed(kept)
    case 'application/json':
      return wholeBody((counts, body) => {
        noteMessage(counts, body)
        if (kept) tellMessage(body, kept)
      })
    default:
      return undefined
  }
}

const EVENTS: EventsWanted = {
  names: [
    'message_start',
    'message_delta',
    'message_stop',
    'error',
    'content_block_start',
    'content_block_stop',
  ],
  mark: 'signature_delta',
}

/** The counted requests, by the name of their tool. */
const TOOL_REQUESTS: ReadonlyMap<string, string> = new Map([
  ['web_search', 'web_search_requests'],
  ['web_fetch', 'web_fetch_requests'],
])

/** The overhead of a content_block_delta's line: its JSON and `data: `. */
const DELTA_FRAME_BYTES = 86

class Streamed implements Reading, EventListener {
  readonly sink = new EventReader(EVENTS, this)
  readonly #counts = new Tally()
  readonly #passed = new Passed()
  readonly #kept: Kept | undefined
  #stopped = false
  /** The model has finished. */
  #written = false
  /** How often a server tool's results were read since the last count, and their bytes. */
  #rounds = 0
  #resultTokens = 0
  /** Billed work that only the last count includes. */
  #isHidden = false
  #tools: Record<string, number> | undefined

  constructor(kept: Kept | undefined) {
    this.#kept = kept
  }

  moved(now: number): void {
    this.#passed.moved(now)
  }

  end(_isComplete: boolean, wasRead: boolean): MeteredUsage {
    if (!wasRead || this.#isHidden) return this.#counts.result(false)
    const since = {
      outputTokens: this.#passed.tokens,
      inputTokens: this.#rounds * this.#counts.promptTokens + this.#resultTokens,
      ...(this.#tools && { serverTools: { ...this.#tools } }),
    }
    return this.#counts.result(this.#stopped, since, this.#stopped || this.#written)
  }

  onDelta(dataBytes: number, isSignature: boolean): void {
    if (isSignature) this.#passed.signature(dataBytes - DELTA_FRAME_BYTES)
    else this.#passed.text(dataBytes - DELTA_FRAME_BYTES)
  }

  onLost(name: string): void {
    if (name !== 'content_block_start') return this.#counts.doubt()
    // An event larger than the bound: the results of a search.
    this.#passed.block(false)
    this.#rounds += 1
  }

  onEvent(name: string, data: string): void {
    const counts = this.#counts
    if (name === 'content_block_stop') return this.#passed.endBlock()
    const event = parseObject(data)
    // Anthropic's own client uses the event's name; both are the same.
    if (event?.['type'] !== name) return counts.doubt()
    switch (name) {
      case 'message_start': {
        const message = objectIn(event['message'])
        counts.model(message?.['model'])
        if (this.#kept && message) tellMessage(message, this.#kept)
        return counts.note(message?.['usage'], 'first')
      }
      case 'content_block_start':
        if (this.#kept) tellBlock(event['content_block'], this.#kept)
        return this.#onBlock(objectIn(event['content_block']), data.length)
      case 'message_delta':
        if (this.#kept) tellMessage(objectIn(event['delta']) ?? {}, this.#kept)
        this.#noteLast(event['usage'], objectIn(event['delta'])?.['stop_reason'])
        return
      case 'message_stop':
        this.#stopped = true
        return
      case 'error':
        return noteError(counts, event)
    }
  }

  #noteLast(usage: unknown, stopReason: unknown): void {
    const output = objectIn(usage)?.['output_tokens']
    if (typeof stopReason === 'string') this.#written = true
    this.#counts.note(usage, 'last')
    // Zeros after real counts are ignored.
    if (typeof output !== 'number' || output <= 0) return
    this.#passed.counted()
    this.#rounds = 0
    this.#resultTokens = 0
    this.#isHidden = false
    this.#tools = undefined
  }

  #onBlock(block: Readonly<Record<string, unknown>> | undefined, dataBytes: number): void {
    const type = String(block?.['type'])
    this.#passed.block(type === 'thinking')
    if (type === 'redacted_thinking') this.#passed.signature(String(block?.['data']).length)
    if (type === 'compaction') this.#isHidden = true
    if (type === 'server_tool_use') {
      const name = String(block?.['name'])
      const requests = TOOL_REQUESTS.get(name)
      if (runsCode(name)) this.#counts.ranCode()
      if (name === 'advisor') this.#isHidden = true
      if (requests !== undefined) {
        this.#tools ??= {}
        this.#tools[requests] = (this.#tools[requests] ?? 0) + 1
      }
    } else if (type.endsWith('_tool_result')) {
      this.#rounds += 1
      this.#resultTokens += tokensOf(dataBytes)
    }
  }
}

/** Of `GET /v1/messages/batches/:id/results`. */
export const RESULTS: ResultsReader = {
  usageIn(line) {
    const { type, message } = objectIn(line['result']) ?? {}
    const body = objectIn(message)
    if (type !== 'succeeded' || !body) return undefined
    const counts = new Tally()
    noteMessage(counts, body)
    return counts.result(true)
  },
}

function noteMessage(counts: Tally, body: Readonly<Record<string, unknown>>): void {
  counts.model(body['model'])
  counts.note(body['usage'], 'last')
  noteError(counts, body)
  const { content } = body
  if (!Array.isArray(content)) return
  for (const block of content as readonly unknown[]) {
    const { type, name } = objectIn(block) ?? {}
    if (type === 'server_tool_use' && runsCode(String(name))) counts.ranCode()
  }
}

const runsCode = (tool: string): boolean => tool.endsWith('code_execution')

/** `{"type":"error","error":{"type":"overloaded_error",…}}` */
function noteError(counts: Tally, body: Readonly<Record<string, unknown>>): void {
  if (body['type'] === 'error') counts.error(objectIn(body['error'])?.['type'])
}
