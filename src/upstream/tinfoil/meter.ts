// Meters a response of Tinfoil: usage comes in a header, in a trailer after a stream, or in the body.

import type { AnswerHeaders } from '../../http1/fields.ts'
import type { Meter } from '../reading/metering.ts'
import { openAiUsageMeter } from '../reading/openai-usage.ts'
import { type MeteredUsage, NO_USAGE } from '../reading/tally.ts'
import type { Upstream, UsageMeter } from '../upstream.ts'
import { parseTinfoilUsage } from './usage.ts'

const USAGE_HEADER = 'x-tinfoil-usage-metrics'

const FREE: UsageMeter = { end: () => NO_USAGE }
/** Only the client can read a sealed response. */
const UNREAD: UsageMeter = { end: (trailers) => parseTinfoilUsage(trailers[USAGE_HEADER]) }

/** Runs no model. */
const COUNT = '/input_tokens'

export const tinfoilMeter: Upstream['meter'] = ({ method, path, sealed }, status, headers) => {
  const told = parseTinfoilUsage(headers[USAGE_HEADER])
  if (told) return { end: () => told }
  if (method === 'GET' || path.endsWith(COUNT)) return FREE
  return sealed || status >= 300 ? UNREAD : new PlainUsage(headers)
}

/** As bytes, because a string would be encoded again for each chunk. */
const ERROR = Buffer.from('"error"')
const USAGE = Buffer.from('"usage":{')

class PlainUsage implements UsageMeter {
  readonly #type: string | undefined
  readonly #coding: string | undefined
  /**
   * The usage comes after the stream, so events are not split, which would cost as much as passing them
   * on. A chunk that contains an error or usage is read.
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
