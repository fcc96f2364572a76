// The README says what the code does, or this fails.

import { expect, test } from 'bun:test'
import packageJson from '../package.json'
import { withTables } from '../tools/docs.ts'

const readme = await Bun.file(new URL('../README.md', import.meta.url)).text()

/** The formatter aligns columns; what stands in them is what counts. */
const plain = (text: string): string => text.replace(/-{3,}/g, '---').replace(/[ \n]+/g, ' ')

test('the tables of routes and settings are those of the code', () => {
  expect(plain(readme)).toBe(plain(withTables(readme)))
  expect(readme).toContain('`POST /v1/chat/completions`')
  expect(readme).toContain('`--rate-limit-rpm`')
})

test('every dependency has its reason', () => {
  const all = { ...packageJson.dependencies, ...packageJson.devDependencies }
  for (const [name, version] of Object.entries(all)) {
    expect(readme).toContain(`\`${name}\``)
    expect(version).toMatch(/^\d+\.\d+\.\d+$/)
  }
})

test('every code of a refusal is in the table', async () => {
  const source = await Bun.file(new URL('../src/refusal.ts', import.meta.url)).text()
  const table = source.slice(source.indexOf('const WIRE'), source.indexOf('} as const'))
  const codes = [...table.matchAll(/^ {2}(\w+):/gm)].map(([, code]) => code)
  expect(codes.length).toBeGreaterThan(20)
  for (const code of codes) expect(readme).toContain(`\`${code}\``)
})
