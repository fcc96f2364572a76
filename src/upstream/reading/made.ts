// Reads a response that says what its request made, or how far a batch or a job of the caller's is.

import { decoding } from '../../http1/decoding.ts'
import type { AnswerHeaders } from '../../http1/fields.ts'
import type { UsageMeter } from '../upstream.ts'
import { type Kept, tellMade } from './kept.ts'
import { mediaTypeOf, Metering } from './metering.ts'
import { type MeteredUsage, NO_USAGE } from './tally.ts'
import { wholeBody } from './whole-body.ts'

/** A job has hundreds of bytes for each file that it wrote. */
const MAX_BYTES = 1_048_576

const FREE: UsageMeter = { end: () => NO_USAGE }

type JsonObject = Readonly<Record<string, unknown>>

/** `usageIn`: what the object says that it used, if it is one that does. */
export function madeMeter(
  headers: AnswerHeaders,
  kept: Kept | undefined,
  usageIn?: (made: JsonObject) => MeteredUsage | undefined,
): UsageMeter {
  const { 'content-type': type, 'content-encoding': coding } = headers
  if (!kept || mediaTypeOf(type) !== 'application/json') return FREE
  let usage: MeteredUsage | undefined
  const note = (made: JsonObject): void => {
    tellMade(made, kept)
    usage = usageIn?.(made)
  }
  const reading = wholeBody((_counts, body) => note(body), { maxBytes: MAX_BYTES })
  const decoder = decoding(coding, reading.sink)
  if (!decoder) return FREE
  const meter = new Metering(decoder, reading)
  return {
    push: (chunk, now) => meter.push(chunk, now),
    end(trailers, isComplete) {
      meter.end(trailers, isComplete)
      return usage ?? NO_USAGE
    },
  }
}
