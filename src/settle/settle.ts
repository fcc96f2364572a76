// What happened: at its end, each request gets one log line, its row in the ledger, and its cost.

import type { Price, Prices } from '../budget/prices.ts'
import type { End } from '../end.ts'
import type { Exchange } from '../exchange.ts'
import { type Logger, logRequest } from '../log.ts'
import { type Bill, charge } from './bill.ts'
import type { Ledger, Measure, Metered } from '../ledger/port.ts'

export type Settle = (exchange: Exchange, end: End, bill?: Bill) => void

export interface SettlementOptions {
  readonly log: Logger
  readonly ledger: Ledger
  readonly prices: Prices
}

/** Logged when a client left before a status was sent, as nginx does. */
const CLIENT_CLOSED_REQUEST = 499

export function settlement({ log, ledger, prices }: SettlementOptions): Settle {
  const priceOf = (model: string | undefined): Price | undefined =>
    model === undefined ? undefined : prices.priceOf(model)

  return (exchange, end, bill) => {
    const { usage } = bill ?? {}
    const asked = exchange.model
    const model = usage?.model ?? asked
    if (model !== undefined) exchange.model = model
    // The requested name may have a price even if the dated name that answers has none.
    const price = priceOf(model) ?? priceOf(asked)
    const durationMs = performance.now() - exchange.at.monotonicMs
    const metered = bill ? charge(bill, { end, durationMs, price, priceOf }) : UNKNOWN
    const { entry, status, firstByteMs, upstream } = exchange
    if (entry) {
      const chargedAtMs = bill?.reservation?.atEpochMs
      const outcome = {
        end,
        durationMs,
        usage: metered,
        status,
        model,
        upstream,
        firstByteMs,
        chargedAtMs,
      }
      ledger.close(entry, outcome)
    }
    if (!exchange.silent) writeLine(log, exchange, end, durationMs, metered, usage?.sawError)
  }
}

const UNKNOWN: Metered = { state: 'unknown' }

function writeLine(
  log: Logger,
  exchange: Exchange,
  end: End,
  durationMs: number,
  metered: Metered,
  sawError: string | undefined,
): void {
  const { requestId, method, route, headersMs, bytesIn, bytesOut, identity, reason } = exchange
  const { model, upstream, org, code } = exchange
  const status = exchange.status ?? CLIENT_CLOSED_REQUEST
  const used = 'measured' in metered ? metered.measured : undefined
  const measured = used && usedAny(used) ? used : undefined
  const estimated = 'estimated' in metered ? metered.estimated : undefined
  logRequest(log, sawError === undefined ? level(status, end) : 'error', {
    request_id: requestId,
    method,
    route,
    status,
    end,
    code,
    reason,
    headers_ms: headersMs === undefined ? undefined : round(headersMs),
    duration_ms: round(durationMs),
    bytes_in: bytesIn,
    bytes_out: bytesOut,
    upstream,
    model,
    usage: measured && metered.state,
    input_tokens: measured?.input,
    output_tokens: measured?.output,
    reasoning_tokens: measured?.reasoning || undefined,
    cache_read_tokens: measured?.cacheRead,
    cache_creation_tokens: measured?.cacheCreation,
    cost_micro_usd: measured?.costMicroUsd,
    estimated_cost_micro_usd: estimated?.costMicroUsd,
    price_class: measured?.priceClass,
    web_search_requests: measured?.tools?.webSearch,
    identity,
    org,
  })
}

const usedAny = ({ input, output, cacheRead, cacheCreation }: Measure): boolean =>
  input + output + cacheRead + cacheCreation > 0

function level(status: number, end: End): 'error' | 'warn' | 'info' {
  if (status >= 500) return 'error'
  if (status === CLIENT_CLOSED_REQUEST) return 'info'
  // A stream that broke after a 200 is still a failed request.
  const broke = end === 'upstream_error' || end === 'timeout' || end === 'drained'
  return status >= 400 || broke ? 'warn' : 'info'
}

const round = (ms: number): number => Math.round(ms * 10) / 10
