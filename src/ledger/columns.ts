// The columns of the daily sums, whichever database holds them.

/** The original columns of `ledger_day`. New ones need a migration of their own. */
export const FIRST_SUM_COLUMNS = [
  'requests',
  'succeeded',
  'lost',
  'partial',
  'estimated',
  'unknown',
  'unpriced',
  'input_tokens',
  'output_tokens',
  'cache_read_tokens',
  'cache_creation_tokens',
  'cost_micro_usd',
  'estimated_input_tokens',
  'estimated_output_tokens',
  'estimated_cache_read_tokens',
  'estimated_cache_creation_tokens',
  'estimated_cost_micro_usd',
  'timed',
  'duration_ms',
  'first_bytes',
  'first_byte_ms',
] as const

/** Also columns of the table of requests. */
export const TOOL_COLUMNS = [
  'web_search_requests',
  'web_fetch_requests',
  'code_execution_requests',
  'other_tool_requests',
] as const

/** Also a column of the table of requests: the part of the output that was reasoning. */
export const REASONING_COLUMN = 'reasoning_tokens'

/**
 * Sums that count requests; every report shows each of them by this name. `succeeded`: answered
 * with a status below 400, and not ended by us, the upstream or a crash. `unpriced`: with measured
 * tokens whose model has no price. `retried`: attempts that another one of the same request followed; no
 * other counter has them, but `estimated`. A new one needs a migration, and a line in `addToSums`.
 */
export const COUNTERS = [
  'requests',
  'succeeded',
  'lost',
  'partial',
  'estimated',
  'unknown',
  'unpriced',
  'retried',
] as const
export type Counter = (typeof COUNTERS)[number]

export type SumColumn =
  | (typeof FIRST_SUM_COLUMNS)[number]
  | (typeof TOOL_COLUMNS)[number]
  | typeof REASONING_COLUMN
  | Counter

/** What each row adds to them: see row.ts. */
export const SUM_COLUMNS: readonly SumColumn[] = [
  ...new Set<SumColumn>([...FIRST_SUM_COLUMNS, ...TOOL_COLUMNS, REASONING_COLUMN, ...COUNTERS]),
]
