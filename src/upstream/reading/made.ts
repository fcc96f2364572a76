// Reads an answer that says what its request made, and nothing else.

import { decoding } from '../../http1/decoding.ts'
import type { AnswerHeaders } from '../../http1/fields.ts'
import type { UsageMeter } from '../upstream.ts'
import { type Kept, tellMade } from './kept.ts'
import { mediaTypeOf, Metering } from './metering.ts'
import { NO_USAGE } from './tally.ts'
import { wholeBody } from './whole-body.ts'

/** A job has hundreds of bytes for each file that it wrote. */
const MAX_BYTES = 1_048_576

const FREE: UsageMeter = { end: () => NO_USAGE }

/** `usage`: what the answer says that was used; undefined where nothing is. */
export function madeMeter(headers: AnswerHeaders, kept: Kept | undefined): UsageMeter {
  const { 'content-type': type, 'content-encoding': coding } = headers
  if (!kept || mediaTypeOf(type) !== 'application/json') return FREE
  const reading = wholeBody((_counts, body) => tellMade(body, kept), { maxBytes: MAX_BYTES })
  const decoder = decoding(coding, reading.sink)
  if (!decoder) return FREE
  const meter = new Metering(decoder, reading)
  return {
    push: (chunk, now) => meter.push(chunk, now),
    end(trailers, isComplete) {
      meter.end(trailers, isComplete)
      return NO_USAGE
    },
  }
}
