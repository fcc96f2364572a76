// What happened: the one line of a request, written when it has ended.

import type { End, Exchange } from '../exchange.ts'
import type { Logger } from '../log.ts'

export type Settle = (exchange: Exchange, end: End) => void

/** A client that left before any status was sent, as nginx logs it. */
const CLIENT_CLOSED_REQUEST = 499

export function settlement(log: Logger): Settle {
  return (exchange, end) => {
    if (exchange.silent) return
    const { requestId, method, route, headersMs, bytesIn, bytesOut, usage, identity, reason } =
      exchange
    const status = exchange.status ?? CLIENT_CLOSED_REQUEST
    log[level(status, end)](
      {
        request_id: requestId,
        method,
        route,
        status,
        end,
        ...(reason === undefined ? {} : { reason }),
        ...(headersMs === undefined ? {} : { headers_ms: round(headersMs) }),
        duration_ms: round(performance.now() - exchange.at.monotonicMs),
        bytes_in: bytesIn,
        bytes_out: bytesOut,
        ...(usage && {
          input_tokens: usage.inputTokens,
          output_tokens: usage.outputTokens,
          cached_input_tokens: usage.cachedInputTokens,
        }),
        ...(identity === undefined ? {} : { identity }),
      },
      'request',
    )
  }
}

function level(status: number, end: End): 'error' | 'warn' | 'info' {
  if (status >= 500) return 'error'
  if (status === CLIENT_CLOSED_REQUEST) return 'info'
  // A stream that broke under a 200 is somebody's failed request all the same.
  const broke = end === 'upstream_error' || end === 'timeout' || end === 'drained'
  return status >= 400 || broke ? 'warn' : 'info'
}

const round = (ms: number): number => Math.round(ms * 10) / 10
