// Where a run is kept: test/bench/results, and the README's table.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { withBlock } from './markdown.ts'
import { readmeTable } from './readme-table.ts'
import type { Run } from './report.ts'

const RESULTS = join(import.meta.dir, 'results')
const README = join(import.meta.dir, '../../README.md')

export async function save(run: Run, text: string): Promise<string> {
  mkdirSync(RESULTS, { recursive: true })
  const file = join(RESULTS, run.machine.date.slice(0, 10))
  await Bun.write(`${file}.md`, text)
  await Bun.write(`${file}.json`, `${JSON.stringify(run, undefined, 2)}\n`)
  await format(`${file}.md`, `${file}.json`)
  return `${file}.md`
}

/** False where the README has no place for it. */
export async function refreshReadme(run: Run): Promise<boolean> {
  const text = withBlock(await Bun.file(README).text(), 'bench', readmeTable(run))
  if (text === undefined) return false
  await Bun.write(README, text)
  await format(README)
  return true
}

async function format(...files: readonly string[]): Promise<void> {
  await Bun.$`${process.execPath} fmt --no-script ${files}`.quiet()
}
