// What `postern spend` prints: a table of everybody, or the account of one. Labels and reasons were
// typed by somebody: none of them reaches a terminal as an escape sequence.

import { inertJson } from './inert-json.ts'
import { type Spending, usd } from './spend.ts'
import { visible } from '../terminal.ts'
import { dollars } from './usage-text.ts'

const MAX_ROWS = 200
const MAX_LABEL_WIDTH = 32

export function spendingTable(all: readonly Spending[], month: string): string {
  const heading = `Spending in ${month} (UTC)\n\n`
  if (all.length === 0) return `${heading}Nobody has spent anything.\n`
  const head = ['Who', 'Spent', 'Estimated', 'Credited', 'Cap', 'Left']
  const shown = all.slice(0, MAX_ROWS)
  const body = shown.map((each) => [
    nameOf(each),
    money(each.spentMicroUsd),
    money(each.estimatedMicroUsd || undefined),
    money(each.creditedMicroUsd || undefined),
    money(each.capMicroUsd),
    money(each.leftMicroUsd),
  ])
  const widths = head.map((_, column) =>
    Math.max(...[head, ...body].map((line) => Bun.stringWidth(line[column] ?? ''))),
  )
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => {
        const gap = ' '.repeat(Math.max(0, (widths[column] ?? 0) - Bun.stringWidth(cell)))
        return column === 0 ? cell + gap : gap + cell
      })
      .join('  ')
      .trimEnd()
  const hidden = all.length - shown.length
  const more = hidden === 0 ? '' : `… and ${hidden} more; --json has them all\n`
  const note =
    'Spent is what counts against the cap: estimates included, credits taken off.\n' +
    'Requests under way may hold some of what is left.\n'
  return `${heading}${[head, ...body].map((each) => `${line(each)}\n`).join('')}${more}\n${note}`
}

export function spendingAccount(one: Spending, month: string): string {
  const { estimatedMicroUsd, creditedMicroUsd, capMicroUsd, leftMicroUsd, corrections } = one
  const estimated = estimatedMicroUsd === 0 ? '' : `, ${usd(estimatedMicroUsd)} of it estimated`
  const lines = [
    `${nameOf(one, true)}, ${month} (UTC)`,
    `  charged   ${usd(one.chargedMicroUsd)}${estimated}`,
    `  credited  ${creditedMicroUsd < 0 ? '-' : ''}${usd(Math.abs(creditedMicroUsd))}`,
    `  spent     ${usd(one.spentMicroUsd)}`,
    ...(capMicroUsd === undefined
      ? ['  cap       none']
      : [`  cap       ${usd(capMicroUsd)}`, `  left      ${usd(leftMicroUsd ?? 0)}`]),
    ...corrections.map(({ atMs, creditMicroUsd, reason, actor }) => {
      const at = new Date(atMs).toISOString().slice(0, 16).replace('T', ' ')
      const what = creditMicroUsd > 0 ? 'credit' : 'debit '
      return `  ${at}  ${what} ${usd(Math.abs(creditMicroUsd))}  ${visible(reason)} (${visible(actor)})`
    }),
  ]
  return lines.map((line) => `${line}\n`).join('')
}

export function spendingJson(all: readonly Spending[], month: string): string {
  return inertJson({ month, spending: all })
}

function money(microUsd: number | undefined): string {
  if (microUsd === undefined) return ''
  return microUsd < 0 ? `-$${dollars(-microUsd, 4)}` : `$${dollars(microUsd, 4)}`
}

function nameOf({ kind, name, label }: Spending, whole = false): string {
  if (kind === 'org') return `org:${visible(name)}`
  const text = label === undefined ? '' : ` ${cut(visible(label))}`
  return `${whole || label === undefined ? name : `${name.slice(0, 12)}…`}${text}`
}

function cut(text: string): string {
  return Bun.stringWidth(text) <= MAX_LABEL_WIDTH ? text : `${text.slice(0, MAX_LABEL_WIDTH - 1)}…`
}
