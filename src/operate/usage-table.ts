// A usage report as a table for people.

import { styleText } from 'node:util'
import { visible } from '../terminal.ts'
import { DAY_MS, dayOf } from '../turn/calendar.ts'
import type { UsageFilter, UsageSums, UsageTable } from '../ledger/reports.ts'
import { dollars, grouped, seconds } from './figures.ts'

export interface Terminal {
  /** Shorten long names, for people. A pipe gets them whole. */
  readonly shorten: boolean
  readonly color: boolean
  /** The terminal's width; a wider table leaves columns out, and says which. */
  readonly columns?: number | undefined
}

/** Further rows would scroll away unread; JSON and CSV have them all. */
const MAX_TABLE_ROWS = 200
const MAX_NAME_WIDTH = 32
/** Stands for a name that was not given. */
const NONE = '(none)'

/** Part of the output, so only there where somebody reasons. */
const REASONING = 'Reasoning'

const COLUMNS: readonly (readonly [title: string, of: (sums: UsageSums) => string])[] = [
  ['Requests', ({ requests }) => grouped(requests)],
  ['Failed', ({ requests, succeeded }) => grouped(requests - succeeded)],
  ['Input', ({ tokens }) => grouped(tokens.input)],
  ['Output', ({ tokens }) => grouped(tokens.output)],
  [REASONING, ({ reasoningTokens }) => grouped(reasoningTokens)],
  ['Cache read', ({ tokens }) => grouped(tokens.cacheRead)],
  ['Cache write', ({ tokens }) => grouped(tokens.cacheCreation)],
  ['Cost', ({ costMicroUsd }) => `$${dollars(costMicroUsd, 4)}`],
  ['Latency', ({ averageLatencyMs }) => seconds(averageLatencyMs)],
]

/** Columns that a narrow terminal leaves out, in this order. */
const LEFT_OUT = [REASONING, 'Cache write', 'Cache read', 'Latency', 'Failed', 'Output', 'Input']

const TITLES = {
  day: 'Day',
  model: 'Model',
  device: 'Device',
  org: 'Organisation',
  user: 'User',
} as const

export function usageTable(table: UsageTable, filter: UsageFilter, terminal: Terminal): string {
  const { shorten, color, columns: room = Number.POSITIVE_INFINITY } = terminal
  const { by, rows, leftOff, total } = table
  const name = (text: string): string => {
    const shown = text === '' ? NONE : visible(text)
    return shorten ? cut(shown, MAX_NAME_WIDTH) : shown
  }
  const paint = (style: 'bold' | 'dim', text: string): string =>
    // The caller has checked its terminal and NO_COLOR.
    color ? styleText(style, text, { validateStream: false }) : text

  const title = paint('bold', `Usage by ${by === 'org' ? 'organisation' : by}, ${rangeOf(filter)}`)
  const only = (['device', 'org', 'model'] as const).flatMap((each) =>
    filter[each] === undefined ? [] : [`${each} ${name(filter[each])}`],
  )
  const heading = only.length === 0 ? title : `${title}\nOnly ${only.join(', ')}`
  if (total.requests === 0) return `${heading}\n\nNo requests.\n`

  const shown = rows.slice(0, MAX_TABLE_ROWS)
  const columns = COLUMNS.filter(([column]) => column !== REASONING || total.reasoningTokens > 0)
  const all = [
    [TITLES[by], ...columns.map(([column]) => column)],
    ...shown.map(({ key, ...sums }) => [name(key), ...columns.map(([, of]) => of(sums))]),
    ['Total', ...columns.map(([, of]) => of(total))],
  ]
  const { lines: fitting, widths, without } = fitted(all, room)
  const [head = [], ...body] = fitting
  const foot = body.pop() ?? []
  const line = (cells: readonly string[]): string =>
    cells.map((cell, column) => pad(cell, widths[column] ?? 0, column > 0)).join('  ')
  const rule = paint('dim', widths.map((width) => '─'.repeat(width)).join('──'))
  const hidden = rows.length - shown.length + leftOff
  const more = hidden === 0 ? [] : [`… and ${grouped(hidden)} more, in the total too`]
  const lines = [
    paint('dim', line(head)),
    ...body.map(line),
    ...more,
    rule,
    paint('bold', line(foot)),
  ]
  const notes = notesOn(total)
  if (without.length > 0) {
    notes.push(`Left out, for want of width: ${without.join(', ')}; --csv has all.`)
  }
  const below = notes.length === 0 ? '' : `\n${notes.join('\n')}\n`
  return `${heading}\n\n${lines.join('\n')}\n${below}`
}

/** The first line holds the titles. */
function fitted(all: readonly (readonly string[])[], room: number) {
  let lines = all
  const without: string[] = []
  for (;;) {
    const widths = (lines[0] ?? []).map((_, column) =>
      Math.max(...lines.map((line) => Bun.stringWidth(line[column] ?? ''))),
    )
    const width = widths.reduce((sum, each) => sum + each + 2, -2)
    const next = LEFT_OUT.find((title) => lines[0]?.includes(title))
    if (width <= room || next === undefined) return { lines, widths, without }
    const out = lines[0]?.indexOf(next) ?? -1
    lines = lines.map((line) => line.filter((_, column) => column !== out))
    without.push(next.toLowerCase())
  }
}

/** Notes on what the sums do not show. */
function notesOn(sums: UsageSums): string[] {
  const { estimate, partial, unknown, lost, unpriced, retried, tools } = sums
  const { input, output, cacheRead, cacheCreation, costMicroUsd } = estimate
  const estimated = input + output + cacheRead + cacheCreation
  const notes: string[] = []
  const note = (when: number, text: string): void => {
    if (when > 0) notes.push(text)
  }
  // What a cap was charged without the upstream's account is money, and no tokens.
  const tokens = `${grouped(input + cacheRead + cacheCreation)} tokens in, ${grouped(output)} out, `
  note(
    estimated + costMicroUsd,
    `Estimated beside these sums, not in them: ${estimated === 0 ? '' : tokens}` +
      `$${dollars(costMicroUsd, 4)}.`,
  )
  const { webSearch, webFetch, codeExecution, other } = tools
  const ran = [
    [webSearch, 'web searches'],
    [webFetch, 'web fetches'],
    [codeExecution, 'code runs'],
    [other, 'other tool requests'],
  ] as const
  const named = ran.flatMap(([count, name]) => (count > 0 ? [`${grouped(count)} ${name}`] : []))
  note(named.length, `Server tools, in the cost: ${named.join(', ')}.`)
  note(partial, `${counted(partial)} ended midway: what was seen until then is in these sums.`)
  const crashed = lost === 0 ? '' : `, ${grouped(lost)} of them lost in a crash`
  note(unknown, `${counted(unknown)} with unknown usage${crashed}.`)
  note(unpriced, `${counted(unpriced)} with tokens but no price: the cost is at least this.`)
  const attempts = retried === 1 ? '1 attempt was' : `${grouped(retried)} attempts were`
  note(retried, `${attempts} given up for another upstream: no requests of their own.`)
  return notes
}

const counted = (count: number): string =>
  count === 1 ? '1 request' : `${grouped(count)} requests`

function rangeOf(filter: UsageFilter): string {
  const { since, until } = datesOf(filter)
  if (since === until && since !== undefined) return `${since} (UTC)`
  const from = since === undefined ? 'from the beginning' : since
  return `${from} to ${until ?? 'now'} (UTC)`
}

/** The first and last day, both included. */
export function datesOf({ sinceMs, untilMs }: UsageFilter): { since?: string; until?: string } {
  return {
    ...(sinceMs === undefined ? {} : { since: dayOf(sinceMs) }),
    ...(untilMs === undefined ? {} : { until: dayOf(untilMs - DAY_MS) }),
  }
}

function pad(text: string, width: number, right: boolean): string {
  const gap = ' '.repeat(Math.max(0, width - Bun.stringWidth(text)))
  return right ? gap + text : text + gap
}

function cut(text: string, maxWidth: number): string {
  if (Bun.stringWidth(text) <= maxWidth) return text
  let kept = ''
  for (const sign of text) {
    if (Bun.stringWidth(kept + sign) >= maxWidth) break
    kept += sign
  }
  return `${kept}…`
}
