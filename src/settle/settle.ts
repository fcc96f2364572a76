// What happened: the one line of a request, its row in the ledger, and what it cost, all at its end.

import { costOf, type Price, type Prices } from '../budget/prices.ts'
import type { Reservation } from '../budget/spend.ts'
import type { End, Exchange } from '../exchange.ts'
import { type Logger, logRequest } from '../log.ts'
import type { MeteredUsage } from '../upstream/tally.ts'
import type { Ledger, Measure, Metered } from './ledger.ts'

/** Of a request that went out. */
export interface Bill {
  readonly reservation: Reservation | undefined
  /** What the upstream said; undefined where it said nothing. */
  readonly usage: MeteredUsage | undefined
  /** Whether the upstream may count it as done; an error of its own it does not. */
  readonly owed: boolean
}

export type Settle = (exchange: Exchange, end: End, bill?: Bill) => void

export interface SettlementOptions {
  readonly log: Logger
  readonly ledger: Ledger
  readonly prices: Prices
}

/** A client that left before any status was sent, as nginx logs it. */
const CLIENT_CLOSED_REQUEST = 499

export function settlement({ log, ledger, prices }: SettlementOptions): Settle {
  const priceOf = (model: string | undefined): Price | undefined =>
    model === undefined ? undefined : prices.priceOf(model)

  return (exchange, end, bill) => {
    const { usage } = bill ?? {}
    const asked = exchange.model
    const model = usage?.model ?? asked
    if (model !== undefined) exchange.model = model
    // A price for the name that was asked for need not be one for the dated name that answers.
    const price = priceOf(model) ?? priceOf(asked)
    const metered = bill ? charged(bill, price) : UNKNOWN
    const durationMs = performance.now() - exchange.at.monotonicMs
    const { entry, status, firstByteMs } = exchange
    if (entry) ledger.close(entry, { end, durationMs, usage: metered, status, model, firstByteMs })
    if (!exchange.silent) writeLine(log, exchange, end, durationMs, metered)
  }
}

const UNKNOWN: Metered = { state: 'unknown' }

/**
 * Settles the reservation by what was used. Where that stayed unknown it is charged whole, and what
 * was charged beyond what was seen stands in the ledger as an estimate, never among what was.
 */
function charged({ reservation, usage, owed }: Bill, price: Price | undefined): Metered {
  const measured = usage && usage.state !== 'unknown' ? measureOf(usage, price) : undefined
  if (measured && usage?.state === 'exact') {
    reservation?.settle(measured.costMicroUsd ?? reservation.amountMicroUsd)
    return { state: 'exact', measured }
  }
  if (reservation && owed) {
    reservation.settle(reservation.amountMicroUsd)
    const seen = measured?.costMicroUsd ?? 0
    const estimated = { ...NOTHING, costMicroUsd: Math.max(0, reservation.amountMicroUsd - seen) }
    return measured ? { state: 'partial', measured, estimated } : { state: 'estimated', estimated }
  }
  reservation?.release()
  return measured ? { state: 'partial', measured } : UNKNOWN
}

const NOTHING = { input: 0, output: 0, cacheRead: 0, cacheCreation: 0 }

function measureOf(usage: MeteredUsage, price: Price | undefined): Measure {
  return {
    input: usage.inputTokens,
    output: usage.outputTokens,
    cacheRead: usage.cacheReadTokens,
    cacheCreation: usage.cacheCreationTokens,
    costMicroUsd: price && costOf(price, usage),
  }
}

function writeLine(
  log: Logger,
  exchange: Exchange,
  end: End,
  durationMs: number,
  metered: Metered,
): void {
  const { requestId, method, route, headersMs, bytesIn, bytesOut, identity, reason } = exchange
  const { model, upstream, org, code } = exchange
  const status = exchange.status ?? CLIENT_CLOSED_REQUEST
  const used = 'measured' in metered ? metered.measured : undefined
  const measured = used && usedAny(used) ? used : undefined
  logRequest(log, level(status, end), {
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
    cache_read_tokens: measured?.cacheRead,
    cache_creation_tokens: measured?.cacheCreation,
    cost_micro_usd: measured?.costMicroUsd,
    identity,
    org,
  })
}

const usedAny = ({ input, output, cacheRead, cacheCreation }: Measure): boolean =>
  input + output + cacheRead + cacheCreation > 0

function level(status: number, end: End): 'error' | 'warn' | 'info' {
  if (status >= 500) return 'error'
  if (status === CLIENT_CLOSED_REQUEST) return 'info'
  // A stream that broke under a 200 is somebody's failed request all the same.
  const broke = end === 'upstream_error' || end === 'timeout' || end === 'drained'
  return status >= 400 || broke ? 'warn' : 'info'
}

const round = (ms: number): number => Math.round(ms * 10) / 10
