// Two upstreams of one kind in a document, told apart by their models, over the compiled binary: which
// of them is asked, with whose key, and under which name it is known afterwards.

import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CommandEnd, type Running, runToEnd, start } from '../support/binary.ts'
import { HASH_KEY, UNLIMITED } from '../support/settings.ts'
import { bearer, eventually } from '../support/sink.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-upstreams-'))
const config = join(folder, 'postern.yaml')
const keyFile = join(folder, 'rest-key')
const ADMIN = `5d0c1e9a7b3f2486${HASH_KEY.slice(0, 32)}`
const env = {
  POSTERN_CONFIG: config,
  DATABASE_URL: `sqlite:${join(folder, 'postern.db')}`,
  HAIKU_KEY: 'haiku-key-canary',
  ...UNLIMITED,
}

let haiku: Upstream
let rest: Upstream
let gate: Running
let keys: Readonly<Record<'all' | 'cheap' | 'dear', string>>

function put(file: string, text: string): void {
  writeFileSync(`${file}.new`, text, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

const document = (): string => `
upstreams:
  - { kind: anthropic, name: haiku, api_key: "\${HAIKU_KEY}", base_url: "${haiku.url}", models: [claude-haiku-*] }
  - { kind: anthropic, name: rest, api_key_file: ${keyFile}, base_url: "${rest.url}", models: [claude-opus-*, claude-sonnet-*] }
policies:
  - { name: cheap, upstreams: [haiku] }
  - { name: dear, models: [claude-*] }
devices: { signing_secrets: [jb14c1c0cb6f6712bb79b1472159b7b51] }
ledger: { identity_hash_key: ${HASH_KEY} }
admin: { token: ${ADMIN} }
limits: { circuit: { failures: 1 } }
`

const command = (...args: string[]): Promise<CommandEnd> => runToEnd(args, env, folder)
async function addKey(name: string, ...flags: string[]): Promise<string> {
  const { stdout, stderr, exitCode } = await command('key', 'add', name, ...flags)
  if (exitCode !== 0) throw new Error(stderr)
  return stdout.trim()
}

beforeAll(async () => {
  haiku = await startUpstream()
  rest = await startUpstream()
  put(keyFile, 'rest-key-canary')
  put(config, document())
  gate = await start(env)
  keys = {
    all: await addKey('all'),
    cheap: await addKey('cheap', '--policy', 'cheap'),
    dear: await addKey('dear', '--policy', 'dear'),
  }
  for (const key of Object.values(keys)) {
    await eventually(async () => (await ask(key, 'claude-haiku-4')).status === 200)
  }
})
afterAll(async () => {
  await gate.stop()
  await haiku.close()
  await rest.close()
  rmSync(folder, { recursive: true })
})
beforeEach(() => {
  haiku.seen.length = 0
  rest.seen.length = 0
})

async function ask(key: string, model: string, more: object = {}): Promise<Response> {
  const response = await fetch(`${gate.url}/v1/messages`, {
    method: 'POST',
    headers: { ...bearer(key), 'content-type': 'application/json' },
    body: JSON.stringify({ model, max_tokens: 1, messages: [], ...more }),
  })
  return new Response(await response.text(), response)
}
const reached = () => ({ haiku: haiku.seen.length, rest: rest.seen.length })
const keyOf = ({ seen }: Upstream) => seen.at(-1)?.headers['x-api-key']

test('the model decides the upstream, whose own key is sent', async () => {
  expect((await ask(keys.all, 'claude-haiku-4')).status).toBe(200)
  expect([reached(), keyOf(haiku)]).toEqual([{ haiku: 1, rest: 0 }, 'haiku-key-canary'])
  expect((await ask(keys.all, 'claude-opus-4')).status).toBe(200)
  expect([reached(), keyOf(rest)]).toEqual([{ haiku: 1, rest: 1 }, 'rest-key-canary'])
})

test.each([
  ['a model that none serves', 'claude-2', {}],
  ['a fallback that another serves', 'claude-haiku-4', { fallback_model: 'claude-opus-4' }],
  ['a name that is given twice', 'claude-haiku-4', { Model: 'claude-opus-4' }],
])('%s reaches neither', async (_, model, more) => {
  const { status } = await ask(keys.all, model, more)
  expect([status, reached()]).toEqual([expect.any(Number), { haiku: 0, rest: 0 }])
  expect(status).toBeOneOf([400, 404])
})

test("a policy that names one upstream keeps its callers from the other's models", async () => {
  expect((await ask(keys.cheap, 'claude-haiku-4')).status).toBe(200)
  expect((await ask(keys.cheap, 'claude-opus-4')).status).toBe(404)
  expect(reached()).toEqual({ haiku: 1, rest: 0 })
})

test('one model is requested from the upstream that serves it, and unserved models are not listed', async () => {
  const models = ['claude-haiku-4', 'claude-opus-4', 'gone-1'].map((id) => ({ id, type: 'model' }))
  const list = { data: models, has_more: false, first_id: 'claude-haiku-4', last_id: 'gone-1' }
  const get = async (key: string, path: string): Promise<Response> =>
    fetch(gate.url + path, { headers: { ...bearer(key), 'anthropic-version': '2023-06-01' } })
  expect((await get(keys.all, '/v1/models/claude-opus-4')).status).toBe(200)
  expect(reached()).toEqual({ haiku: 0, rest: 1 })
  expect((await get(keys.all, '/v1/models/gone-1')).status).toBe(404)
  expect((await get(keys.cheap, '/v1/models/claude-opus-4')).status).toBe(404)
  expect(reached()).toEqual({ haiku: 0, rest: 1 })
  for (const upstream of [haiku, rest]) {
    upstream.respond((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(list))
    })
  }
  const ids = async (key: string): Promise<string[]> => {
    const { data } = (await (await get(key, '/v1/models')).json()) as { data: { id: string }[] }
    return data.map(({ id }) => id)
  }
  expect(await ids(keys.all)).toEqual(['claude-haiku-4', 'claude-opus-4'])
  expect(await ids(keys.dear)).toEqual(['claude-haiku-4', 'claude-opus-4'])
  expect(await ids(keys.cheap)).toEqual(['claude-haiku-4'])
})

test('the log, the ledger and the health of both go by their names', async () => {
  await ask(keys.all, 'claude-haiku-4')
  await ask(keys.all, 'claude-sonnet-4')
  const logged = () => gate.lines().flatMap(({ upstream }) => upstream ?? [])
  await eventually(async () => Bun.deepEquals(logged().slice(-2), ['haiku', 'rest']))
  const admin = async (path: string) =>
    (await fetch(gate.url + path, { headers: bearer(ADMIN) })).json()
  await eventually(async () => {
    const { metrics } = (await admin('/admin/usage?limit=2')) as { metrics: { upstream: string }[] }
    return Bun.deepEquals(
      metrics.map(({ upstream }) => upstream),
      ['rest', 'haiku'],
    )
  })
  expect(await (await fetch(`${gate.url}/health`)).json()).toMatchObject({ backend: 'haiku+rest' })
  const { stdout, exitCode } = await command('check')
  expect(stdout).toContain('ok  haiku /v1/models: status 200')
  expect(stdout).toContain('ok  rest /v1/models: status 200')
  expect(exitCode).toBe(0)
})

test('the key of one upstream is exchanged, and a refused one is logged by name', async () => {
  put(keyFile, 'rest-key-canary-2')
  await eventually(async () => {
    await ask(keys.all, 'claude-opus-4')
    return keyOf(rest) === 'rest-key-canary-2'
  })
  rest.respond((_request, response) => void response.writeHead(401).end('{}'))
  expect((await ask(keys.all, 'claude-opus-4')).status).toBe(502)
  const told = () =>
    gate.lines().some(({ msg }) => String(msg).includes('the api_key of upstream rest'))
  await eventually(async () => told())
  rest.respond((_request, response) => void response.end('{}'))
})

test('the models of both are exchanged', async () => {
  const moved = document()
    .replace('models: [claude-haiku-*]', 'models: [claude-opus-*]')
    .replace('models: [claude-opus-*, claude-sonnet-*]', 'models: [claude-haiku-*]')
  put(config, moved)
  await eventually(async () => {
    haiku.seen.length = 0
    rest.seen.length = 0
    await ask(keys.all, 'claude-opus-4')
    return reached().haiku === 1
  })
  expect((await ask(keys.all, 'claude-haiku-4')).status).toBe(200)
  expect((await ask(keys.all, 'claude-sonnet-4')).status).toBe(404)
  expect(reached()).toEqual({ haiku: 1, rest: 1 })
  put(config, document())
  await eventually(async () => (await ask(keys.all, 'claude-sonnet-4')).status === 200)
})

test('the circuit of one opens without the other', async () => {
  await rest.close()
  await eventually(async () => (await ask(keys.all, 'claude-opus-4')).status === 503)
  expect((await ask(keys.all, 'claude-haiku-4')).status).toBe(200)
  const circuits = await fetch(`${gate.url}/admin/circuit-breaker`, { headers: bearer(ADMIN) })
  expect(Object.keys((await circuits.json()) as object)).toEqual(
    expect.arrayContaining(['haiku', 'rest']),
  )
})
