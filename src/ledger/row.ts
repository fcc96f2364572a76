// Turns what is known about a request into a row. Every text and number is bounded, so that nothing a
// caller or upstream sends can produce a row that the database refuses, or a sum that overflows. Pure.

import type { LedgerEnd, Measure, Opening, Outcome, UsageState } from './port.ts'
import { DAY_MS } from '../turn/calendar.ts'
import { type SumColumn, TOOL_COLUMNS } from './columns.ts'

/** Longer text is cut. A hash has 64 characters, a request id 128, a model's name a few dozen. */
const MAX_TEXT_LENGTH = 256
/** No request has more. Sums stay far below 2^63, SQLite's limit. */
const MAX_TOKENS = 1e9
const MAX_MICRO_USD = 1e11
const MAX_MS = 1e10
const MAX_EPOCH_MS = 8.64e15
const MAX_STATUS = 999

type Counted = Omit<Required<Measure>, 'tools' | 'priceClass' | 'reasoning'>
type MeasureColumns = { readonly [name in keyof Counted]: number | null }

const NOTHING: MeasureColumns = {
  input: null,
  output: null,
  cacheRead: null,
  cacheCreation: null,
  costMicroUsd: null,
}

const NOT_YET: Partial<Outcome> = {}

/**
 * The parameters of the ledger's statements by name. A type alias, because SQLite's parameters are
 * a record.
 */
export type LedgerRow = {
  /** The process that wrote the row. */
  readonly run: number
  readonly day: number
  readonly opened_ms: number
  readonly request_id: string
  readonly identity: string
  readonly device: string
  readonly org: string
  readonly route: string
  readonly upstream: string
  // From here on, columns of the outcome. Before it is known, only the model is set.
  readonly model: string
  readonly status: number | null
  readonly end_reason: LedgerEnd | null
  readonly succeeded: 0 | 1 | null
  readonly usage: UsageState
  readonly input_tokens: number | null
  readonly output_tokens: number | null
  readonly cache_read_tokens: number | null
  readonly cache_creation_tokens: number | null
  readonly cost_micro_usd: number | null
  readonly estimated_input_tokens: number | null
  readonly estimated_output_tokens: number | null
  readonly estimated_cache_read_tokens: number | null
  readonly estimated_cache_creation_tokens: number | null
  readonly estimated_cost_micro_usd: number | null
  readonly first_byte_ms: number | null
  readonly duration_ms: number | null
  readonly web_search_requests: number | null
  readonly web_fetch_requests: number | null
  readonly code_execution_requests: number | null
  readonly other_tool_requests: number | null
  readonly price_class: string
  readonly reasoning_tokens: number | null
}

/** One object literal: some thousand rows are made a second, and nothing keeps them. */
export function rowOf(run: number, opening: Opening, outcome: Outcome | undefined): LedgerRow {
  const openedMs = whole(opening.openedAtMs, MAX_EPOCH_MS) ?? 0
  const { end, status, usage, firstByteMs, durationMs } = outcome ?? NOT_YET
  const used = usage && 'measured' in usage ? usage.measured : undefined
  const tools = used?.tools
  const measured = columnsOf(used)
  const estimated = columnsOf(usage && 'estimated' in usage ? usage.estimated : undefined)
  const answered = status !== undefined && status < 400
  return {
    run,
    // As caps count it, or a restart would move what came before midnight and was charged after it.
    day: Math.floor((whole(outcome?.chargedAtMs, MAX_EPOCH_MS) ?? openedMs) / DAY_MS),
    opened_ms: openedMs,
    request_id: cut(opening.requestId),
    identity: cut(opening.identity),
    device: cut(opening.device),
    org: cut(opening.org),
    route: cut(opening.route),
    model: cut(outcome?.model ?? opening.model),
    upstream: cut(outcome?.upstream ?? opening.upstream),
    status: whole(status, MAX_STATUS),
    end_reason: end ?? null,
    succeeded: end === undefined ? null : answered && SUCCEEDED.has(end) ? 1 : 0,
    usage: usage?.state ?? 'unknown',
    input_tokens: measured.input,
    output_tokens: measured.output,
    cache_read_tokens: measured.cacheRead,
    cache_creation_tokens: measured.cacheCreation,
    cost_micro_usd: measured.costMicroUsd,
    estimated_input_tokens: estimated.input,
    estimated_output_tokens: estimated.output,
    estimated_cache_read_tokens: estimated.cacheRead,
    estimated_cache_creation_tokens: estimated.cacheCreation,
    estimated_cost_micro_usd: estimated.costMicroUsd,
    first_byte_ms: whole(firstByteMs, MAX_MS),
    duration_ms: whole(durationMs, MAX_MS),
    web_search_requests: whole(tools?.webSearch, MAX_TOKENS),
    web_fetch_requests: whole(tools?.webFetch, MAX_TOKENS),
    code_execution_requests: whole(tools?.codeExecution, MAX_TOKENS),
    other_tool_requests: whole(tools?.other, MAX_TOKENS),
    price_class: cut(used?.priceClass),
    reasoning_tokens: whole(used?.reasoning, MAX_TOKENS),
  }
}

/** A client that leaves is nobody's failure. */
const SUCCEEDED: ReadonlySet<LedgerEnd> = new Set(['complete', 'client_gone'])

/** Stands for the outcome if the request's process died. Its model is that of the opening. */
export const LOST: LedgerRow = {
  ...rowOf(0, { openedAtMs: 0, requestId: '', route: '', upstream: '' }, undefined),
  end_reason: 'lost',
  succeeded: 0,
}

export const COLUMNS = Object.keys(LOST) as readonly (keyof LedgerRow)[]

export type DaySums = Record<SumColumn, number>

/** Adds an ended row to the sums of its day, or subtracts it. */
export function addToSums(sums: DaySums, row: LedgerRow, times: 1 | -1): void {
  const { end_reason: end } = row
  if (end === 'retried') sums.retried += times
  else sums.requests += times
  sums.succeeded += times * (row.succeeded ?? 0)
  if (end === 'lost') sums.lost += times
  // A request that never reached an upstream used nothing, and its duration is not the upstream's.
  const reached = end !== 'refused' && end !== 'retried' && !isUnsent(row)
  if (row.usage === 'partial' || row.usage === 'estimated') sums[row.usage] += times
  if (row.usage === 'unknown' && reached) sums.unknown += times
  if (row.input_tokens !== null && row.cost_micro_usd === null) sums.unpriced += times
  sums.input_tokens += times * (row.input_tokens ?? 0)
  sums.output_tokens += times * (row.output_tokens ?? 0)
  sums.cache_read_tokens += times * (row.cache_read_tokens ?? 0)
  sums.cache_creation_tokens += times * (row.cache_creation_tokens ?? 0)
  sums.reasoning_tokens += times * (row.reasoning_tokens ?? 0)
  sums.cost_micro_usd += times * (row.cost_micro_usd ?? 0)
  sums.estimated_input_tokens += times * (row.estimated_input_tokens ?? 0)
  sums.estimated_output_tokens += times * (row.estimated_output_tokens ?? 0)
  sums.estimated_cache_read_tokens += times * (row.estimated_cache_read_tokens ?? 0)
  sums.estimated_cache_creation_tokens += times * (row.estimated_cache_creation_tokens ?? 0)
  sums.estimated_cost_micro_usd += times * (row.estimated_cost_micro_usd ?? 0)
  if (reached && row.duration_ms !== null) {
    sums.timed += times
    sums.duration_ms += times * row.duration_ms
  }
  if (reached && row.first_byte_ms !== null) {
    sums.first_bytes += times
    sums.first_byte_ms += times * row.first_byte_ms
  }
  // Either all four are null or none is.
  if (row.web_search_requests === null) return
  for (const name of TOOL_COLUMNS) sums[name] += times * (row[name] ?? 0)
}

/** Zero was used, and no byte came. */
function isUnsent(row: LedgerRow): boolean {
  const { usage, first_byte_ms: firstByteMs, input_tokens: input, output_tokens: output } = row
  return usage === 'exact' && firstByteMs === null && input === 0 && output === 0
}

function columnsOf(measure: Measure | undefined): MeasureColumns {
  if (!measure) return NOTHING
  return {
    input: whole(measure.input, MAX_TOKENS) ?? 0,
    output: whole(measure.output, MAX_TOKENS) ?? 0,
    cacheRead: whole(measure.cacheRead, MAX_TOKENS) ?? 0,
    cacheCreation: whole(measure.cacheCreation, MAX_TOKENS) ?? 0,
    costMicroUsd: whole(measure.costMicroUsd, MAX_MICRO_USD),
  }
}

function whole(value: number | undefined, max: number): number | null {
  if (value === undefined || Number.isNaN(value)) return null
  return Math.round(Math.min(Math.max(value, 0), max))
}

function cut(text = ''): string {
  return text.length > MAX_TEXT_LENGTH ? text.slice(0, MAX_TEXT_LENGTH) : text
}
