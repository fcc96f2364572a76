// The latest requests, newest first, page by page. Pages follow a cursor, so that new rows shift
// nothing. Filters are bound parameters and compare whole values; no page reads more rows than a fixed
// bound.

import type { Database, SQLQueryBindings } from 'bun:sqlite'
import { atOnce, type Pieces } from './in-pieces.ts'
import type { PageWanted, RequestPage, RequestRow, UsageFilter } from '../reports.ts'
import { conditions } from './usage-report.ts'

export const MAX_PAGE_ROWS = 100
/** A filter for a model that nobody uses must not make one request read a million rows. */
const MAX_ROWS_LOOKED_AT = 5000

/** All at once. */
export function lastRequests(
  database: Database,
  filter: UsageFilter,
  page: PageWanted = {},
): RequestPage | undefined {
  return atOnce(requestsInPieces(database, filter, page))
}

/** The latest requests first. Undefined if `before` is not a cursor of ours. */
export function* requestsInPieces(
  database: Database,
  filter: UsageFilter,
  page: PageWanted,
): Pieces<RequestPage | undefined> {
  const limit = Math.trunc(Math.min(Math.max(1, page.limit || MAX_PAGE_ROWS), MAX_PAGE_ROWS))
  let before = page.before === undefined ? LATEST : readCursor(page.before)
  if (!before) return undefined
  // An index finds the rows of one device, or else of one organisation, in order; the other
  // conditions are applied to a bounded number of them. `<> ''` is the index's own condition.
  const near = conditions([
    filter.device === undefined
      ? ["org = ? AND org <> ''", filter.org]
      : ["device = ? AND device <> ''", filter.device],
    ['opened_ms >= ?', filter.sinceMs],
    ['opened_ms < ?', filter.untilMs],
  ])
  const rest = conditions([
    ['org = ?', filter.device === undefined ? undefined : filter.org],
    ['model = ?', filter.model],
  ])
  const where = `${near.where === '' ? 'WHERE' : `${near.where} AND`} (opened_ms, id) < (?, ?)`
  const newestFirst = 'ORDER BY opened_ms DESC, id DESC'
  const edge = database.query<Cursor, SQLQueryBindings[]>(
    `SELECT id, opened_ms AS openedMs FROM ledger ${where} ${newestFirst} LIMIT 1 OFFSET ?`,
  )
  const found = database.query<FoundRequest, SQLQueryBindings[]>(
    `SELECT id, opened_ms AS openedMs, ${REQUEST_COLUMNS}
     FROM (SELECT * FROM ledger ${where} ${newestFirst} LIMIT ?)
     ${rest.where} ${newestFirst} LIMIT ?`,
  )
  const rows: FoundRequest[] = []
  for (let left = rest.where === '' ? limit : MAX_ROWS_LOOKED_AT; left > 0;) {
    const most = Math.min(Math.max(1, yield), left)
    const from = [...near.values, before.openedMs, before.id]
    rows.push(...found.all(...from, most, ...rest.values, limit - rows.length))
    if (rows.length === limit) return pageOf(rows, rows.at(-1))
    const last = edge.get(...from, most - 1)
    if (!last) return pageOf(rows, undefined)
    before = last
    left -= most
  }
  return pageOf(rows, before)
}

function pageOf(found: readonly FoundRequest[], last: Cursor | undefined): RequestPage {
  const rows = found.map(rowOf)
  return last ? { rows, next: `${last.openedMs.toString(36)}-${last.id.toString(36)}` } : { rows }
}

function rowOf(found: FoundRequest): RequestRow {
  const { id: _id, openedMs, ...row } = found
  return Object.assign(row, { openedAt: new Date(openedMs).toISOString() })
}

interface Cursor {
  readonly openedMs: number
  readonly id: number
}

type FoundRequest = Omit<RequestRow, 'openedAt'> & Cursor

const LATEST: Cursor = { openedMs: Number.MAX_SAFE_INTEGER, id: 0 }

function readCursor(text: string): Cursor | undefined {
  const match = /^([0-9a-z]{1,10})-([0-9a-z]{1,10})$/.exec(text)
  if (!match) return undefined
  const openedMs = Number.parseInt(match[1] ?? '', 36)
  const id = Number.parseInt(match[2] ?? '', 36)
  return { openedMs, id }
}

const REQUEST_COLUMNS = `request_id AS requestId, identity, device, org, route, model, upstream,
  status, end_reason AS end, usage, input_tokens AS inputTokens, output_tokens AS outputTokens,
  cache_read_tokens AS cacheReadTokens, cache_creation_tokens AS cacheCreationTokens,
  cost_micro_usd AS costMicroUsd, estimated_input_tokens AS estimatedInputTokens,
  estimated_output_tokens AS estimatedOutputTokens,
  estimated_cache_read_tokens AS estimatedCacheReadTokens,
  estimated_cache_creation_tokens AS estimatedCacheCreationTokens,
  estimated_cost_micro_usd AS estimatedCostMicroUsd, first_byte_ms AS firstByteMs,
  duration_ms AS durationMs, web_search_requests AS webSearchRequests,
  web_fetch_requests AS webFetchRequests, code_execution_requests AS codeExecutionRequests,
  other_tool_requests AS otherToolRequests, price_class AS priceClass,
  reasoning_tokens AS reasoningTokens`
