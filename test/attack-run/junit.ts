// The tests that show an attack in full, run by `bun test`, and what its JUnit report says of them.

import type { Finding } from './table.ts'

export interface TestResult {
  readonly file: string
  /** Of its groups and its own, in one line. */
  readonly name: string
  readonly outcome: 'passed' | 'failed' | 'skipped'
}

export interface TestRun {
  readonly results: readonly TestResult[]
  /** What tests that lacked a right or a tool wrote, for they count as passed. */
  readonly lacked: readonly string[]
}

export interface Wanted {
  readonly file: string
  /** Of the groups' names and the test's own, joined by a space. */
  readonly named: RegExp
  /** What they assert. */
  readonly shows: string
  /** What they write when they pass for want of something: then they are skipped. */
  readonly lacking?: RegExp
}

/** What these tests found; nothing that did not pass in this run is held. */
export function findingOf({ file, named, shows, lacking }: Wanted, run: TestRun): Finding {
  const mine = run.results.filter((result) => result.file === file && named.test(result.name))
  const of = (outcome: TestResult['outcome']): TestResult[] =>
    mine.filter((result) => result.outcome === outcome)
  const failed = of('failed')
  const skipped = of('skipped')
  if (failed.length > 0) return { state: 'broken', seen: `failed in ${file}: ${names(failed)}` }
  if (mine.length === 0) return { state: 'not run', seen: `no test of ${file} is ${named}` }
  if (skipped.length > 0) return { state: 'skipped', seen: `in ${file}: ${names(skipped)}` }
  const lacked = run.lacked.find((why) => lacking?.test(why))
  if (lacked !== undefined) return { state: 'skipped', seen: `in ${file}: ${lacked}` }
  const count = mine.length === 1 ? '1 test' : `${mine.length} tests`
  return { state: 'held', seen: `${shows} (${count} of ${file.replace('test/', '')})` }
}

function names(results: readonly TestResult[]): string {
  const rest = results.length > 3 ? ` and ${results.length - 3} more` : ''
  return results
    .slice(0, 3)
    .map(({ name }) => `"${name}"`)
    .join(', ')
    .concat(rest)
}

export function parseReport(xml: string): TestResult[] {
  const results: TestResult[] = []
  for (const [, attributes = '', end = '', inner = ''] of xml.matchAll(
    /<testcase\b((?:"[^"]*"|[^">])*?)(\/?)>(?:(?<!\/>)([\s\S]*?)<\/testcase>)?/g,
  )) {
    const of = (name: string): string =>
      decode(new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1] ?? '')
    const body = end === '/' ? '' : inner
    const name = `${of('classname')} ${of('name')}`.trim()
    const outcome = /<(?:failure|error)\b/.test(body)
      ? 'failed'
      : /<skipped\b/.test(body)
        ? 'skipped'
        : 'passed'
    results.push({ file: of('file'), name, outcome })
  }
  return results
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
}

function decode(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (all, hex, decimal, name) => {
    if (hex) return String.fromCodePoint(Number.parseInt(hex, 16))
    return decimal ? String.fromCodePoint(Number(decimal)) : (ENTITIES[name] ?? all)
  })
}

const root = new URL('../..', import.meta.url).pathname

/** What runs is what is wanted, and all that shares a name with it in these files. */
export async function runTests(
  wanted: readonly Wanted[],
  { parallel, env = {} }: { parallel: boolean; env?: Readonly<Record<string, string>> },
): Promise<TestRun> {
  if (wanted.length === 0) return { results: [], lacked: [] }
  const report = `${process.env['POSTERN_TEST_FOLDER']}/report-${crypto.randomUUID()}.xml`
  const filter = [...new Set(wanted.map(({ named }) => named.source))].join('|')
  const child = Bun.spawn(
    [
      process.execPath,
      'test',
      ...(parallel ? ['--parallel'] : []),
      ...new Set(wanted.map(({ file }) => `./${file}`)),
      '--test-name-pattern',
      filter,
      '--reporter=junit',
      `--reporter-outfile=${report}`,
    ],
    { cwd: root, env: { ...process.env, ...env }, stdout: 'pipe', stderr: 'pipe' },
  )
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  const file = Bun.file(report)
  const xml = (await file.exists()) ? await file.text() : ''
  const lacked = [...(stdout + stderr).matchAll(/^\s*skipped: (.+)$/gm)].map(([, why = '']) => why)
  const results = parseReport(xml)
  // Without a word of why, a table of "not run" would be all that is left of a mistake.
  if (results.length === 0) process.stderr.write(stderr.slice(-4000))
  for (const block of stderr.split(/\n(?=\(fail\))/).slice(1)) {
    process.stderr.write(`${block.split('\n')[0]}\n`)
  }
  return { results, lacked }
}
