// A run in words: every figure as the median of its rounds, with the least and the most of them.

import { barRow, type Judged } from './bars.ts'
import { inWords, type Machine } from './machine.ts'
import { table } from './markdown.ts'
import type { Part, Sample } from './part.ts'
import { WARM_REQUESTS } from './requests.ts'
import { type Summary, summary } from './statistics.ts'
import type { Missing, SubjectName } from './subject.ts'

export interface Run {
  readonly machine: Machine
  readonly seed: number
  readonly rounds: number
  readonly seconds: number
  readonly titles: Readonly<Partial<Record<SubjectName, string>>>
  readonly parts: readonly Pick<Part, 'name' | 'about'>[]
  readonly missing: readonly Missing[]
  readonly failures: readonly string[]
  readonly loaderCheck: string | undefined
  readonly samples: readonly Sample[]
}

/** Columns that are shown, in this order: what a figure is called, and its decimals. */
const COLUMNS: Readonly<Record<string, readonly [title: string, decimals: number]>> = {
  cpuUs: ['CPU µs each', 1],
  perSecond: ['a second', 0],
  p50Us: ['p50 µs', 0],
  p99Us: ['p99 µs', 0],
  firstByteP50Us: ['first byte p50 µs', 0],
  firstByteP99Us: ['first byte p99 µs', 0],
  eventsPerRead: ['events a read', 2],
  streams: ['streams', 0],
  rssKiBEach: ['RSS KiB each', 1],
  pssKiBEach: ['PSS KiB each', 1],
  rssKiBEachAtFirst: ['RSS KiB each, before rest', 1],
  emptyRssMiB: ['RSS MiB before', 1],
  rssMiB: ['RSS MiB with them', 1],
  oneUs: ['CPU µs, one', 2],
  byModelUs: ['CPU µs, by model', 2],
  firstOkMs: ['first 200 ms', 1],
  firstPassedMs: ['first passed on ms', 1],
  sizeMiB: ['size MiB', 1],
  gateCores: ['gate, cores', 2],
  upstreamCores: ['upstream, cores', 2],
  loaderCores: ['load, cores', 2],
  othersCores: ['others, cores', 2],
}

/** Latencies, of which the direct connection's is taken off beside them. */
const ADDED = new Set(['p50Us', 'p99Us', 'firstByteP50Us', 'firstByteP99Us'])

export function figureOf(
  samples: readonly Sample[],
  part: string,
  subject: SubjectName,
  figure: string,
): Summary | undefined {
  const values = samples
    .filter((each) => each.part === part && each.subject === subject)
    .flatMap(({ figures }) => figures[figure] ?? [])
  return values.length === 0 ? undefined : summary(values)
}

const ORDER: readonly SubjectName[] = ['postern', 'nginx', 'haproxy', 'portkey', 'direct']

function partTable({ samples, titles }: Run, part: string): string {
  const of = (subject: SubjectName, figure: string): Summary | undefined =>
    figureOf(samples, part, subject, figure)
  const subjects = ORDER.filter((subject) =>
    samples.some((each) => each.part === part && each.subject === subject),
  )
  const columns = Object.entries(COLUMNS).filter(([figure]) =>
    subjects.some((subject) => of(subject, figure)),
  )
  const cell = (subject: SubjectName, figure: string, decimals: number): string => {
    const found = of(subject, figure)
    if (!found) return ''
    const { median, least, most } = found
    const less = ADDED.has(figure) && subject !== 'direct' ? of('direct', figure) : undefined
    const added = less ? ` (${signed(median - less.median, decimals)})` : ''
    const spread = least === most ? '' : ` [${least.toFixed(decimals)}–${most.toFixed(decimals)}]`
    return median.toFixed(decimals) + added + spread
  }
  return table(
    ['', ...columns.map(([, [title]]) => title)],
    subjects.map((subject) => {
      const cells = columns.map(([figure, [, decimals]]) => cell(subject, figure, decimals))
      return [titles[subject] ?? subject].concat(cells)
    }),
  )
}

const signed = (value: number, decimals: number): string =>
  (value < 0 ? '' : '+') + value.toFixed(decimals)

/** How many times a gate's rate the load and the upstream must have reached by themselves. */
const ROOM = 1.3
const BUSY_CORES = 0.95

/** Streams whose events came several in a read cost less each than streams whose did not. */
const EVENTS_A_READ = 1.15

/** Where something other than the gate may be in its figures. */
export function bottlenecks({ samples }: Pick<Run, 'samples'>): string[] {
  const found: string[] = []
  const ofRequests = samples.filter(({ figures }) => 'requests' in figures)
  for (const part of new Set(ofRequests.map((each) => each.part))) {
    const alone = figureOf(samples, part, 'direct', 'perSecond')?.median
    for (const subject of ORDER.filter((each) => each !== 'direct')) {
      const rate = figureOf(samples, part, subject, 'perSecond')?.median
      if (rate === undefined) continue
      const cores = (figure: string): number =>
        figureOf(samples, part, subject, figure)?.median ?? 0
      const said: string[] = []
      if (alone !== undefined && alone < ROOM * rate) {
        said.push(`the direct connection does only ${(alone / rate).toFixed(2)} x as many`)
      }
      if (cores('loaderCores') > BUSY_CORES) said.push('the load had a whole core')
      if (cores('upstreamCores') > BUSY_CORES) said.push('the upstream had a whole core')
      const warm = figureOf(samples, part, subject, 'warmRequests')?.least ?? 0
      if (subject === 'postern' && warm < WARM_REQUESTS) {
        said.push(`only ${warm} requests of warm-up, so that compiling is in the figures`)
      }
      if (said.length > 0) found.push(`${part}, ${subject}: ${said.join('; ')}`)
    }
  }
  for (const part of new Set(samples.map((each) => each.part))) {
    for (const subject of ORDER) {
      const together = figureOf(samples, part, subject, 'eventsPerRead')?.median ?? 1
      if (together < EVENTS_A_READ) continue
      found.push(`${part}, ${subject}: ${together.toFixed(2)} events came at once`)
    }
  }
  return found
}

export function report(run: Run, judged: readonly Judged[]): string {
  const { machine, seed, rounds, seconds } = run
  const list = (items: readonly string[], none: string): string =>
    items.length === 0 ? `${none}\n` : items.map((item) => `- ${item}\n`).join('')
  const sections = run.parts
    .filter(({ name }) => run.samples.some((each) => each.part === name))
    .map(({ name, about }) => `## ${name}: ${about}\n\n${partTable(run, name)}`)
  return [
    `# just bench, ${machine.date} UTC\n`,
    `${inWords(machine)}. postern of commit ${machine.commit}; Bun ${machine.bun}, ` +
      `wrk ${machine.wrk}. ${rounds} rounds of ${seconds} s each, seed ${seed}, subjects in a new ` +
      'order each time. Medians, [least–most] of the rounds; (+) is what it adds to the direct ' +
      "connection's. CPU is that of the gate's whole process tree. Memory is the process's own: " +
      "the kernel's for sockets is in none of the figures.\n",
    `## Bars\n\n${table(['', 'bar', 'measured', 'rounds', ''], judged.map(barRow))}`,
    ...sections,
    `## Not measured\n\n${list(
      run.missing.map(({ name, why }) => `${name}: ${why}`),
      'Everything was there.',
    )}\n` +
      'Portkey is put to requests and its start alone: 1.15.2 on Node 20 answers 500 where the ' +
      'upstream streams (its own `TypeError: immutable`).\n',
    `## Failed\n\n${list(run.failures, 'Nothing.')}`,
    '## Was anything else than the gate in its figures?\n\n' +
      list(bottlenecks(run), 'Nowhere.') +
      (run.loaderCheck === undefined ? '' : `\n${run.loaderCheck}.\n`),
  ].join('\n')
}
