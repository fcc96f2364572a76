// From what the road said to what the tables hold: every text and number bounded, so that nothing a
// caller or an upstream sends can make a row that the database refuses, or a sum that overflows.
// Pure.

import type { LedgerEnd, Measure, Opening, Outcome, UsageState } from './ledger.ts'
import { DAY_MS, type SUM_COLUMNS } from './ledger-schema.ts'

/** Longer text is cut: a hash has 64 characters, a request id 128, a model's name some dozens. */
const MAX_TEXT_LENGTH = 256
/** No request has more. Sums of them stay far from 2^63, where SQLite would give up. */
const MAX_TOKENS = 1e9
const MAX_MICRO_USD = 1e11
const MAX_MS = 1e10
const MAX_EPOCH_MS = 8.64e15
const MAX_STATUS = 999

/** What the opening says for good. */
export interface HeadColumns {
  readonly day: number
  readonly opened_ms: number
  readonly request_id: string
  readonly identity: string
  readonly device: string
  readonly org: string
  readonly route: string
  readonly upstream: string
}

/** What the outcome says; before it, all but the model says nothing. */
export interface TailColumns {
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
}

export function headOf(opening: Opening): HeadColumns {
  const openedMs = whole(opening.openedAtMs, MAX_EPOCH_MS) ?? 0
  return {
    day: Math.floor(openedMs / DAY_MS),
    opened_ms: openedMs,
    request_id: cut(opening.requestId),
    identity: cut(opening.identity),
    device: cut(opening.device),
    org: cut(opening.org),
    route: cut(opening.route),
    upstream: cut(opening.upstream),
  }
}

export function tailOf(opening: Opening, outcome: Outcome | undefined): TailColumns {
  const { end, status, usage, firstByteMs, durationMs } = outcome ?? {}
  const measured = columnsOf(usage && 'measured' in usage ? usage.measured : undefined)
  const estimated = columnsOf(usage && 'estimated' in usage ? usage.estimated : undefined)
  const answered = status !== undefined && status < 400
  return {
    model: cut(outcome?.model ?? opening.model),
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
  }
}

/** A client that leaves is no failure of anybody here. */
const SUCCEEDED: ReadonlySet<LedgerEnd> = new Set(['complete', 'client_gone'])

/** The row of a request whose process died, in the place of its outcome. */
export function lostTail(model: string): TailColumns {
  const nothing = tailOf(
    { openedAtMs: 0, requestId: '', route: '', upstream: '', model },
    undefined,
  )
  return { ...nothing, end_reason: 'lost', succeeded: 0 }
}

export type Shares = Readonly<Record<(typeof SUM_COLUMNS)[number], number>>

/** What an ended row adds to the sums of its day. */
export function sharesOf(row: TailColumns): Shares {
  return {
    requests: 1,
    succeeded: row.succeeded ?? 0,
    lost: row.end_reason === 'lost' ? 1 : 0,
    partial: row.usage === 'partial' ? 1 : 0,
    estimated: row.usage === 'estimated' ? 1 : 0,
    unknown: row.usage === 'unknown' ? 1 : 0,
    unpriced: row.input_tokens !== null && row.cost_micro_usd === null ? 1 : 0,
    input_tokens: row.input_tokens ?? 0,
    output_tokens: row.output_tokens ?? 0,
    cache_read_tokens: row.cache_read_tokens ?? 0,
    cache_creation_tokens: row.cache_creation_tokens ?? 0,
    cost_micro_usd: row.cost_micro_usd ?? 0,
    estimated_input_tokens: row.estimated_input_tokens ?? 0,
    estimated_output_tokens: row.estimated_output_tokens ?? 0,
    estimated_cache_read_tokens: row.estimated_cache_read_tokens ?? 0,
    estimated_cache_creation_tokens: row.estimated_cache_creation_tokens ?? 0,
    estimated_cost_micro_usd: row.estimated_cost_micro_usd ?? 0,
    timed: row.duration_ms === null ? 0 : 1,
    duration_ms: row.duration_ms ?? 0,
    first_bytes: row.first_byte_ms === null ? 0 : 1,
    first_byte_ms: row.first_byte_ms ?? 0,
  }
}

type Counts = { readonly [name in keyof Required<Measure>]: number | null }

const NOTHING: Counts = {
  input: null,
  output: null,
  cacheRead: null,
  cacheCreation: null,
  costMicroUsd: null,
}

function columnsOf(measure: Measure | undefined): Counts {
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

const cut = (text: string | undefined): string => (text ?? '').slice(0, MAX_TEXT_LENGTH)
