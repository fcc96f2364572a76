// What `postern spend` prints: a table of everybody, or the account of one. Labels and reasons were
// typed by somebody: none of them reaches a terminal as an escape sequence.

import { inertJson } from './inert-json.ts'
import { usd } from '../ledger/usd.ts'
import type { Spending } from './spend.ts'
import type { CapAccount } from './spend-caps.ts'
import { visible } from '../terminal.ts'
import { dollars } from './figures.ts'

const MAX_ROWS = 200
const MAX_LABEL_WIDTH = 20
const HASH_LENGTH = 8

/** A line for each cap of each spender; for a spender without caps, what was spent in the month. */
export function spendingTable(all: readonly Spending[], month: string): string {
  const heading = `Spending in ${month} (UTC)\n\n`
  if (all.length === 0) return `${heading}Nobody has spent anything.\n`
  const shown = all.slice(0, MAX_ROWS)
  const rows = shown.flatMap(rowsOf)
  // An empty column would take room from the others.
  const used = COLUMNS.filter(([, cell]) => rows.some((row) => cell(row) !== ''))
  const head = used.map(([title]) => title)
  const body = rows.map((row) => used.map(([, cell]) => cell(row)))
  const widths = head.map((_, column) =>
    Math.max(...[head, ...body].map((line) => Bun.stringWidth(line[column] ?? ''))),
  )
  const isText = (column: number): boolean => TEXTS.has(head[column] ?? '')
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => {
        const gap = ' '.repeat(Math.max(0, (widths[column] ?? 0) - Bun.stringWidth(cell)))
        return isText(column) ? cell + gap : gap + cell
      })
      .join('  ')
      .trimEnd()
  const hidden = all.length - shown.length
  const more = hidden === 0 ? '' : `… and ${hidden} more; --json has them all\n`
  return `${heading}${[head, ...body].map((each) => `${line(each)}\n`).join('')}${more}\n${noteOf(all)}`
}

interface TableRow {
  readonly one: Spending
  /** Absent for a spender without caps. */
  readonly cap: CapAccount | undefined
  readonly isFirst: boolean
}

/** Without its organisation's caps, which have lines of their own. */
function rowsOf(one: Spending): TableRow[] {
  const caps = one.caps.filter(({ of }) => one.kind === 'org' || of === 'own')
  if (caps.length === 0) return [{ one, cap: undefined, isFirst: true }]
  return caps.map((cap, at) => ({ one, cap, isFirst: at === 0 }))
}

const COLUMNS: readonly (readonly [title: string, cell: (row: TableRow) => string])[] = [
  ['Who', ({ one, isFirst }) => (isFirst ? nameOf(one) : '')],
  ['Period', ({ cap }) => cap?.period ?? 'month'],
  ['Cap', ({ cap }) => money(cap?.limitMicroUsd)],
  ['Spent', ({ one, cap }) => money((cap ?? one).spentMicroUsd)],
  ['Estimated', ({ one, cap }) => money((cap ?? one).estimatedMicroUsd || undefined)],
  ['Credited', ({ one, cap }) => money((cap ?? one).creditedMicroUsd || undefined)],
  ['Reserved', ({ cap }) => money(cap?.reservedMicroUsd || undefined)],
  ['Left', ({ cap }) => money(cap?.leftMicroUsd)],
  ['Policy', ({ one, cap }) => policyText(one, cap)],
]
const TEXTS: ReadonlySet<string> = new Set(['Who', 'Period', 'Policy'])

function policyText({ policy, policyKnown }: Spending, cap: CapAccount | undefined): string {
  const names = cap?.policies ?? (policy === undefined ? [] : [policy])
  const text = names.map(visible).join(', ')
  return policyKnown === true ? text : `${text} (${policyKnown === null ? '?' : 'gone'})`
}

function noteOf(all: readonly Spending[]): string {
  const caps = all.flatMap((each) => each.caps)
  const isAsked = caps.every(({ reservedMicroUsd }) => reservedMicroUsd !== null)
  const resets = new Map(caps.map(({ period, resetsAt }) => [period, resetsAt.slice(0, 10)]))
  const whens = [...resets].map(([period, day]) => `a ${period}'s on ${day}`)
  return [
    'Spent is what counts against a cap: estimates included, credits taken off.',
    ...(whens.length === 0 ? [] : [`Caps begin anew at 00:00 UTC: ${whens.join(', ')}.`]),
    ...(caps.length === 0 || isAsked ? [] : [NOT_ASKED]),
    ...(all.some((each) => each.policyKnown === false)
      ? ['(gone): the document has no such policy, and a gate refuses the caller.']
      : []),
    ...(all.some((each) => each.policyKnown === null)
      ? ['(?): POSTERN_CONFIG names no document that says what this policy is.']
      : []),
  ]
    .map((line) => `${line}\n`)
    .join('')
}

const NOT_ASKED = 'Requests under way may hold some of what is left; --gate URL asks how much.'

export function spendingAccount(one: Spending, month: string): string {
  const { estimatedMicroUsd, creditedMicroUsd, caps, corrections, policy } = one
  const lines = [
    `${nameOf(one)}, ${month} (UTC)`,
    ...(one.kind === 'org' ? [] : [`  hash       ${one.name}`]),
    ...(policy === undefined ? [] : [`  policy     ${policyText(one, undefined)}`]),
    `  charged    ${usd(one.chargedMicroUsd)}${estimatedText(estimatedMicroUsd)}`,
    `  credited   ${signedUsd(creditedMicroUsd)}`,
    `  spent      ${usd(one.spentMicroUsd)}`,
    ...(caps.length === 0 ? ['  cap        none'] : caps.flatMap((cap) => capLines(cap, one))),
    ...corrections.map(({ atMs, month: written, creditMicroUsd, reason, actor }) => {
      const at = new Date(atMs).toISOString().slice(0, 16).replace('T', ' ')
      const what = creditMicroUsd > 0 ? 'credit' : 'debit '
      const of = written === month ? '' : ` of ${written}`
      return `  ${at}  ${what} ${usd(Math.abs(creditMicroUsd))}${of}  ${visible(reason)} (${visible(actor)})`
    }),
  ]
  return lines.map((line) => `${line}\n`).join('')
}

function capLines(cap: CapAccount, { kind, orgId }: Spending): string[] {
  const { of, period, policies, limitMicroUsd, reservedMicroUsd } = cap
  const whose = of === 'own' || kind === 'org' ? '' : ` of org:${visible(orgId ?? '')}`
  const said = policies.map(visible).join(', ')
  return [
    `  cap        ${usd(limitMicroUsd)} a ${period}${whose} (policy ${said})`,
    `    spent    ${usd(cap.spentMicroUsd)}${estimatedText(cap.estimatedMicroUsd)}`,
    ...(cap.creditedMicroUsd === 0 ? [] : [`    credited ${signedUsd(cap.creditedMicroUsd)}`]),
    `    reserved ${reservedMicroUsd === null ? 'not known; --gate URL asks a gate' : usd(reservedMicroUsd)}`,
    `    left     ${usd(cap.leftMicroUsd)}`,
    `    resets   ${cap.resetsAt.slice(0, 16).replace('T', ' ')}`,
  ]
}

const estimatedText = (microUsd: number): string =>
  microUsd === 0 ? '' : `, ${usd(microUsd)} of it estimated`

const signedUsd = (microUsd: number): string =>
  `${microUsd < 0 ? '-' : ''}${usd(Math.abs(microUsd))}`

export function spendingJson(all: readonly Spending[], month: string): string {
  return inertJson({ month, spending: all })
}

function money(microUsd: number | undefined): string {
  if (microUsd === undefined) return ''
  return microUsd < 0 ? `-$${dollars(-microUsd, 4)}` : `$${dollars(microUsd, 4)}`
}

/** Several devices may share a label, so it is shown with the beginning of the hash. */
function nameOf({ kind, name, label }: Spending): string {
  if (kind === 'org') return `org:${visible(name)}`
  if (label === undefined) return `${kind} ${name.slice(0, HASH_LENGTH)}…`
  const text = cut(visible(label))
  return kind === 'key' ? text : `${text} ${name.slice(0, HASH_LENGTH)}`
}

function cut(text: string): string {
  return Bun.stringWidth(text) <= MAX_LABEL_WIDTH ? text : `${text.slice(0, MAX_LABEL_WIDTH - 1)}…`
}
