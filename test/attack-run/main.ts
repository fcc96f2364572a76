// `just attack`: every attack by its number, and a table of what it got. `--only 25,38` runs some,
// `--quick` at less than full size; without either, the table is written to results/attacks.md. A
// tool that is missing is a skipped case; it fails the run under CI=true or ATTACK_STRICT=1 alone.

import { mkdtempSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Case, CASES, type Test } from './cases.ts'
import { findingOf, runTests, type TestRun } from './junit.ts'
import { HOW_TO_GET, type Own, type Size } from './own.ts'
import { countsOf, exitCodeOf, type Finding, plain, type Row } from './table.ts'
import { writeResults } from './results.ts'

const { values } = parseArgs({
  args: Bun.argv.slice(2),
  options: { only: { type: 'string' }, quick: { type: 'boolean', default: false } },
})
const size: Size = values.quick ? 'quick' : 'full'
const only = values.only?.split(',').map((id) => id.trim())
const unknown = only?.filter((id) => !CASES.some((each) => each.id === id)) ?? []
if (unknown.length > 0) {
  console.error(
    `no such case: ${unknown.join(', ')}; there are ${CASES.map(({ id }) => id).join()}`,
  )
  process.exit(64)
}
const cases = CASES.filter(({ id }) => !only || only.includes(id))

const folder = mkdtempSync(join(tmpdir(), 'postern-attack-'))
process.env['POSTERN_TEST_FOLDER'] = folder
const loadBefore = loadavg()[0] ?? 0
const startedAt = performance.now()
const say = (text: string): void => {
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(0).padStart(4)
  process.stderr.write(`${seconds} s  ${text}\n`)
}

const tests = cases.flatMap(({ tests: all = [] }) => all)
const isLong = ({ long }: Test): boolean => long === true
const long = runTests(size === 'full' ? tests.filter(isLong) : [], {
  parallel: false,
  env: { POSTERN_LONG: '1' },
})
say(`${cases.length} cases; tests of the suite first`)
const ordinary = await runTests(
  tests.filter((each) => !isLong(each)),
  { parallel: true },
)
say(`${ordinary.results.filter(({ outcome }) => outcome === 'passed').length} tests passed`)

const found = new Map<Own, Finding>()
async function attempt(own: Own): Promise<void> {
  say(`${own.name} …`)
  const finding = await attempted(own)
  found.set(own, finding)
  say(`${own.name}: ${finding.state}: ${finding.seen}`)
}
async function attempted(own: Own): Promise<Finding> {
  const { needs } = own
  if (needs && !Bun.which(needs)) {
    return { state: 'skipped', seen: `${needs} is not installed (${HOW_TO_GET[needs]})` }
  }
  try {
    return await own.run(size)
  } catch (error) {
    return { state: 'not run', seen: `${own.name} failed: ${String(error).slice(0, 300)}` }
  }
}
const owns = cases.flatMap(({ own = [] }) => own)
for (const own of owns.filter(({ beside }) => !beside)) await attempt(own)
await Promise.all(owns.filter(({ beside }) => beside).map(attempt))
// A crowded machine is slow, and tests have deadlines: what failed is asked once more, alone.
const failed = tests.filter((each) => !isLong(each) && findingOf(each, ordinary).state === 'broken')
if (failed.length > 0)
  say(`${failed.length} once more: ${failed.map(({ file }) => file).join(', ')}`)
const again = await runTests(failed, { parallel: false })
say('waiting for what takes minutes')
const lasting = await long
rmSync(folder, { recursive: true, force: true })

const rows: Row[] = cases.map((each) => ({
  id: each.id,
  attack: each.attack,
  expected: each.expected,
  findings: findingsOf(each),
}))

function findingsOf({ tests: wanted = [], own = [], later }: Case): Finding[] | undefined {
  if (later !== undefined) return undefined
  return [
    ...wanted.map(testFinding),
    ...own.map((each): Finding => found.get(each) ?? { state: 'not run', seen: each.name }),
  ]
}

function testFinding(wanted: Test): Finding {
  if (isLong(wanted) && size === 'quick') {
    return { state: 'shortened', seen: `without: ${wanted.shows}` }
  }
  const run: TestRun = isLong(wanted) ? lasting : ordinary
  const finding = failed.includes(wanted) ? secondOf(wanted) : findingOf(wanted, run)
  return finding.state === 'held' && wanted.otherwise !== undefined
    ? { state: 'otherwise', seen: `${finding.seen}: ${wanted.otherwise}` }
    : finding
}

function secondOf(wanted: Test): Finding {
  const { state, seen } = findingOf(wanted, again)
  const first = findingOf(wanted, ordinary).seen
  return { state, seen: state === 'held' ? `${seen}, at the second try; at first ${first}` : seen }
}

const minutes = (performance.now() - startedAt) / 60_000
console.log(plain(rows))
console.log(`\n${countsOf(rows)}; ${minutes.toFixed(1)} minutes`)
if (!only && size === 'full') await writeResults(rows, { minutes, loadBefore })
const strict = process.env['CI'] === 'true' || process.env['ATTACK_STRICT'] === '1'
process.exit(exitCodeOf(rows, { strict }))
