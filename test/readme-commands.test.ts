// Every `postern` command that the documentation shows exists, with each of its flags.

import { expect, test } from 'bun:test'
import { Glob } from 'bun'

const root = new URL('../', import.meta.url).pathname
const pages = [...new Glob('docs/*.md').scanSync(root)]
  .toSorted()
  .concat('README.md', 'SECURITY.md')

/** `key` and `setup` are followed by what they act on. */
const WITH_ACTION = new Set(['key', 'setup'])
const WORD = /^[a-z][a-z-]*$/

interface ShownCommand {
  readonly page: string
  /** As in `key add`; '' for the gate itself. */
  readonly name: string
  readonly flags: readonly string[]
}

/** Code spans, which may go over a line's end, and the lines of blocks that a shell reads. */
async function codeOf(page: string): Promise<string[]> {
  const text = await Bun.file(root + page).text()
  const blocks = [...text.matchAll(/^```bash\n([^]*?)^```$/gm)].map(([, block = '']) => block)
  const prose = text.replaceAll(/^```[^]*?^```$/gm, '')
  const spans = [...prose.matchAll(/`([^`]+)`/g)].map(([, span = '']) => span.replaceAll('\n', ' '))
  return blocks.flatMap((block) => block.replaceAll('\\\n', ' ').split('\n')).concat(spans)
}

function commandIn(page: string, line: string): ShownCommand | undefined {
  const [, rest] = /^(?:\S+=\S* )*(?:\.\/dist\/)?postern((?: .*)?)$/.exec(line.trim()) ?? []
  if (rest === undefined) return undefined
  const own = rest.replace(/\s#.*$/, '').replace(/\s(?:--\s|[>|]).*$/, '')
  const words = own.split(' ').filter((word) => word !== '')
  const flags = words.flatMap((word) => /^--[a-z][a-z-]*/.exec(word)?.[0] ?? [])
  const [name = '', action = ''] = words
  if (!WORD.test(name)) return { page, name: '', flags }
  const acts = WITH_ACTION.has(name) && WORD.test(action)
  return { page, name: acts && name === 'key' ? `${name} ${action}` : name, flags }
}

async function output(args: readonly string[]): Promise<string> {
  const child = Bun.spawn([process.execPath, ...args], {
    cwd: root,
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [out, error, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  expect([code, error]).toEqual([0, ''])
  return out
}

/** In one process, since each start costs a tenth of a second. */
const HELPS = `
import { interpret, unknownCommand } from './src/operate/commands.ts'
for (const name of process.argv.slice(1)) {
  const words = name.split(' ')
  const asked = interpret([...words, '--help'])
  process.stdout.write('@@' + name + '\\n')
  if (asked.kind === 'command') await asked.run({})
  else if (unknownCommand(words[0])) throw new Error(words[0] + ' is not a command')
}`

/** `check` and `config` take the gate's own flags. */
async function helpTexts(names: ReadonlySet<string>): Promise<ReadonlyMap<string, string>> {
  const commands = [...names].filter((name) => name !== '')
  const [gate, own] = await Promise.all([
    output(['src/main.ts', '--help']),
    output(['-e', HELPS, ...commands]),
  ])
  const texts = own
    .split('@@')
    .slice(1)
    .map((each): [string, string] => {
      const end = each.indexOf('\n')
      return [each.slice(0, end), each.slice(end) + gate.repeat(each.length === end + 1 ? 1 : 0)]
    })
  return new Map([['', gate], ...texts])
}

test('every command in the documentation exists, and so does each of its flags', async () => {
  const code = await Promise.all(
    pages.map(async (page) => (await codeOf(page)).map((line) => commandIn(page, line))),
  )
  const shown = code.flat().filter((each) => each !== undefined)
  expect(shown.length).toBeGreaterThan(40)
  const helps = await helpTexts(new Set(shown.map((each) => each.name)))
  for (const { page, name, flags } of shown) {
    for (const flag of flags) {
      const exists = flag === '--help' || new RegExp(`${flag}\\b`).test(helps.get(name) ?? '')
      expect([page, name, flag, exists]).toEqual([page, name, flag, true])
    }
  }
})
