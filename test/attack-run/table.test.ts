// The table says of a case what its parts did, and a case that did not run never passes.

import { describe, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { CASES } from './cases.ts'
import { findingOf, parseReport, type TestRun } from './junit.ts'
import { exitCodeOf, markdown, type State, verdictOf } from './table.ts'

const row = (...states: readonly State[]) => ({
  id: '1',
  attack: 'a|b',
  expected: '<c>',
  findings: states.map((state) => ({ state, seen: `was ${state}` })),
})
const EVERYTHING: readonly State[] = ['otherwise', 'shortened', 'skipped', 'not run', 'broken']

describe('a verdict', () => {
  test.each(EVERYTHING)('of a case with a part that was %s is that, whatever held', (state) => {
    expect(verdictOf(row('held', state, 'held'))).toBe(state)
  })
  test('of a case without a part is that nothing ran', () => {
    expect(verdictOf(row())).toBe('not run')
    expect(exitCodeOf([row()], { strict: false })).toBe(1)
  })
  test('of a feature that is not there is no pass', () => {
    expect(verdictOf({ ...row(), findings: undefined })).toBe('not applicable')
  })
})

test('a missing tool fails only a strict run; a broken test, or one that did not run, fails every run', () => {
  const codes = (...states: readonly State[]): number[] =>
    [false, true].map((strict) => exitCodeOf([row('held'), row(...states)], { strict }))
  expect(codes('held')).toEqual([0, 0])
  expect(codes('otherwise')).toEqual([0, 0])
  expect(codes('skipped')).toEqual([0, 1])
  expect(codes('held', 'not run')).toEqual([1, 1])
  expect(codes('held', 'broken')).toEqual([1, 1])
  expect(exitCodeOf([], { strict: false })).toBe(1)
})

test('every file of tests that a case names is there', async () => {
  const named = new Set(CASES.flatMap(({ tests = [] }) => tests.map(({ file }) => file)))
  const missing = [...named].filter((file) => !existsSync(`${import.meta.dir}/../../${file}`))
  expect(missing).toEqual([])
})

test("a cell's text stays in its cell", () => {
  expect(
    markdown([row('held')])
      .split('\n')
      .at(-1),
  ).toBe('| 1 | a\\|b | &lt;c> | was held | **held** |')
})

describe('of a report', () => {
  const run = (body: string, lacked: readonly string[] = []): TestRun => ({
    results: parseReport(`<testsuite file="test/a.test.ts">
      <testcase name="another" classname="attack 2: b" file="test/a.test.ts" time="0" />
      <testcase name="holds &amp; &#39;holds&#39;" classname="attack 1: a" file="test/a.test.ts">
        ${body}
      </testcase>
      <testcase name="x" classname="attack 1: a" file="test/other.test.ts" time="0" />
    </testsuite>`),
    lacked,
  })
  const wanted = { file: 'test/a.test.ts', named: /attack 1:.*& 'holds'/, shows: '400' }
  const passed = run('').results

  test('a test that passed is held, under its decoded name, and counted', () => {
    expect(findingOf(wanted, run(''))).toEqual({ state: 'held', seen: '400 (1 test of a.test.ts)' })
  })
  test.each([
    ['failed', '<failure type="AssertionError" />', 'broken'],
    ['had an error', '<error message="x" />', 'broken'],
    ['was skipped', '<skipped />', 'skipped'],
  ])('a test that %s is not', (_how, body, state) => {
    expect(findingOf(wanted, run(body)).state).toBe(state as State)
  })
  test('a test that is in no report, or under no such name, did not run', () => {
    expect(findingOf(wanted, { results: [], lacked: [] }).state).toBe('not run')
    expect(findingOf({ ...wanted, named: /attack 3:/ }, run('')).state).toBe('not run')
    expect(findingOf({ ...wanted, file: 'test/gone.test.ts' }, run('')).state).toBe('not run')
  })
  test('a test that passes for want of a right was skipped', () => {
    const lacking = { ...wanted, lacking: /mount/ }
    expect(findingOf(lacking, { results: passed, lacked: ['no right to mount'] }).state).toBe(
      'skipped',
    )
    expect(findingOf(lacking, { results: passed, lacked: [] }).state).toBe('held')
  })
})

test('every number of the list is a case, once', () => {
  const numbers = CASES.map(({ id }) => id).filter((id) => /^\d+$/.test(id))
  expect(numbers).toEqual(Array.from({ length: 56 }, (_, at) => String(at + 1)))
  expect(new Set(CASES.map(({ id }) => id)).size).toBe(CASES.length)
})
test('every case has something that shows it, or says why not', () => {
  for (const { tests = [], own = [], later } of CASES) {
    expect(tests.length + own.length > 0).toBe(later === undefined)
  }
})
