// The README says what the code does, or this fails.

import { expect, test } from 'bun:test'
import { Glob } from 'bun'
import { existsSync } from 'node:fs'
import { posix } from 'node:path'
import packageJson from '../package.json'
import { PAGES, withTables } from '../tools/docs.ts'

const root = new URL('../', import.meta.url).pathname
const read = (page: string): Promise<string> => Bun.file(root + page).text()
const pagesOf = (glob: string): string[] => [...new Glob(glob).scanSync(root)].toSorted()
const manual = pagesOf('docs/*.md')
const pages = pagesOf('*.md').concat(manual)

/** The formatter aligns columns; what stands in them is what counts. */
const plain = (text: string): string => text.replace(/-{3,}/g, '---').replace(/[ \n]+/g, ' ')

test('the tables of routes and settings match the code', async () => {
  for (const page of PAGES) {
    const text = await read(page)
    expect(plain(text)).toBe(plain(withTables(text)))
  }
  expect(await read('docs/api.md')).toContain('`POST /v1/chat/completions`')
  expect(await read('docs/settings.md')).toContain('`--rate-limit-rpm`')
})

test('every dependency has its reason', async () => {
  const reasons = await read('docs/development.md')
  const all = { ...packageJson.dependencies, ...packageJson.devDependencies }
  for (const [name, version] of Object.entries(all)) {
    expect(reasons).toContain(`\`${name}\``)
    expect(version).toMatch(/^\d+\.\d+\.\d+$/)
  }
})

test('every code of a refusal is in the table', async () => {
  const answers = await read('docs/api.md')
  const source = await read('src/refusal.ts')
  const table = source.slice(source.indexOf('const WIRE'), source.indexOf('} as const'))
  const codes = [...table.matchAll(/^ {2}(\w+):/gm)].map(([, code]) => code)
  expect(codes.length).toBeGreaterThan(20)
  for (const code of codes) expect(answers).toContain(`\`${code}\``)
})

/** As GitHub makes the anchor of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\w\- ]/g, '')
    .replaceAll(' ', '-')

/** Code blocks show commands, whose `#` starts a comment and no heading. */
const withoutCode = (text: string): string => text.replaceAll(/^```[^]*?^```$/gm, '')

async function anchorsOf(page: string): Promise<Set<string>> {
  const headings = withoutCode(await read(page)).matchAll(/^#+ (.+)$/gm)
  return new Set([...headings].map(([, heading = '']) => anchorOf(heading)))
}

test('every link to a file or a heading of the repository leads somewhere', async () => {
  let links = 0
  for (const page of pages) {
    for (const [, to = ''] of withoutCode(await read(page)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(to)) continue
      links += 1
      const [path = '', anchor] = to.split('#')
      const target = path === '' ? page : posix.join(posix.dirname(page), path)
      expect([page, to, existsSync(root + target)]).toEqual([page, to, true])
      if (anchor === undefined) continue
      expect([page, to, (await anchorsOf(target)).has(anchor)]).toEqual([page, to, true])
    }
  }
  expect(links).toBeGreaterThan(15)
})

test('the README leads to every page of docs/', async () => {
  const readme = await read('README.md')
  for (const page of manual) expect(readme).toContain(`](${page})`)
})
