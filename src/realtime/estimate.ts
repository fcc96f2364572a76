// What a response used that was cut before the upstream told: estimated by what has passed. Tokens of
// sound last 100 ms of what is heard and 50 ms of what is said; the fewest bytes that can hold one are
// assumed, in base64. Pure.

import type { MeteredUsage } from '../upstream/reading/tally.ts'
import { NO_USAGE } from '../upstream/reading/tally.ts'
import { NO_PARTS } from '../upstream/reading/token-parts.ts'

/** g711 at 8 kHz; PCM takes six times as many. */
const [HEARD_BYTES, SAID_BYTES] = [1000, 500]
const TEXT_BYTES = 3

export interface PassedBytes {
  readonly sound: number
  readonly text: number
}

/** `context`: the tokens that the conversation had before. */
export function estimated(context: number, heard: PassedBytes, said: PassedBytes): MeteredUsage {
  const soundIn = Math.ceil(heard.sound / HEARD_BYTES)
  const soundOut = Math.ceil(said.sound / SAID_BYTES)
  const input = context + soundIn + Math.ceil(heard.text / TEXT_BYTES)
  const output = soundOut + Math.ceil(said.text / TEXT_BYTES)
  return {
    ...NO_USAGE,
    state: 'partial',
    // What was heard before is in the context, and costs as much again unless it was cached.
    parts: {
      ...NO_PARTS,
      audioInputTokens: soundIn > 0 ? input : 0,
      audioOutputTokens: soundOut,
    },
    since: { inputTokens: input, outputTokens: output, isUnfinished: true },
  }
}
