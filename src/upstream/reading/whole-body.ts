// Reads the usage of a response that is one JSON document. The document is held until its end, up to a
// bound; of a larger one only the last bytes are held, where some APIs write the usage.

import { parseObject } from './json-object.ts'
import type { Reading } from './metering.ts'
import { Tally } from './tally.ts'

type JsonObject = Readonly<Record<string, unknown>>

/** Messages are under 1 MiB; the usage of a larger one is unknown. */
export const MAX_WHOLE_BYTES = 8 * 1024 * 1024

const TAIL_BYTES = 8192
const HEAD_BYTES = 1024
/** Never told of a stream, and so one for all. */
const utf8 = new TextDecoder()

export interface WholeBodyOptions {
  readonly maxBytes?: number
  /** Reads the end of a body that was too large to be held; undefined if it has no usage. */
  /** Called with the beginning of a body that is too large to be held. */
  readonly readHead?: (head: string) => void
  readonly readTail?: (tail: string) => JsonObject | undefined
}

export function wholeBody(
  note: (counts: Tally, body: JsonObject) => void,
  { maxBytes = MAX_WHOLE_BYTES, readHead, readTail }: WholeBodyOptions = {},
): Reading {
  /** As long as the first chunk, which is most often all. */
  let buffer = new Uint8Array(0)
  let bytes = 0
  let isTail = false
  const keepTail = (chunk: Uint8Array): void => {
    const both = Buffer.concat([buffer.subarray(0, bytes), chunk.subarray(-TAIL_BYTES)])
    buffer = new Uint8Array(both.subarray(-TAIL_BYTES))
    bytes = buffer.length
  }
  const push = (chunk: Uint8Array): void => {
    const length = bytes + chunk.length
    if (isTail || length > maxBytes) {
      if (!isTail) readHead?.(headOf(buffer.subarray(0, bytes), chunk))
      isTail = true
      if (readTail) keepTail(chunk)
      else buffer = new Uint8Array(0)
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
    end(isComplete) {
      const counts = new Tally()
      const text = utf8.decode(buffer.subarray(0, bytes))
      buffer = new Uint8Array(0)
      const body = isTail ? (isComplete ? readTail?.(text) : undefined) : parseObject(text)
      if (body) note(counts, body)
      return counts.result(body !== undefined)
    },
  }
}

const headOf = (first: Uint8Array, more: Uint8Array): string =>
  Buffer.concat([first.subarray(0, HEAD_BYTES), more.subarray(0, HEAD_BYTES)]).toString('latin1')
