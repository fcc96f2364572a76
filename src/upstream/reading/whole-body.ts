// The usage of an answer that comes as one JSON document: it is held until its end, up to a bound.

import { parseObject } from './json-object.ts'
import type { Reading } from './metering.ts'
import { type Tally, tally } from './tally.ts'

/** Whole messages are under 1 MiB; one that is larger has its usage unknown. */
export const MAX_WHOLE_BYTES = 8 * 1024 * 1024

const FIRST_BUFFER_BYTES = 16_384

export function wholeBody(
  note: (counts: Tally, body: Readonly<Record<string, unknown>>) => void,
  maxBytes = MAX_WHOLE_BYTES,
): Reading {
  let buffer = new Uint8Array(FIRST_BUFFER_BYTES)
  let bytes = 0
  const push = (chunk: Uint8Array): void => {
    const length = bytes + chunk.length
    if (length > maxBytes) {
      bytes = Infinity
      buffer = new Uint8Array(0)
      return
    }
    if (length > buffer.length) {
      const grown = new Uint8Array(Math.max(length, Math.min(2 * buffer.length, maxBytes)))
      grown.set(buffer.subarray(0, bytes))
      buffer = grown
    }
    buffer.set(chunk, bytes)
    bytes = length
  }
  return {
    sink: { push },
    end() {
      const counts = tally()
      const text = bytes === Infinity ? '' : new TextDecoder().decode(buffer.subarray(0, bytes))
      buffer = new Uint8Array(0)
      const body = parseObject(text)
      if (body) note(counts, body)
      return counts.result(body !== undefined)
    },
  }
}
