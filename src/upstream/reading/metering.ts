// Reads along while an answer passes: its bytes are decoded where they have a content coding, and
// handed to a reader that gathers its usage. Nothing here keeps a chunk, and nothing throws.

import type { Decoding, Sink } from '../../http1/decoding.ts'
import type { AnswerHeaders } from '../../http1/fields.ts'
import type { MeteredUsage } from './tally.ts'

export interface Meter {
  /** The chunk is only looked at, and not kept; `now` is monotonic milliseconds. */
  push(chunk: Uint8Array, now: number): void
  /** `isComplete`: the answer's connection saw it end. */
  end(trailers?: AnswerHeaders, isComplete?: boolean): MeteredUsage
}

export class Metering implements Meter {
  readonly #decoder: Decoding
  readonly #reading: Reading
  #ended: MeteredUsage | undefined
  #deaf = false

  constructor(decoder: Decoding, reading: Reading) {
    this.#decoder = decoder
    this.#reading = reading
  }

  push(chunk: Uint8Array, now: number): void {
    if (this.#deaf || this.#ended) return
    try {
      this.#reading.moved?.(now)
      this.#decoder.push(chunk)
    } catch {
      // Whatever this is, it is not worth the stream of which we only read along.
      this.#deaf = true
    }
  }

  end(_trailers?: AnswerHeaders, isComplete = false): MeteredUsage {
    this.#ended ??= this.#reading.end(isComplete, !this.#deaf && this.#decoder.isSilent !== true)
    this.#decoder.close?.()
    return this.#ended
  }
}

/** One way of reading what was decoded. */
export interface Reading {
  readonly sink: Sink
  moved?(now: number): void
  /** `wasRead`: nothing was lost on the way here. */
  end(isComplete: boolean, wasRead: boolean): MeteredUsage
}

/** Its media type alone, in lower case. */
export const mediaTypeOf = (contentType: string | undefined): string | undefined =>
  contentType?.split(';', 1)[0]?.trim().toLowerCase()
