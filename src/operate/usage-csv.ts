// A usage report as CSV, for spreadsheets.

import { visible } from '../terminal.ts'
import { COUNTERS } from '../ledger/columns.ts'
import type { UsageSums, UsageTable } from '../ledger/reports.ts'
import { dollars } from './figures.ts'

const CSV_COLUMNS: Readonly<Record<string, (sums: UsageSums) => number | string>> = {
  requests: (sums) => sums.requests,
  succeeded: (sums) => sums.succeeded,
  lost: (sums) => sums.lost,
  input_tokens: ({ tokens }) => tokens.input,
  output_tokens: ({ tokens }) => tokens.output,
  cache_read_tokens: ({ tokens }) => tokens.cacheRead,
  cache_creation_tokens: ({ tokens }) => tokens.cacheCreation,
  cost_usd: (sums) => dollars(sums.costMicroUsd, 6),
  partial: (sums) => sums.partial,
  estimated: (sums) => sums.estimated,
  unknown: (sums) => sums.unknown,
  unpriced: (sums) => sums.unpriced,
  estimated_input_tokens: ({ estimate }) => estimate.input,
  estimated_output_tokens: ({ estimate }) => estimate.output,
  estimated_cache_read_tokens: ({ estimate }) => estimate.cacheRead,
  estimated_cache_creation_tokens: ({ estimate }) => estimate.cacheCreation,
  estimated_cost_usd: ({ estimate }) => dollars(estimate.costMicroUsd, 6),
  average_latency_ms: (sums) => sums.averageLatencyMs,
  average_first_byte_ms: (sums) => sums.averageFirstByteMs,
  web_search_requests: ({ tools }) => tools.webSearch,
  web_fetch_requests: ({ tools }) => tools.webFetch,
  code_execution_requests: ({ tools }) => tools.codeExecution,
  other_tool_requests: ({ tools }) => tools.other,
  reasoning_tokens: (sums) => sums.reasoningTokens,
  // Existing columns keep their places and a new one goes last, so that spreadsheets do not shift.
  ...Object.fromEntries(COUNTERS.map((name) => [name, (sums: UsageSums) => sums[name]])),
}

/** RFC 4180, without a total, which would be counted twice by anybody who adds up a column. */
export function csv({ by, rows }: UsageTable): string {
  const lines = rows.map(({ key, ...sums }) => [
    csvCell(key),
    ...Object.values(CSV_COLUMNS).map((of) => of(sums)),
  ])
  const all = [[by, ...Object.keys(CSV_COLUMNS)], ...lines]
  return all.map((line) => `${line.join(',')}\r\n`).join('')
}

/**
 * Text that a spreadsheet would run as a formula gets an apostrophe, which makes it text (OWASP,
 * CSV Injection); so do the full-width forms that some programs fold to these signs.
 */
export function csvCell(text: string): string {
  const safe = visible(text)
  const inert = /^\s*[=+\-@|%＝＋－＠]/u.test(safe) ? `'${safe}` : safe
  return /[",;'\s]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert
}
