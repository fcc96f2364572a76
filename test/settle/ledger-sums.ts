// The sums that a ledger keeps, beside those that its own requests give: both asked through its ports.

import {
  type Reports,
  type ReportsAtOnce,
  type RequestRow,
  USAGE_GROUPS,
  type UsageGroup,
  type UsageSums,
} from '../../src/ledger/reports.ts'

/** All of them, in the order of their arrival; what arrived at once, in the order of writing. */
export async function allRequests(reports: Reports): Promise<readonly RequestRow[]> {
  const rows: RequestRow[] = []
  let before: string | undefined
  do {
    const page = await reports.requests({}, before === undefined ? {} : { before })
    if (!page.ok) throw new Error(page.code)
    rows.push(...page.value.rows)
    before = page.value.next
  } while (before !== undefined)
  return rows.toReversed()
}

type GroupSums = readonly (readonly [by: UsageGroup, key: string, sums: UsageSums])[]

export async function keptSums(reports: ReportsAtOnce): Promise<GroupSums> {
  const tables = await Promise.all(USAGE_GROUPS.map((by) => reports.usage(by, {})))
  return inOrder(
    tables.flatMap(({ by, rows }) =>
      rows.map(({ key, ...sums }) => [by as UsageGroup, key, sums] as const),
    ),
  ).filter(([, , { requests }]) => requests > 0)
}

export function countedSums(rows: readonly RequestRow[]): GroupSums {
  const ended = rows.filter(({ end }) => end !== null)
  return inOrder(
    USAGE_GROUPS.flatMap((by) =>
      [...Map.groupBy(ended, (row) => keyOf(row, by))].map(
        ([key, group]) => [by, key, sumsOf(group)] as const,
      ),
    ),
  )
}

const inOrder = (sums: GroupSums): GroupSums =>
  sums.toSorted((a, b) =>
    JSON.stringify(a.slice(0, 2)).localeCompare(JSON.stringify(b.slice(0, 2))),
  )

const keyOf = (row: RequestRow, by: UsageGroup): string =>
  by === 'day' ? row.openedAt.slice(0, 10) : row[by]

function sumsOf(rows: readonly RequestRow[]): UsageSums {
  const count = (is: (row: RequestRow) => boolean): number => rows.filter(is).length
  const sum = (of: (row: RequestRow) => number | null): number =>
    rows.reduce((total, row) => total + (of(row) ?? 0), 0)
  const average = (of: (row: RequestRow) => number | null): number => {
    // What was refused has asked nothing of an upstream.
    const known = rows.filter(
      (row) => row.end !== 'refused' && row.end !== 'retried' && of(row) !== null,
    )
    return known.length === 0
      ? 0
      : Math.round(known.reduce((total, row) => total + (of(row) ?? 0), 0) / known.length)
  }
  return {
    requests: count(({ end }) => end !== 'retried'),
    retried: count(({ end }) => end === 'retried'),
    succeeded: count(
      ({ status, end }) =>
        status !== null && status < 400 && (end === 'complete' || end === 'client_gone'),
    ),
    lost: count(({ end }) => end === 'lost'),
    partial: count(({ usage }) => usage === 'partial'),
    estimated: count(({ usage }) => usage === 'estimated'),
    unknown: count(
      ({ usage, end }) => usage === 'unknown' && end !== 'refused' && end !== 'retried',
    ),
    unpriced: count(
      ({ inputTokens, costMicroUsd }) => inputTokens !== null && costMicroUsd === null,
    ),
    tokens: {
      input: sum((row) => row.inputTokens),
      output: sum((row) => row.outputTokens),
      cacheRead: sum((row) => row.cacheReadTokens),
      cacheCreation: sum((row) => row.cacheCreationTokens),
    },
    reasoningTokens: sum((row) => row.reasoningTokens),
    costMicroUsd: sum((row) => row.costMicroUsd),
    tools: {
      webSearch: sum((row) => row.webSearchRequests),
      webFetch: sum((row) => row.webFetchRequests),
      codeExecution: sum((row) => row.codeExecutionRequests),
      other: sum((row) => row.otherToolRequests),
    },
    estimate: {
      input: sum((row) => row.estimatedInputTokens),
      output: sum((row) => row.estimatedOutputTokens),
      cacheRead: sum((row) => row.estimatedCacheReadTokens),
      cacheCreation: sum((row) => row.estimatedCacheCreationTokens),
      costMicroUsd: sum((row) => row.estimatedCostMicroUsd),
    },
    averageLatencyMs: average((row) => row.durationMs),
    averageFirstByteMs: average((row) => row.firstByteMs),
  }
}
