// Which part of src may know which. A request goes from left to right through the stages, and no
// stage knows what comes after it; what the code imports is held against that here.

import { expect, test } from 'bun:test'
import { Glob } from 'bun'
import { posix } from 'node:path'

interface Import {
  readonly from: string
  readonly to: string
  /** Gone when the program runs. */
  readonly typeOnly: boolean
  readonly dynamic: boolean
}

const root = new URL('../src/', import.meta.url).pathname

const STATIC = /^(?:import|export)\s+(type\s)?([^'"]*?)\s*from\s+'(\.[^']+\.(?:ts|json))'/gm
const BARE = /^import\s+'(\.[^']+\.ts)'/gm
const DYNAMIC = /\bimport\(\s*'(\.[^']+)'\s*\)/g

async function importsOf(file: string): Promise<Import[]> {
  const text = await Bun.file(root + file).text()
  const to = (path: string): string => posix.join(posix.dirname(file), path)
  const found: Import[] = []
  for (const [, type, names = '', path = ''] of text.matchAll(STATIC)) {
    const members = /^\{([^}]*)\}$/.exec(names)?.[1]?.split(',') ?? ['']
    const all = members.map((each) => each.trim()).filter((each) => each !== '')
    const typeOnly =
      type !== undefined || (all.length > 0 && all.every((each) => each.startsWith('type ')))
    found.push({ from: file, to: to(path), typeOnly, dynamic: false })
  }
  for (const [, path = ''] of text.matchAll(BARE)) {
    found.push({ from: file, to: to(path), typeOnly: false, dynamic: false })
  }
  for (const [, path = ''] of text.matchAll(DYNAMIC)) {
    found.push({ from: file, to: to(path), typeOnly: false, dynamic: true })
  }
  return found
}

const files = [...new Glob('**/*.ts').scanSync(root)].toSorted()
const imports = (await Promise.all(files.map(importsOf))).flat()

/** The folder, or the file at the root of src. */
const partOf = (file: string): string => (file.includes('/') ? file.replace(/\/.*/, '') : file)
const across = imports.filter(({ from, to }) => partOf(from) !== partOf(to))
const shown = ({ from, to, typeOnly }: Import): string =>
  `${from} -> ${to}${typeOnly ? ' (type)' : ''}`

/** From left to right. */
const STAGES = ['admit', 'budget', 'dispatch', 'relay', 'settle', 'realtime']

/** What anybody may know: values, and words for them. */
const COMMON = new Set([
  'names.ts',
  'turn',
  'refusal.ts',
  'secret.ts',
  'hosts.ts',
  'version.ts',
  'end.ts',
  'exchange.ts',
  'log.ts',
  'log-output.ts',
  'print.ts',
  'terminal.ts',
])

/** What anybody may know but these two, which are whole without the rest. */
const WHOLE_ALONE = new Set(['client', 'dev'])

/** What any part may import but those of COMMON and those beside them: they know no stage. */
const LEAVES = new Set(['token', 'http1', 'websocket'])

const VALUES = new Set(['turn', 'secret.ts', 'hosts.ts', 'version.ts'])

/** Which parts each part may import from, beside COMMON and LEAVES. */
const MAY: Readonly<Record<string, readonly string[]>> = {
  turn: [],
  'names.ts': [],
  'refusal.ts': [],
  'secret.ts': [],
  'hosts.ts': [],
  'version.ts': [],
  'end.ts': [],
  'exchange.ts': [],
  'log.ts': ['config'],
  'log-output.ts': [],
  'terminal.ts': [],
  'print.ts': [],
  'signals.ts': [],
  token: [],
  http1: [],
  websocket: [],
  policy: [],
  state: [],
  database: [],
  ledger: ['database'],
  config: [],
  upstream: [],
  admit: ['config', 'policy', 'keys'],
  budget: ['policy', 'state', 'upstream', 'admit'],
  dispatch: ['policy', 'upstream', 'admit', 'budget'],
  relay: ['upstream', 'budget', 'dispatch'],
  settle: ['upstream', 'state', 'budget', 'ledger'],
  realtime: ['upstream', 'budget', 'relay', 'settle'],
  enroll: ['config', 'state', 'database'],
  keys: ['enroll', 'database'],
  login: ['database'],
  stored: ['database'],
  accept: ['config', 'policy', 'state', 'upstream', 'enroll', 'ledger', ...STAGES],
  gate: [
    'accept',
    'config',
    'policy',
    'dev',
    'upstream',
    'enroll',
    'keys',
    'login',
    'stored',
    'ledger',
    'database',
    'state',
    ...STAGES,
  ],
  operate: ['policy', 'admit', 'client', 'config', 'enroll', 'keys', 'ledger', 'upstream', 'gate'],
  'main.ts': ['budget', 'config', 'operate', 'gate', 'signals.ts'],
  dev: [],
  client: [],
}

/** Types alone: they are gone when the program runs, and say what is passed along. */
const MAY_TYPE: Readonly<Record<string, readonly string[]>> = {
  realtime: ['admit'],
  admit: ['enroll', 'upstream'],
  login: ['upstream'],
  relay: ['settle'],
  accept: ['login'],
}

const allowed = ({ from, to, typeOnly }: Import): boolean => {
  const [part, other] = [partOf(from), partOf(to)]
  if (COMMON.has(other) && !WHOLE_ALONE.has(part)) return true
  if (LEAVES.has(other) && !(LEAVES.has(part) || COMMON.has(part) || WHOLE_ALONE.has(part))) {
    return true
  }
  if (MAY[part]?.includes(other)) return true
  return typeOnly && (MAY_TYPE[part]?.includes(other) ?? false)
}

test('every import is found, and leads to a file of src', async () => {
  expect(imports.length).toBeGreaterThan(200)
  const known = new Set([...files, 'budget/prices.json', '../package.json'])
  expect(imports.filter(({ to }) => !known.has(to)).map(shown)).toEqual([])
  // What these expressions do not see would be held against nothing.
  for (const file of files) {
    const text = await Bun.file(root + file).text()
    const code = text.replaceAll(/^\s*(?:\/\/|\*|\/\*).*$/gm, '')
    const count = [
      ...code.matchAll(/(?:\bfrom\s+|\bimport\(\s*|^import\s+)'\.[^']+\.(?:ts|json)'/gm),
    ].length
    expect([file, count]).toEqual([file, imports.filter(({ from }) => from === file).length])
    expect([file, /\brequire\(\s*['"]\./.test(code)]).toEqual([file, false])
  }
})

test('every part has its line in the table, and no line is of a part that is gone', () => {
  expect(Object.keys(MAY).toSorted()).toEqual([...new Set(files.map(partOf))].toSorted())
})

test('no part imports from a part outside its list', () => {
  const inside = across.filter(({ to }) => partOf(to) in MAY)
  expect(inside.filter((each) => !allowed(each)).map(shown)).toEqual([])
})

test('no stage knows what comes after it', () => {
  const wrong = across
    .filter(({ from, to, typeOnly }) => {
      const [mine, theirs] = [STAGES.indexOf(partOf(from)), STAGES.indexOf(partOf(to))]
      return mine !== -1 && theirs > mine && !typeOnly
    })
    .map(shown)
  expect(wrong).toEqual([])
})

test('the upstreams know no stage', () => {
  const wrong = across.filter(
    ({ from, to }) => partOf(from) === 'upstream' && STAGES.includes(partOf(to)),
  )
  expect(wrong.map(shown)).toEqual([])
})

test('the leaves know values alone: no refusal, no log, no exchange', () => {
  const wrong = across.filter(
    ({ from, to }) =>
      (LEAVES.has(partOf(from)) || partOf(from) === 'turn') && !VALUES.has(partOf(to)),
  )
  expect(wrong.map(shown)).toEqual([])
})

/** What could be another one: where things are kept, or the API of a kind of upstream. */
const IMPLEMENTATIONS = /^((?:ledger|state|enroll|keys)\/[^/]+|upstream\/(?!reading\/)[^/]+)\//
const implementationOf = (file: string): string | undefined => IMPLEMENTATIONS.exec(file)?.[1]

test('only the gate names an implementation, and none knows another', () => {
  const wrong = imports.filter(
    ({ from, to }) =>
      implementationOf(to) !== undefined &&
      implementationOf(from) !== implementationOf(to) &&
      partOf(from) !== 'gate',
  )
  expect(wrong.map(shown)).toEqual([])
})

test('the gate names the engine of the ledger in one place, and its tables in another', () => {
  const found = imports.filter(
    ({ from, to }) => to.startsWith('ledger/sqlite/') && !from.startsWith('ledger/'),
  )
  const places = [...new Set(found.map(({ from }) => from))]
  expect(places.toSorted()).toEqual(['gate/ledger.ts', 'gate/migrations.ts'])
})

test('no part before the implementations mentions a database', async () => {
  const ports = files.filter((file) => /^(?:ledger|state|upstream)\/[^/]+$/.test(file))
  expect(ports.length).toBeGreaterThan(10)
  for (const file of ports) {
    expect([file, (await Bun.file(root + file).text()).includes('bun:sqlite')]).toEqual([
      file,
      false,
    ])
  }
  const wrong = across.filter(({ to, from }) => partOf(to) === 'database' && ports.includes(from))
  expect(wrong.map(shown)).toEqual([])
})

test('commands see no database: they ask ports, which say nothing of one', async () => {
  const ports = across.filter(({ from, to }) => partOf(from) === 'operate' && partOf(to) !== 'gate')
  const commands = files.filter((file) => partOf(file) === 'operate')
  for (const file of new Set([...commands, ...ports.map(({ to }) => to)])) {
    if (!file.endsWith('.ts')) continue
    const text = await Bun.file(root + file).text()
    expect([file, text.includes('bun:sqlite')]).toEqual([file, false])
  }
})

test('the code that accepts requests imports no database', async () => {
  for (const file of files.filter((each) => partOf(each) === 'accept')) {
    expect([file, (await Bun.file(root + file).text()).includes('bun:sqlite')]).toEqual([
      file,
      false,
    ])
  }
  expect(
    across
      .filter(({ from, to }) => partOf(from) === 'accept' && partOf(to) === 'database')
      .map(shown),
  ).toEqual([])
})

test('the client and development mode are whole without the rest', () => {
  const wrong = across.filter(({ from }) => WHOLE_ALONE.has(partOf(from)))
  expect(wrong.map(shown)).toEqual([])
})

test('development mode is loaded by gate/sources.ts alone, and only when it is asked for', () => {
  const found = across.filter(({ to }) => partOf(to) === 'dev')
  expect(new Set(found.map(({ from }) => from))).toEqual(new Set(['gate/sources.ts']))
  expect(found.every(({ dynamic }) => dynamic)).toBe(true)
})

test('commands, documents and the sign-in are loaded on demand', () => {
  const found = imports.filter((each) => each.dynamic && partOf(each.to) !== 'dev').map(shown)
  expect(found.toSorted()).toEqual([
    'gate/callers.ts -> gate/on-demand.ts',
    'gate/serve.ts -> gate/on-demand.ts',
    'main.ts -> config/document/open.ts',
    'main.ts -> config/document/print.ts',
    'main.ts -> operate/check.ts',
    'main.ts -> operate/commands.ts',
    'operate/commands/schema.ts -> config/document/json-schema.ts',
    'operate/commands/subcommand.ts -> config/document/open.ts',
  ])
})

test('the code that reads documents is loaded only on demand', () => {
  const inside = ({ from }: Import): boolean => from.startsWith('config/document/')
  const found = imports.filter(
    (each) => each.to.startsWith('config/document/') && !each.dynamic && !inside(each),
  )
  expect(found.filter(({ typeOnly }) => !typeOnly).map(shown)).toEqual([])
})

test('operate is imported by main.ts alone', () => {
  const found = across.filter(({ to }) => partOf(to) === 'operate')
  expect(new Set(found.map(({ from }) => from))).toEqual(new Set(['main.ts']))
})

/** Types count as well: they say where a reader has to look. */
function cycles(edges: readonly Import[], nameOf: (file: string) => string): string[] {
  const graph = new Map<string, Set<string>>()
  for (const { from, to } of edges) {
    const [a, b] = [nameOf(from), nameOf(to)]
    if (a !== b) graph.set(a, (graph.get(a) ?? new Set<string>()).add(b))
  }
  const reaches = (start: string, goal: string): boolean => {
    const seen = new Set([start])
    for (const at of seen) for (const next of graph.get(at) ?? []) seen.add(next)
    return [...seen].some((at) => graph.get(at)?.has(goal) ?? false)
  }
  return [...graph.keys()].filter((name) => reaches(name, name)).toSorted()
}

test('no file imports itself by a detour, types included', () => {
  expect(cycles(imports, (file) => file)).toEqual([])
})

test('no two folders import from one another, types included', () => {
  expect(cycles(imports, partOf)).toEqual([])
})

test('a type that others import says its role, and so no two have one name', async () => {
  const places = new Map<string, string[]>()
  for (const file of files) {
    const text = await Bun.file(root + file).text()
    for (const [, name = ''] of text.matchAll(
      /^export (?:interface|type|class) (\w+)\b(?! from)/gm,
    )) {
      places.set(name, [...(places.get(name) ?? []), file])
    }
  }
  expect(places.size).toBeGreaterThan(200)
  const shared = [...places].filter(([, where]) => where.length > 1)
  expect(shared.map(([name, where]) => `${name}: ${where.join(', ')}`)).toEqual([])
})
