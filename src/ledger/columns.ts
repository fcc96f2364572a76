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

/** What each row adds to them: see row.ts. */
export const SUM_COLUMNS = [...FIRST_SUM_COLUMNS, ...TOOL_COLUMNS] as const
