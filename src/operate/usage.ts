// `postern usage`: its arguments and its report. It reads the ledger and changes nothing.

import { Command, CommanderError, Option } from 'commander'
import { DAY_MS, dayOf } from '../turn/calendar.ts'
import {
  type ReportsAtOnce,
  USAGE_GROUPS,
  type UsageFilter,
  type UsageGroup,
  type UsageTable,
} from '../ledger/reports.ts'
import { visible } from '../terminal.ts'
import { DOCUMENT_OPTION, type DocumentFlag } from './document-flag.ts'
import { nameNow } from './one-name.ts'
import type { Terminal } from './usage-table.ts'
import { usageText } from './usage-text.ts'

export interface UsageQuestion {
  readonly by: UsageGroup | 'user'
  readonly filter: UsageFilter
  readonly format: 'table' | 'json' | 'csv'
}

export type UsageArguments =
  | ({ readonly kind: 'question'; readonly question: UsageQuestion } & DocumentFlag)
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'mistake'; readonly message: string; readonly hint: string }

/** Names for the hashes of a report, read if a report has them. */
export interface UsageNames {
  readonly usersOfDevices: () => Promise<ReadonlyMap<string, string>>
  /** Keys by their hash; the ledger counts them among the devices. */
  readonly keys: () => Promise<ReadonlyMap<string, string>>
}

/** The whole report, for stdout. A key is shown as `key:NAME` among devices and users. */
export async function usage(
  reports: ReportsAtOnce,
  names: UsageNames,
  question: UsageQuestion,
  terminal: Terminal,
): Promise<string> {
  const { by, filter } = question
  if (by === 'user') {
    const renamed = await reports.formerNames()
    const users = [...(await names.usersOfDevices())].map(
      ([device, user]) => [device, nameNow(renamed, user)] as const,
    )
    const userOf = new Map([...users, ...called(await names.keys()), ...renamed])
    return usageText(await reports.usageByUser(filter, userOf), question, terminal)
  }
  const table = await reports.usage(by, filter)
  return usageText(by === 'device' ? await withKeys(table, names) : table, question, terminal)
}

async function withKeys(table: UsageTable, names: UsageNames): Promise<UsageTable> {
  const keys = new Map(called(await names.keys()))
  const rows = table.rows.map((row) =>
    Object.assign({}, row, { key: keys.get(row.key) ?? row.key }),
  )
  return { ...table, rows }
}

const called = (keys: ReadonlyMap<string, string>): (readonly [string, string])[] =>
  [...keys].map(([hash, name]) => [hash, `key:${name}`])

const DEFAULT_SINCE = '30d'

/** Parses the arguments after `postern usage`. */
export function readUsageArguments(args: readonly string[], nowMs: number): UsageArguments {
  let shown = ''
  const command = new Command('postern usage')
    .description('What was used, by UTC day, model, device, organisation or user.')
    .addOption(
      new Option('--by <group>', 'What each line is.')
        .choices([...USAGE_GROUPS, 'user'])
        .default('day'),
    )
    .option('--since <date>', 'First day: 2026-11-01, today, 7d (seven days), all.', DEFAULT_SINCE)
    .option('--until <date>', 'Last day, itself included: 2026-11-30, today.', 'today')
    .option('--device <hash>', 'Only this device.')
    .option('--org <id>', 'Only this organisation.')
    .option('--model <name>', 'Only this model.')
    .addOption(new Option('--json', 'One JSON document; money in micro-dollars.').conflicts('csv'))
    .option('--csv', 'Comma-separated, with a header; money in dollars.')
    .option(...DOCUMENT_OPTION)
    .helpOption('-h, --help', 'Show this.')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeOut: (text) => (shown += text), writeErr: () => {} })
  try {
    command.parse([...args], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) return { kind: 'text', text: shown }
    return mistake(visible(error.message.replace(/^error: /, '')))
  }
  const given = command.opts<GivenWords>()
  const sinceMs = given.since === 'all' ? 0 : readDay(given.since, nowMs)
  const lastMs = readDay(given.until, nowMs)
  if (sinceMs === undefined) return mistake(`--since ${visible(given.since)} is not a date`)
  if (lastMs === undefined) return mistake(`--until ${visible(given.until)} is not a date`)
  if (sinceMs > lastMs) return mistake('--since is after --until')
  const { device, org, model } = given
  const filter: UsageFilter = {
    ...(sinceMs === 0 ? {} : { sinceMs }),
    untilMs: lastMs + DAY_MS,
    ...(device === undefined ? {} : { device }),
    ...(org === undefined ? {} : { org }),
    ...(model === undefined ? {} : { model }),
  }
  const format = given.json ? 'json' : given.csv ? 'csv' : 'table'
  const { config } = given
  return { kind: 'question', question: { by: given.by, filter, format }, ...(config && { config }) }
}

interface GivenWords extends DocumentFlag {
  readonly by: UsageGroup | 'user'
  readonly since: string
  readonly until: string
  readonly device?: string
  readonly org?: string
  readonly model?: string
  readonly json?: true
  readonly csv?: true
}

const mistake = (message: string): UsageArguments => ({
  kind: 'mistake',
  message,
  hint: 'postern usage --help shows the options',
})

/** The first moment of the given day, in UTC. */
export function readDay(text: string, nowMs: number): number | undefined {
  const today = Math.floor(nowMs / DAY_MS) * DAY_MS
  if (text === 'today') return today
  const days = /^(\d{1,4})d$/.exec(text)?.[1]
  if (days !== undefined) return today - Math.max(0, Number(days) - 1) * DAY_MS
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return undefined
  const epochMs = Date.parse(`${text}T00:00:00Z`)
  // 2026-02-31 would be parsed as a day in March.
  return epochMs > 0 && dayOf(epochMs) === text ? epochMs : undefined
}
