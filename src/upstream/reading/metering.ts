// Meters a response while it passes: its bytes are decoded if they have a content coding, and given to a
// reader that collects the usage. Nothing here keeps a chunk, and nothing throws.

import type { Decoding, Sink } from '../../http1/decoding.ts'
import type { AnswerHeaders } from '../../http1/fields.ts'
import type { MeteredUsage } from './tally.ts'

export interface Meter {
  /** Reads the chunk without keeping it; `now` is monotonic milliseconds. */
  push(chunk: Uint8Array, now: number): void
  /** `isComplete`: the response ended properly on its connection. */
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
      // No bug of the meter is worth breaking the stream.
      this.#deaf = true
    }
  }

  end(_trailers?: AnswerHeaders, isComplete = false): MeteredUsage {
    this.#ended ??= this.#reading.end(isComplete, !this.#deaf && this.#decoder.isSilent !== true)
    this.#decoder.close?.()
    return this.#ended
  }
}

/** Reads decoded bytes in one format. */
export interface Reading {
  readonly sink: Sink
  moved?(now: number): void
  /** `wasRead`: no bytes were lost before they got here. */
  end(isComplete: boolean, wasRead: boolean): MeteredUsage
}

/** The media type without parameters, in lower case. */
export const mediaTypeOf = (contentType: string | undefined): string | undefined =>
  contentType?.split(';', 1)[0]?.trim().toLowerCase()
