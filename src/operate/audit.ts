// `postern audit`: what was done to devices, and by whom, in order.

import type { AuditListed, AuditRecords } from '../enroll/records.ts'
import { columns, type Columns, utcMinute } from './columns.ts'
import type { Output } from './enroll.ts'
import { jsonList } from './json-list.ts'
import { visible } from '../terminal.ts'

export interface AuditQuestion {
  /** Seconds since the epoch. */
  readonly sinceSeconds: number
  readonly json: boolean
}

const PAGE = 500
const TITLES = ['WHEN (UTC)', 'WHO', 'WHAT', 'WHOM']

export async function audited(
  records: AuditRecords,
  { sinceSeconds, json }: AuditQuestion,
  { stdout, stderr }: Output,
): Promise<void> {
  const listed = pages(records, sinceSeconds)
  if (json) {
    for await (const text of jsonList(listed, asJson)) stdout(text)
    return
  }
  let line: Columns | undefined
  for await (const page of listed) {
    const rows = page.map(cellsOf)
    if (!line) {
      line = columns([TITLES, ...rows])
      stdout(line(TITLES))
    }
    for (const cells of rows) stdout(line(cells))
  }
  if (!line) stderr('Nothing since then; --since all shows everything.\n')
}

async function* pages(
  records: AuditRecords,
  sinceSeconds: number,
): AsyncGenerator<readonly AuditListed[]> {
  let after = 0
  for (;;) {
    const page = await records.entries({ sinceSeconds, after, limit: PAGE })
    if (page.length > 0) yield page
    if (page.length < PAGE) return
    after = page.at(-1)?.seq ?? after
  }
}

function cellsOf({ at, actor, action, subject, label }: AuditListed): string[] {
  const whom = label === undefined ? subject : `${subject} (${label})`
  return [utcMinute(at), actor, action, whom].map(visible)
}

function asJson({ seq, at, actor, action, subject, label }: AuditListed): object {
  const when = new Date(at * 1000).toISOString()
  return { seq, at: when, actor, action, subject, label: label ?? null }
}
