// Prints a usage report as a table for people, as JSON or as CSV. Names in the ledger were chosen by
// callers: none of them reaches a terminal as an escape sequence, or a spreadsheet as a formula.

import type { UsageFilter, UsageTable } from '../ledger/reports.ts'
import { inertJson } from './inert-json.ts'
import { csv } from './usage-csv.ts'
import { datesOf, type Terminal, usageTable } from './usage-table.ts'

export interface TextOptions {
  readonly format: 'table' | 'json' | 'csv'
  readonly filter: UsageFilter
}

export function usageText(table: UsageTable, options: TextOptions, terminal: Terminal): string {
  const { format, filter } = options
  if (format === 'json') return json(table, filter)
  return format === 'csv' ? csv(table) : usageTable(table, filter, terminal)
}

function json({ by, rows, leftOff, total }: UsageTable, filter: UsageFilter): string {
  const { device, org, model } = filter
  const { since = null, until = null } = datesOf(filter)
  return inertJson({ by, since, until, device, org, model, rows, leftOff, total })
}
