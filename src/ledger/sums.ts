// Arithmetic on the columns of daily sums, for every engine.

import type { TokenClasses } from './port.ts'
import { type Counter, COUNTERS, SUM_COLUMNS } from './columns.ts'
import type { UsageStats, UsageSums } from './reports.ts'
import type { DaySums } from './row.ts'

/** A row of sums, as a database gives it: a column may be missing, null, or text. */
export type SumsRow = Readonly<Record<string, number | string | null>>

export const noSums = (): DaySums =>
  Object.fromEntries(SUM_COLUMNS.map((name) => [name, 0])) as DaySums

export function addSums(to: DaySums, shares: SumsRow, times: 1 | -1): void {
  for (const name of SUM_COLUMNS) to[name] += times * Number(shares[name] ?? 0)
}

export function sumsOf(row: SumsRow): UsageSums {
  const of = (column: string): number => Number(row[column] ?? 0)
  const tokens = (prefix: '' | 'estimated_'): TokenClasses => ({
    input: of(`${prefix}input_tokens`),
    output: of(`${prefix}output_tokens`),
    cacheRead: of(`${prefix}cache_read_tokens`),
    cacheCreation: of(`${prefix}cache_creation_tokens`),
  })
  return {
    ...(Object.fromEntries(COUNTERS.map((name) => [name, of(name)])) as Record<Counter, number>),
    tokens: tokens(''),
    reasoningTokens: of('reasoning_tokens'),
    costMicroUsd: of('cost_micro_usd'),
    tools: {
      webSearch: of('web_search_requests'),
      webFetch: of('web_fetch_requests'),
      codeExecution: of('code_execution_requests'),
      other: of('other_tool_requests'),
    },
    estimate: { ...tokens('estimated_'), costMicroUsd: of('estimated_cost_micro_usd') },
    averageLatencyMs: Math.round(ratio(of('duration_ms'), of('timed'))),
    averageFirstByteMs: Math.round(ratio(of('first_byte_ms'), of('first_bytes'))),
  }
}

const ratio = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole)

export function usageStats(sums: UsageSums): UsageStats {
  return {
    totalRequests: sums.requests,
    totalInputTokens: sums.tokens.input,
    totalOutputTokens: sums.tokens.output,
    totalCacheReadTokens: sums.tokens.cacheRead,
    totalCacheCreationTokens: sums.tokens.cacheCreation,
    totalCostMicroUsd: sums.costMicroUsd,
    averageLatency: sums.averageLatencyMs,
    successRate: Math.round(ratio(sums.succeeded, sums.requests) * 10_000) / 100,
  }
}
