// What the requests of a batch used, from their results: one JSON object on each line, read line by line
// while they pass. Results that are not read to their end count for nothing, and are read again.

import type { AnswerHeaders } from '../../http1/fields.ts'
import { decoding, type Sink } from '../../http1/decoding.ts'
import { parseObject } from './json-object.ts'
import { Metering, type Reading } from './metering.ts'
import { type BatchResults, type MeteredUsage, NO_USAGE } from './tally.ts'
import type { ModelUsage, TokenCounts } from './token-counts.ts'
import type { UsageMeter } from '../upstream.ts'

type JsonObject = Readonly<Record<string, unknown>>

export interface ResultsReader {
  /** What one line says that its request used; undefined if that failed. */
  usageIn(line: JsonObject): MeteredUsage | undefined
  /** How the first line begins; content that begins otherwise is not read. Undefined if all is results. */
  readonly begins?: RegExp
}

/** A result repeats a whole response; one that is larger leaves the sum a lower bound. */
const MAX_LINE_BYTES = 8 * 1_048_576
const MAX_BEGINNING = 64
/** A batch runs a handful of models. */
const MAX_MODELS = 16
const BATCH = ['service_tier:batch']
const LF = 0x0a

const FREE: UsageMeter = { end: () => NO_USAGE }

export function batchResultsMeter(
  headers: AnswerHeaders,
  of: BatchResults,
  reader: ResultsReader,
): UsageMeter {
  const reading = new Results(of, reader)
  const decoder = decoding(headers['content-encoding'], reading.sink)
  if (!decoder) return FREE
  const meter = new Metering(decoder, reading)
  return {
    push: (chunk, now) => meter.push(chunk, now),
    end: (trailers, isComplete) => meter.end(trailers, isComplete),
  }
}

class Results implements Reading, Sink {
  readonly #of: BatchResults
  readonly #reader: ResultsReader
  readonly #sums = new Map<string, ModelUsage>()
  readonly #tools: Record<string, number> = {}
  #parts: Buffer[] = []
  #bytes = 0
  #isOther = false
  #isFirst = true
  #inDoubt = false

  constructor(of: BatchResults, reader: ResultsReader) {
    this.#of = of
    this.#reader = reader
  }

  get sink(): Sink {
    return this
  }

  push(bytes: Uint8Array): void {
    if (this.#isOther) return
    let at = 0
    for (;;) {
      const end = bytes.indexOf(LF, at)
      this.#keep(bytes.subarray(at, end < 0 ? bytes.length : end))
      if (end < 0 || this.#isOther) return
      this.#line()
      at = end + 1
    }
  }

  end(isComplete: boolean, wasRead: boolean): MeteredUsage {
    if (this.#isOther || !isComplete || !wasRead) return NO_USAGE
    this.#line()
    const [own, ...others] = this.#sums.values()
    if (!own) return NO_USAGE
    return {
      ...own,
      state: this.#inDoubt ? 'partial' : 'exact',
      priceClasses: BATCH,
      ...(Object.keys(this.#tools).length > 0 && { serverTools: this.#tools }),
      ...(others.length > 0 && { others }),
      resultsOf: this.#of,
    }
  }

  /** The bytes are valid during the call alone. */
  #keep(bytes: Uint8Array): void {
    this.#bytes += bytes.length
    if (this.#bytes <= MAX_LINE_BYTES) this.#parts.push(Buffer.from(bytes))
    else this.#parts = []
    const { begins } = this.#reader
    if (!begins || !this.#isFirst || this.#bytes < MAX_BEGINNING) return
    this.#judge()
  }

  #judge(): void {
    const { begins } = this.#reader
    const first = Buffer.concat(this.#parts).toString('latin1', 0, MAX_BEGINNING)
    this.#isOther = begins?.test(first) === false
    this.#isFirst = false
    if (this.#isOther) this.#parts = []
  }

  #line(): void {
    const [bytes, parts] = [this.#bytes, this.#parts]
    if (this.#isFirst && bytes > 0) this.#judge()
    this.#bytes = 0
    this.#parts = []
    if (this.#isOther || bytes === 0) return
    const line = bytes > MAX_LINE_BYTES ? undefined : parseObject(Buffer.concat(parts).toString())
    if (!line) {
      this.#inDoubt = true
      return
    }
    const usage = this.#reader.usageIn(line)
    if (!usage) return
    if (usage.state !== 'exact') this.#inDoubt = true
    this.#add(usage.model ?? '?', usage)
    for (const other of usage.others ?? []) this.#add(other.model, other)
    for (const [name, count] of Object.entries(usage.serverTools ?? {})) {
      this.#tools[name] = (this.#tools[name] ?? 0) + count
    }
  }

  #add(model: string, counts: TokenCounts): void {
    const sum = this.#sums.get(model)
    if (!sum && this.#sums.size >= MAX_MODELS) this.#inDoubt = true
    else this.#sums.set(model, plus(model, sum, counts))
  }
}

const plus = (model: string, a: TokenCounts = NO_USAGE, b: TokenCounts): ModelUsage => ({
  model,
  inputTokens: a.inputTokens + b.inputTokens,
  outputTokens: a.outputTokens + b.outputTokens,
  cacheReadTokens: a.cacheReadTokens + b.cacheReadTokens,
  cacheCreationTokens: a.cacheCreationTokens + b.cacheCreationTokens,
  cacheCreation1hTokens: a.cacheCreation1hTokens + b.cacheCreation1hTokens,
  requests: (a === NO_USAGE ? 0 : (a.requests ?? 1)) + 1,
})
