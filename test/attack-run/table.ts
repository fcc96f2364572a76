// From what ran to what is said of it: the verdict of each attack, and the table. A case holds when
// every part of it ran and held; what did not run is never taken for what held.

export type State =
  /** As expected. */
  | 'held'
  /** Safe, but not the answer that was expected; what is seen says which and why. */
  | 'otherwise'
  /** Held, but asked for in less than its full size. */
  | 'shortened'
  /** A tool, a right or a resource of the machine is missing. */
  | 'skipped'
  /** No result, for whatever reason. */
  | 'not run'
  | 'broken'

export interface Finding {
  readonly state: State
  readonly seen: string
}

export interface Row {
  /** As in "31", or a letter for what has no number. */
  readonly id: string
  readonly attack: string
  readonly expected: string
  /** Of each part; absent where the case is of a feature that does not exist. */
  readonly findings: readonly Finding[] | undefined
}

export type Verdict = State | 'not applicable'

/** From the best to the worst: a case is as good as its worst part. */
const ORDER: readonly State[] = ['held', 'otherwise', 'shortened', 'skipped', 'not run', 'broken']

export function verdictOf({ findings }: Row): Verdict {
  if (!findings) return 'not applicable'
  const worst = Math.max(...findings.map(({ state }) => ORDER.indexOf(state)))
  // No part at all is -Infinity: nothing ran.
  return ORDER[worst] ?? 'not run'
}

export interface Strictness {
  readonly strict: boolean
}

export function exitCodeOf(rows: readonly Row[], { strict }: Strictness): number {
  const verdicts = new Set(rows.map(verdictOf))
  if (rows.length === 0 || verdicts.has('broken') || verdicts.has('not run')) return 1
  return strict && verdicts.has('skipped') ? 1 : 0
}

export function countsOf(rows: readonly Row[]): string {
  const counts = new Map<Verdict, number>()
  for (const verdict of rows.map(verdictOf)) counts.set(verdict, (counts.get(verdict) ?? 0) + 1)
  return [...counts].map(([verdict, count]) => `${count} ${verdict}`).join(', ')
}

export function markdown(rows: readonly Row[]): string {
  const lines = rows.map((row) => {
    const seen = row.findings?.map(told).join('; ') ?? ''
    const cells = [row.id, row.attack, row.expected, seen, `**${verdictOf(row)}**`]
    return `| ${cells.map(cell).join(' | ')} |`
  })
  return [
    '| # | attack | expected | answer seen | verdict |',
    '| --: | --- | --- | --- | --- |',
    ...lines,
  ].join('\n')
}

export function plain(rows: readonly Row[]): string {
  return rows
    .map((row) => {
      const seen = row.findings?.map((finding) => `\n         ${told(finding)}`).join('') ?? ''
      return `${row.id.padStart(3)}  ${verdictOf(row).padEnd(14)}  ${row.attack}${seen}`
    })
    .join('\n')
}

/** Of a case whose parts differ, a reader wants to know which it was. */
function told({ state, seen }: Finding): string {
  return state === 'held' ? seen : `[${state}] ${seen}`
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replace(/\s+/g, ' ').trim()
}
