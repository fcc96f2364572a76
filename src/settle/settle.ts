// What happened: at its end, each request gets one log line, its row in the ledger, and its cost; so does
// each attempt that another one follows.

import type { Price, Prices } from '../budget/prices.ts'
import type { End } from '../end.ts'
import type { Exchange } from '../exchange.ts'
import { type Logger, logRequest } from '../log.ts'
import { instant } from '../turn/instant.ts'
import { type Bill, charge } from './bill.ts'
import type { Ledger, Measure, Metered } from '../ledger/port.ts'

export type Settle = (exchange: Exchange, end: End, bill?: Bill) => void

/** An attempt that another one of its request follows. */
export interface GivenUpAttempt {
  /** Of the upstream's answer. */
  readonly status: number | undefined
  readonly reason: string
}

export type SettleAttempt = (exchange: Exchange, attempt: GivenUpAttempt, bill: Bill) => void

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

/** Closes the attempt's row and opens one for the next; the request goes on. */
export function attemptSettlement({ log, ledger, prices }: SettlementOptions): SettleAttempt {
  const priceOf = (model: string): Price | undefined => prices.priceOf(model)

  return (exchange, { status, reason }, bill) => {
    const { entry, model, upstream, requestId, route, at, tried = [] } = exchange
    const price = model === undefined ? undefined : priceOf(model)
    const durationMs = performance.now() - at.monotonicMs
    const usage = charge(bill, { end: 'upstream_error', durationMs, price, priceOf })
    if (upstream !== undefined) exchange.tried = [...tried, upstream]
    log.warn({ request_id: requestId, route, upstream, status, reason }, 'attempt given up')
    if (!entry) return
    const chargedAtMs = bill.reservation?.atEpochMs
    const outcome = { durationMs, usage, status, model, upstream, chargedAtMs }
    ledger.close(entry, { end: 'retried', ...outcome })
    exchange.entry = ledger.follow(entry, instant().epochSeconds * 1000)
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
  const { model, upstream, org, code, tried } = exchange
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
    tried: tried?.join(' '),
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
