// What postern has to reach, and whether it did. A ratio is taken within each round, so that what
// the machine did meanwhile is in both of its numbers, and then the median of the rounds.

import type { Figures, Sample } from './part.ts'
import { type Summary, summary } from './statistics.ts'
import type { SubjectName } from './subject.ts'

export interface Bar {
  readonly about: string
  readonly part: string
  readonly figure: string
  /** postern's figure is divided by this peer's; without one it stands for itself. */
  readonly beside?: SubjectName
  readonly atMost: number
  readonly unit?: string
}

export interface Judged extends Bar {
  /** Undefined where one of the two was not measured, or no round is a comparison. */
  readonly measured: Summary | undefined
  readonly passed: boolean | undefined
}

/**
 * A gate that hands on several events at once does less for each. On a busy machine any of them
 * does: rounds in which postern did so more than its peer, by more than this, are no comparison.
 */
const MORE_AT_ONCE = 1.15

/** Portkey may cost no less than so many times what postern does. */
const TIMES_PORTKEY = 12

const cpu = { figure: 'cpuUs' } as const

export const BARS: readonly Bar[] = [
  { ...cpu, about: '1 KB, known', part: 'known-1k', beside: 'haproxy', atMost: 0.5 },
  { ...cpu, about: '1 KB, known', part: 'known-1k', beside: 'nginx', atMost: 2.3 },
  { ...cpu, about: '1 KB, known', part: 'known-1k', beside: 'portkey', atMost: 1 / TIMES_PORTKEY },
  { ...cpu, about: '76 KB, known', part: 'known-76k', beside: 'haproxy', atMost: 0.6 },
  { ...cpu, about: '1 KB, new tokens', part: 'new-1k', beside: 'haproxy', atMost: 0.9 },
  { ...cpu, about: '76 KB, new tokens', part: 'new-76k', beside: 'haproxy', atMost: 0.9 },
  { ...cpu, about: 'SSE event, usage in a trailer', part: 'sse', beside: 'nginx', atMost: 1.1 },
  {
    ...cpu,
    about: 'SSE event, usage in the events',
    part: 'sse-anthropic',
    beside: 'nginx',
    atMost: 1.1,
  },
  {
    about: 'memory of a silent stream, 3,000 of them',
    part: 'idle-3000',
    figure: 'rssKiBEach',
    atMost: 16,
    unit: 'KiB',
  },
  {
    about: 'memory of a silent stream, as many as can be',
    part: 'idle-most',
    figure: 'rssKiBEach',
    atMost: 16,
    unit: 'KiB',
  },
  {
    about: 'choosing, one upstream serves a route',
    part: 'choosing',
    figure: 'oneUs',
    atMost: 1,
    unit: 'µs',
  },
  {
    about: 'choosing, the model decides between eight',
    part: 'choosing',
    figure: 'byModelUs',
    atMost: 5,
    unit: 'µs',
  },
  { about: 'first 200', part: 'startup', figure: 'firstOkMs', atMost: 50, unit: 'ms' },
]

export function judge(samples: readonly Sample[], bars: readonly Bar[] = BARS): Judged[] {
  return bars.map((bar) => {
    const of = (subject: SubjectName, round: number): Figures | undefined =>
      samples.find(
        (each) => each.part === bar.part && each.subject === subject && each.round === round,
      )?.figures
    const rounds = [...new Set(samples.map(({ round }) => round))]
    const values = rounds.flatMap((round) => {
      const ours = of('postern', round)
      const theirs = bar.beside === undefined ? undefined : of(bar.beside, round)
      const value = ours?.[bar.figure]
      if (value === undefined) return []
      if (bar.beside === undefined) return [value]
      const other = theirs?.[bar.figure]
      return other === undefined || moreAtOnce(ours, theirs) ? [] : [value / other]
    })
    if (values.length === 0) return { ...bar, measured: undefined, passed: undefined }
    const measured = summary(values)
    return { ...bar, measured, passed: measured.median <= bar.atMost }
  })
}

function moreAtOnce(ours: Figures | undefined, theirs: Figures | undefined): boolean {
  const perRead = (figures: Figures | undefined): number => figures?.['eventsPerRead'] ?? 1
  return perRead(ours) > MORE_AT_ONCE * perRead(theirs)
}

export function barRow({ about, beside, atMost, unit, measured, passed }: Judged): string[] {
  const inUnit = (value: number): string =>
    unit === undefined ? `${value.toPrecision(3)} x` : `${value.toFixed(1)} ${unit}`
  const what = beside === undefined ? about : `${about}: CPU ÷ ${beside}`
  if (!measured) return [what, `≤ ${inUnit(atMost)}`, 'not measured', '', '']
  const { median, least, most } = measured
  const spread = `${inUnit(least)} – ${inUnit(most)}`
  return [what, `≤ ${inUnit(atMost)}`, inUnit(median), spread, passed ? 'pass' : 'FAIL']
}
