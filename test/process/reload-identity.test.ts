// IDENTITY_HASH_KEY is rotated under a running gate: nobody becomes a stranger by it. What was spent is
// spent, what is revoked is revoked, and a device is found by the id that it gives itself.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { type CommandEnd, type Running, runToEnd, start } from '../support/binary.ts'
import { UNLIMITED } from '../support/settings.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { changedBy, eventually, put, told } from './reload-scene.ts'

const KEYS = [
  '18abc8a3882ad46e9db089d4950cfdbcc5328ae566102983d6d1c0f1b33fa9ee',
  'c07d5e21f4b8936a40e1d7c25f9b8e630a47d19ce2586b3f07d4a1958cb36e2f',
  '5e9130c7a8f24b6d1e07c95a3bd846f27a60e4d8193bc52f8de7016a4c9b35f8',
] as const
const [A, B, C] = KEYS

const folder = mkdtempSync(join(tmpdir(), 'postern-identity-'))
const path = join(folder, 'postern.yaml')
const database = `sqlite:${join(folder, 'postern.db')}`
const env = { ...UNLIMITED, POSTERN_CONFIG: path, DATABASE_URL: '' }

let issuer: DevIssuer
let upstream: Upstream
let gate: Running

function written(key: string, old: readonly string[]): string {
  return `issuers:
  - { issuer: "${issuer.issuer}", jwks_url: "${issuer.jwksUrl}", audiences: [${issuer.audience}] }
upstreams:
  - { kind: anthropic, api_key: upstream-key, base_url: "${upstream.url}", callers: [user, device] }
devices:
  signing_secrets: [b36d5e0f7a914c8280fd24ce4f8a1cbe]
  bootstrap: jwt
  base_url: "http://127.0.0.1:1"
  usd_per_month: 0.02
policies: [{ name: capped, usd_per_month: 0.02 }]
rules: [{ kind: user, policy: capped }]
ledger:
  database_url: "${database}"
  identity_hash_key: ${key}
${old.length === 0 ? '' : `  identity_hash_keys_old: [${old.join(', ')}]`}
`
}

beforeAll(async () => {
  issuer = await startIssuer()
  upstream = await startUpstream()
  upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    const usage = { input_tokens: 1000, output_tokens: 500 }
    response.end(JSON.stringify({ type: 'message', model: 'claude-sonnet-4-5', usage }))
  })
  put(path, written(A, []))
  gate = await start(env)
})
afterAll(async () => {
  await gate.stop()
  await upstream.close()
  await issuer.close()
  rmSync(folder, { recursive: true })
})

/** Costs a little more than half of each cap. */
async function ask(token: string): Promise<number | string> {
  const response = await asked(token)
  const said = await response.text()
  return response.status === 429 && said.includes('is left of') ? CAPPED : response.status
}

const CAPPED = 'capped'

/** As the log calls who sends this. */
async function identityOf(token: string): Promise<unknown> {
  const response = await asked(token)
  await response.bytes()
  return (await gate.logged(response.headers.get('x-request-id') ?? ''))['identity']
}

function asked(token: string): Promise<Response> {
  return fetch(`${gate.url}/v1/messages`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: '{"model":"claude-sonnet-4-5","max_tokens":500,"messages":[]}',
  })
}

async function enrol(token: string, id: string): Promise<string> {
  const answer = await fetch(`${gate.url}/bootstrap`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({ device_id: id }),
  })
  return ((await answer.json()) as { wrapper_token: string }).wrapper_token
}

const hashOf = (device: string): unknown =>
  JSON.parse(Buffer.from(device.split('.')[1] ?? '', 'base64url').toString()).sub

const command = (...words: string[]): Promise<CommandEnd> =>
  runToEnd(words, { POSTERN_CONFIG: path, DATABASE_URL: '' })

test('a month is not forgotten, of a person or a device, over reloads and a restart', async () => {
  const user = await issuer.token({ sub: 'ada' })
  const device = await enrol(user, 'ada-laptop')
  expect([await ask(user), await ask(user)]).toEqual([200, CAPPED])
  const before = await identityOf(user)
  expect([await ask(device), await ask(device)]).toEqual([200, CAPPED])

  await told(gate, 'settings reloaded', () => put(path, written(B, [A])))
  expect(changedBy(gate)).toBe('IDENTITY_HASH_KEY, IDENTITY_HASH_KEY_OLD')
  expect(await ask(user)).toBe(CAPPED)
  expect(await identityOf(user)).not.toBe(before)
  // The same device, enrolled anew by the same person, is no other.
  const again = await enrol(user, 'ada-laptop')
  expect(hashOf(again)).toBe(hashOf(device))
  expect([await ask(device), await ask(again)]).toEqual([CAPPED, CAPPED])

  await told(gate, 'settings reloaded', () => put(path, written(C, [B, A])))
  expect([await ask(user), await ask(again)]).toEqual([CAPPED, CAPPED])
  await gate.stop('SIGTERM')
  gate = await start(env)
  expect([await ask(user), await ask(again)]).toEqual([CAPPED, CAPPED])
  expect(await ask(await issuer.token({ sub: 'bea' }))).toBe(200)
})

test('a key that would forget everybody needs a restart', async () => {
  await told(gate, 'need a restart', () => put(path, written(A, [B])))
  const line = gate.lines().findLast(({ msg }) => String(msg).includes('need a restart'))
  expect(line).toMatchObject({
    changed: 'IDENTITY_HASH_KEY',
    hint: 'put the key of before into IDENTITY_HASH_KEY_OLD',
  })
  expect(await ask(await issuer.token({ sub: 'ada' }))).toBe(CAPPED)
  await told(gate, 'settings reloaded', () => put(path, written(C, [B, A])))
})

test('a revoked device stays so, and is found by its own id under the key of before', async () => {
  const user = await issuer.token({ sub: 'cleo' })
  const [first, second] = [await enrol(user, 'cleo-1'), await enrol(user, 'cleo-2')]
  expect([await ask(first), await ask(second)]).toEqual([200, 200])
  expect((await command('revoke', 'cleo-1')).exitCode).toBe(0)
  await eventually(async () => (await ask(first)) === 401)
  await told(gate, 'settings reloaded', () => put(path, written(A, [C, B])))
  expect([await ask(first), await ask(second)]).toEqual([401, CAPPED])
  const found = await command('revoke', 'cleo-2')
  expect([found.exitCode, found.stdout]).toEqual([0, expect.stringContaining('fam_')])
  await eventually(async () => (await ask(second)) === 401)
})

test("all of a user's devices go by the newer hash, and one order ends them", async () => {
  const user = await issuer.token({ sub: 'dora' })
  const first = await enrol(user, 'dora-1')
  expect(await ask(first)).toBe(200)
  await told(gate, 'settings reloaded', () => put(path, written(B, [A, C])))
  const second = await enrol(user, 'dora-2')
  expect([await ask(second), await ask(user)]).toEqual([200, 200])
  const ended = await command('revoke', `user:${await identityOf(user)}`)
  expect([ended.exitCode, ended.stdout.match(/fam_/g)?.length]).toEqual([0, 2])
  await eventually(async () => (await ask(first)) === 401 && (await ask(second)) === 401)
  // Nor does the next key bring them back.
  await told(gate, 'settings reloaded', () => put(path, written(C, [B, A])))
  expect([await ask(first), await ask(second)]).toEqual([401, 401])
})

test("a user's next request is enough for that", async () => {
  const user = await issuer.token({ sub: 'eve' })
  const device = await enrol(user, 'eve-1')
  expect(await ask(device)).toBe(200)
  await told(gate, 'settings reloaded', () => put(path, written(A, [C, B])))
  const name = `user:${await identityOf(user)}`
  await eventually(async () => (await command('revoke', name)).stdout.includes('fam_'))
  await eventually(async () => (await ask(device)) === 401)
})

test('reports show one name, which the former one finds, and a credit counts for both', async () => {
  const user = await issuer.token({ sub: 'finn' })
  expect(await ask(user)).toBe(200)
  const before = await identityOf(user)
  await told(gate, 'settings reloaded', () => put(path, written(B, [A, C])))
  expect(await ask(user)).toBe(CAPPED)
  const now = await identityOf(user)
  const used = async (): Promise<unknown[]> => {
    const { stdout } = await command('usage', '--by', 'user', '--json')
    const { rows } = JSON.parse(stdout) as { rows: { key: unknown }[] }
    return rows.filter(({ key }) => key === before || key === now).map(({ key }) => key)
  }
  await eventually(async () => Bun.deepEquals(await used(), [now]))
  const [one, ...more] = JSON.parse((await command('spend', String(before), '--json')).stdout)
    .spending as { name: string; spentMicroUsd: number }[]
  expect([one?.name, more]).toEqual([String(now), []])
  expect(one?.spentMicroUsd).toBeGreaterThan(10_000)
  const credit = ['--credit', '0.01', '--reason', 'a test']
  expect((await command('spend', String(now), ...credit)).exitCode).toBe(0)
  await eventually(async () => (await ask(user)) === 200)
})

test('no key of any of them is in the log', () => {
  for (const key of KEYS) expect(gate.output()).not.toContain(key)
})
