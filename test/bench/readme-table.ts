// The short table that the README shows.

import { inWords } from './machine.ts'
import { table } from './markdown.ts'
import { figureOf, type Run } from './report.ts'
import type { SubjectName } from './subject.ts'

const SHOWN: readonly (readonly [subject: SubjectName, title: string])[] = [
  ['postern', 'postern, everything on'],
  ['nginx', 'nginx, no authentication'],
  ['haproxy', 'HAProxy, `jwt_verify`'],
  ['portkey', 'Portkey, no authentication'],
]

interface Line {
  readonly about: string
  readonly part: string
  readonly figure: string
  readonly decimals: number
  readonly unit: string
  /** What it adds to the direct connection. */
  readonly added?: true
}

const cpu = { figure: 'cpuUs', decimals: 1, unit: ' µs' } as const

const LINES: readonly Line[] = [
  { ...cpu, about: 'CPU for a request, 1 KB, known token', part: 'known-1k' },
  { ...cpu, about: 'CPU for a request, 76 KB, known token', part: 'known-76k' },
  { ...cpu, about: 'CPU for a request, 1 KB, new token', part: 'new-1k' },
  { ...cpu, about: 'CPU for a request, 76 KB, new token', part: 'new-76k' },
  {
    about: 'Requests a second, 1 KB, one process',
    part: 'known-1k',
    figure: 'perSecond',
    decimals: 0,
    unit: '',
  },
  { ...cpu, about: 'CPU for an event of a stream, usage in a trailer', part: 'sse' },
  { ...cpu, about: 'CPU for an event of a stream, usage in the events', part: 'sse-anthropic' },
  {
    about: 'Added to the first byte of a stream, p50',
    part: 'ttfb',
    figure: 'firstByteP50Us',
    decimals: 0,
    unit: ' µs',
    added: true,
  },
  {
    about: 'Memory of a silent stream, of 3,000',
    part: 'idle-3000',
    figure: 'rssKiBEach',
    decimals: 1,
    unit: ' KiB',
  },
  {
    about: 'From exec to the first 200',
    part: 'startup',
    figure: 'firstOkMs',
    decimals: 0,
    unit: ' ms',
  },
  { about: 'Size', part: 'startup', figure: 'sizeMiB', decimals: 0, unit: ' MiB' },
]

export function readmeTable(run: Run): string {
  const cell = ({ part, figure, decimals, unit, added }: Line, subject: SubjectName): string => {
    const found = figureOf(run.samples, part, subject, figure)
    if (!found) return '–'
    const less = added ? (figureOf(run.samples, part, 'direct', figure)?.median ?? 0) : 0
    return `${(found.median - less).toFixed(decimals)}${unit}`
  }
  const rows = LINES.map((line) =>
    [line.about].concat(SHOWN.map(([subject]) => cell(line, subject))),
  )
  return `${table(['', ...SHOWN.map(([, title]) => title)], rows)}\n${inWords(run.machine)}.`
}
