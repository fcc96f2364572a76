// What the ledger's tests are made of: rows, a log that remembers, folders that go away.

import type { Database } from 'bun:sqlite'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import type { Measure, Opening, Outcome } from '../../src/ledger/port.ts'
import { PERSON_DAYS, PERSON_POLICIES } from '../../src/ledger/sqlite/person-days.ts'
import {
  LEDGER_INDEXES,
  LEDGER_REASONING,
  LEDGER_RETRIED,
  LEDGER_SCHEMA,
  LEDGER_TOOLS,
} from '../../src/ledger/sqlite/schema.ts'
import type { SqliteLedgerOptions } from '../../src/ledger/sqlite/writer.ts'
import { type OpenedDatabase, openDatabase, type OpenOptions } from '../../src/database/database.ts'

/** 2026-11-20T12:00:00Z. */
export const NOON = Date.UTC(2026, 10, 20, 12)

export const opening = (over: Partial<Opening> = {}): Opening => ({
  openedAtMs: NOON,
  requestId: 'request-1',
  identity: 'who',
  device: 'device-1',
  org: 'org-1',
  route: '/v1/messages',
  model: 'claude-sonnet-4-5',
  upstream: 'anthropic',
  ...over,
})

export const measure = (over: Partial<Measure> = {}): Measure => ({
  input: 10,
  output: 20,
  cacheRead: 3000,
  cacheCreation: 400,
  costMicroUsd: 1234,
  ...over,
})

export const outcome = (over: Partial<Outcome> = {}): Outcome => ({
  end: 'complete',
  status: 200,
  firstByteMs: 120,
  durationMs: 900,
  usage: { state: 'exact', measured: measure() },
  ...over,
})

export interface Line {
  readonly level: 'error' | 'warn' | 'info'
  readonly text: string
}

export function recordingLog(): { log: SqliteLedgerOptions['log']; lines: Line[] } {
  const lines: Line[] = []
  const at =
    (level: Line['level']) =>
    (...words: unknown[]): void => {
      lines.push({ level, text: JSON.stringify(words) })
    }
  const log = { error: at('error'), warn: at('warn'), info: at('info') }
  return { log: log as SqliteLedgerOptions['log'], lines }
}

export function folder(): { path: string; remove(): void } {
  const path = mkdtempSync(`${tmpdir()}/postern-ledger-`)
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

export const LEDGER_SCHEMAS = [
  LEDGER_SCHEMA,
  LEDGER_INDEXES,
  LEDGER_TOOLS,
  PERSON_DAYS,
  PERSON_POLICIES,
  LEDGER_REASONING,
  LEDGER_RETRIED,
]

export const openLedgerFile = (path: string, options: OpenOptions = {}): OpenedDatabase =>
  openDatabase(path, LEDGER_SCHEMAS, options)

export function opened(result: OpenedDatabase): Database {
  if (!result.ok) throw new Error(`cannot open: ${result.reason} ${result.code}`)
  return result.database
}

export type Row = Readonly<Record<string, string | number | null>>

export const rowsOf = (database: Database): Row[] =>
  database.query<Row, []>('SELECT * FROM ledger ORDER BY id').all()

/** The sums that the rows themselves give, next to those that were kept. */
export function bothSums(database: Database): { kept: unknown; counted: unknown } {
  const kept = database
    .query(
      `SELECT day, device, org, model, requests, succeeded, lost, partial, estimated, unknown,
         unpriced, input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens,
         cost_micro_usd, estimated_output_tokens, estimated_cost_micro_usd, timed, duration_ms,
         first_bytes, first_byte_ms
       FROM ledger_day WHERE requests <> 0 ORDER BY day, device, org, model`,
    )
    .all()
  const counted = database
    .query(
      `SELECT day, device, org, model, count(*) AS requests, sum(succeeded) AS succeeded,
         sum(end_reason = 'lost') AS lost, sum(usage = 'partial') AS partial,
         sum(usage = 'estimated') AS estimated, sum(usage = 'unknown' AND end_reason <> 'refused') AS unknown,
         sum(input_tokens IS NOT NULL AND cost_micro_usd IS NULL) AS unpriced,
         total(input_tokens) AS input_tokens, total(output_tokens) AS output_tokens,
         total(cache_read_tokens) AS cache_read_tokens,
         total(cache_creation_tokens) AS cache_creation_tokens,
         total(cost_micro_usd) AS cost_micro_usd,
         total(estimated_output_tokens) AS estimated_output_tokens,
         total(estimated_cost_micro_usd) AS estimated_cost_micro_usd,
         count(duration_ms) FILTER (WHERE end_reason <> 'refused') AS timed,
         total(duration_ms) FILTER (WHERE end_reason <> 'refused') AS duration_ms,
         count(first_byte_ms) FILTER (WHERE end_reason <> 'refused') AS first_bytes,
         total(first_byte_ms) FILTER (WHERE end_reason <> 'refused') AS first_byte_ms
       FROM ledger WHERE end_reason IS NOT NULL
       GROUP BY day, device, org, model ORDER BY day, device, org, model`,
    )
    .all()
  return { kept, counted }
}
