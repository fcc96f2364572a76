// `just bench`: postern beside what people would put there, outside-in, in one run. Load goes to
// 127.0.0.1 and nowhere else; every process started here ends here.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { random } from '../support/random.ts'
import { barRow, judge } from './bars.ts'
import { credentials } from './credentials.ts'
import { direct } from './direct.ts'
import { haproxy } from './haproxy.ts'
import { IDLE } from './idle.ts'
import { checkLoader } from './loader-check.ts'
import { machine } from './machine.ts'
import { nginx } from './nginx.ts'
import { readOptions, USAGE } from './options.ts'
import type { Bench, Part, Sample } from './part.ts'
import { portkey } from './portkey.ts'
import { postern } from './postern.ts'
import { bottlenecks, report, type Run } from './report.ts'
import { REQUESTS } from './requests.ts'
import { refreshReadme, save } from './save.ts'
import { SSE } from './sse.ts'
import { CHOOSING } from './choosing.ts'
import { STARTUP } from './startup.ts'
import { shuffled } from './statistics.ts'
import { isMissing, type Missing, type Subject } from './subject.ts'
import { TTFB } from './ttfb.ts'
import { wrkVersion } from './wrk.ts'

const PARTS: readonly Part[] = [...REQUESTS, ...SSE, TTFB, ...IDLE, STARTUP, CHOOSING]

/** A round that would end later is not begun. */
const TIME_MS = 29 * 60_000

const options = readOptions(Bun.argv.slice(2), process.env)
if (options.list) {
  process.stdout.write(USAGE + PARTS.map(({ name, about }) => `  ${name}: ${about}\n`).join(''))
  process.exit(0)
}
if (wrkVersion() === undefined) throw new Error('the load comes from wrk: install it')

const root = mkdtempSync(join(tmpdir(), 'postern-bench-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))
let folders = 0
const folder = (): string => mkdtempSync(join(root, `${folders++}-`))

const parts = named(PARTS, options.parts)
const found = await subjectsOf(options.subjects)
const subjects = found.filter((each) => !isMissing(each)) as Subject[]
const missing = found.filter(isMissing)
for (const { name, why } of missing) console.log(`SKIPPED ${name}: ${why}`)

const limits = readFileSync('/proc/self/limits', 'utf8')
const bench: Bench = {
  credentials: await credentials(folder()),
  seconds: options.seconds,
  descriptors: Number(/Max open files\s+(\d+)/.exec(limits)?.[1]),
  folder,
}

const loaderCheck = await checkLoader(bench)
console.log(loaderCheck)
console.log(`seed ${options.seed}`)
const samples: Sample[] = []
const failures: string[] = []
const chance = random(options.seed)
const began = performance.now()
let rounds = 0
for (let round = 1; round <= options.rounds; round++) {
  const usedMs = performance.now() - began
  if (usedMs + usedMs / Math.max(1, rounds) > TIME_MS) {
    console.log(`STOPPED after ${rounds} of ${options.rounds} rounds: half an hour is used up`)
    break
  }
  rounds = round
  for (const part of parts) {
    for (const subject of shuffled(subjects, chance)) {
      if (part.subjects.includes(subject.name)) await measure(round, part, subject)
    }
  }
}
bench.credentials.close()

const run: Run = {
  machine: machine(),
  seed: options.seed,
  rounds,
  seconds: options.seconds,
  titles: Object.fromEntries(subjects.map(({ name, title }) => [name, title])),
  parts: parts.map(({ name, about }) => ({ name, about })),
  missing,
  failures,
  loaderCheck,
  samples,
}
const judged = judge(samples).filter(({ measured }) => options.parts === undefined || measured)
for (const bar of judged) console.log(barRow(bar).join('  '))
for (const said of bottlenecks(run)) console.log(`NOT THE GATE: ${said}`)
for (const failure of failures) console.log(`FAILED ${failure}`)
if (options.save) {
  console.log(await save(run, report(run, judged)))
  if (!(await refreshReadme(run))) console.log('the README has no <!-- bench --> to fill')
}
// That a bar is missed is a result; that something could not be measured is an error.
process.exit(failures.length > 0 ? 1 : 0)

async function measure(round: number, part: Part, subject: Subject): Promise<void> {
  const label = `${round} ${part.name} ${subject.name}`
  try {
    const figures = await part.measure(subject, bench)
    samples.push({ part: part.name, subject: subject.name, round, figures })
    const shown = Object.entries(figures).map(([name, value]) => `${name} ${shortly(value)}`)
    console.log(`${label}: ${shown.join(', ')}`)
  } catch (error) {
    failures.push(`${label}: ${String(error)}`)
    console.log(`${label}: FAILED: ${String(error)}`)
  }
}

function shortly(value: number): string {
  return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)
}

/** Those that were asked for; nobody is installed who was not. */
async function subjectsOf(
  names: readonly string[] | undefined,
): Promise<readonly (Subject | Missing)[]> {
  const all = {
    postern: () => postern(folder(), options),
    nginx,
    haproxy,
    portkey,
    direct: () => direct,
  }
  const each = named(
    Object.entries(all).map(([name, make]) => ({ name, make })),
    names,
  )
  return Promise.all(each.map(({ make }) => make()))
}

function named<T extends { readonly name: string }>(
  all: readonly T[],
  names: readonly string[] | undefined,
): readonly T[] {
  for (const name of names ?? []) {
    if (!all.some((each) => each.name === name)) throw new Error(`no ${name}; --list names all`)
  }
  return all.filter(({ name }) => names?.includes(name) ?? true)
}
