// What an answer of Tinfoil's says that it used: in a header, in a trailer after a stream, or in the body
// itself.

import type { AnswerHeaders } from '../../http1/fields.ts'
import type { Meter } from '../reading/metering.ts'
import { openAiUsageMeter } from '../reading/openai-usage.ts'
import { type MeteredUsage, NO_USAGE } from '../reading/tally.ts'
import type { Upstream, UsageMeter } from '../upstream.ts'
import { parseTinfoilUsage } from './usage.ts'

const USAGE_HEADER = 'x-tinfoil-usage-metrics'

const FREE: UsageMeter = { end: () => NO_USAGE }
/** Nobody but the client can read what is sealed. */
const UNREAD: UsageMeter = { end: (trailers) => parseTinfoilUsage(trailers[USAGE_HEADER]) }

export const tinfoilMeter: Upstream['meter'] = ({ method, sealed }, status, headers) => {
  const told = parseTinfoilUsage(headers[USAGE_HEADER])
  if (told) return { end: () => told }
  if (method === 'GET') return FREE
  return sealed || status >= 300 ? UNREAD : new PlainUsage(headers)
}

/** As bytes: a text would be encoded anew for each chunk. */
const ERROR = Buffer.from('"error"')
const USAGE = Buffer.from('"usage":{')

class PlainUsage implements UsageMeter {
  readonly #type: string | undefined
  readonly #coding: string | undefined
  /**
   * The usage comes after the stream: to take each event apart would cost as much as to pass it on. An
   * error, or usage all the same, is read where a chunk holds it.
   */
  readonly #isAnnounced: boolean
  #read: Meter | undefined

  constructor(headers: AnswerHeaders) {
    this.#type = headers['content-type']
    this.#coding = headers['content-encoding']
    const trailer = headers['trailer']?.toLowerCase()
    this.#isAnnounced = this.#coding === undefined && trailer?.includes(USAGE_HEADER) === true
    if (!this.#isAnnounced) this.#read = this.#meter()
  }

  push(chunk: Uint8Array, now: number): void {
    if (this.#isAnnounced) {
      const bytes = asBuffer(chunk)
      if (!bytes.includes(ERROR) && !bytes.includes(USAGE)) return
      this.#read ??= this.#meter()
    }
    this.#read?.push(chunk, now)
  }

  end(trailers: AnswerHeaders, isComplete: boolean): MeteredUsage | undefined {
    const read = (this.#read ?? this.#meter())?.end(trailers, isComplete)
    const trailer = parseTinfoilUsage(trailers[USAGE_HEADER])
    return trailer && read?.sawError !== undefined
      ? { ...trailer, sawError: read.sawError }
      : (trailer ?? read)
  }

  #meter(): Meter | undefined {
    return openAiUsageMeter(this.#type, this.#coding)
  }
}

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
