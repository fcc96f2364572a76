// Checks whether an upstream is reachable if its requests stall.

import type { Served } from '../dispatch/choose.ts'
import type { Timeouts, Transport } from '../http1/transport.ts'
import { watchStalls } from '../relay/stalls.ts'

/** How long an upstream may take to answer. */
const MAX_ANSWER_MS = 10_000

/** All is read on each use: a reload may change it. */
export function watchUpstreams(
  transport: Transport,
  watched: () => readonly Served[],
  timeouts: Timeouts,
): { stop(): void } {
  return watchStalls({
    transport,
    watched,
    timeouts: () => {
      const answerMs = Math.min(MAX_ANSWER_MS, timeouts.headersMs / 4)
      return { connectMs: timeouts.connectMs, headersMs: answerMs, bodyMs: answerMs }
    },
  })
}
