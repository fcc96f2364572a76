// The export as it is shipped, under plain Node 20.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildClient } from '../../tools/build-client.ts'
import { type FakeGate, startFakeGate } from './fake-gate.ts'

const node = Bun.which('node')
const place = mkdtempSync(join(tmpdir(), 'postern-node-'))
let gate: FakeGate

beforeAll(async () => {
  gate = await startFakeGate()
  await buildClient(place)
})
afterAll(async () => {
  await gate.close()
  rmSync(place, { recursive: true, force: true })
})

const SCRIPT = `
import { connect, fileStorage } from './client.js'
const seen = []
const client = await connect({
  baseUrl: process.argv[2],
  storage: fileStorage(process.argv[3]),
  onStatus: ({ state }) => seen.push(state),
})
const first = await client.environment()
const next = await client.refreshNow()
const same = await client.token()
console.log(JSON.stringify({ first, next, same, seen, deviceId: await client.deviceId() }))
// No stop(), no exit(): nothing of ours may hold the process.
`

test.skipIf(!node)('enrols, refreshes and lets the process end', async () => {
  writeFileSync(join(place, 'app.mjs'), SCRIPT)
  const child = Bun.spawn([node ?? '', 'app.mjs', gate.url, join(place, 'kept')], {
    cwd: place,
    stdout: 'pipe',
    stderr: 'inherit',
  })
  let all = ''
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    all += text
  }
  expect(await child.exited).toBe(0)
  const said = JSON.parse(all)
  expect(said.seen).toEqual(['ready', 'ready'])
  expect(said.first.value.ANTHROPIC_BASE_URL).toBe(gate.url)
  expect(said.next).toEqual(said.same)
  expect({ families: gate.families, reuses: gate.reuses }).toEqual({ families: 1, reuses: 0 })
})

test('the built file imports only node: modules', () => {
  const built = readFileSync(join(place, 'client.js'), 'utf8')
  const imports = [...built.matchAll(/^import .* from ['"](.+)['"]/gm)].map(([, from]) => from)
  expect(imports.length).toBeGreaterThan(0)
  expect(imports.filter((from) => from?.startsWith('node:') !== true)).toEqual([])
  expect(built).not.toMatch(/\bBun\./)
})

test('its types stand on their own', async () => {
  writeFileSync(
    join(place, 'use.ts'),
    `import { connect, fileStorage, type Client, type Status } from './client.js'
const client: Client = await connect({ baseUrl: 'x', storage: fileStorage() })
const status: Status = client.status
if (status.state === 'degraded') console.log(status.expiresAt, status.problem.code)
// @ts-expect-error a client has no such thing
client.nothing()
`,
  )
  const tsconfig = {
    compilerOptions: {
      strict: true,
      module: 'nodenext',
      target: 'es2022',
      lib: ['ES2022', 'DOM'],
      types: [],
      noEmit: true,
    },
    include: ['use.ts'],
  }
  writeFileSync(join(place, 'package.json'), '{"type":"module"}')
  writeFileSync(join(place, 'tsconfig.json'), JSON.stringify(tsconfig))
  const run = Bun.spawnSync([process.execPath, 'check', '--no-script', '-p', place], { cwd: place })
  expect(run.stdout.toString() + run.stderr.toString()).toContain('No type errors')
})
