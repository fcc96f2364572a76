// Upstreams that a reload adds, moves, changes and removes: the next request goes by them, one that is
// under way ends as it began, and no key goes to an address that is not its own.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { type Running, start } from '../support/binary.ts'
import { HASH_KEY } from '../support/settings.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { changedBy, put, said, told } from './reload-scene.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-upstreams-'))
const path = join(folder, 'postern.yaml')
const ADMIN = '5d0c1e9a7b3f2486-canary-f1a39c07e5d8426b'

let issuer: DevIssuer
let here: Upstream
let there: Upstream
let gate: Running
let token: string

const written = (upstreams: readonly string[]): string => `issuers:
  - { issuer: "${issuer.issuer}", jwks_url: "${issuer.jwksUrl}", audiences: [${issuer.audience}] }
upstreams:
${upstreams.map((each) => `  - { ${each} }\n`).join('')}
ledger: { identity_hash_key: ${HASH_KEY} }
admin: { token: ${ADMIN} }
limits: { requests_per_minute: 0 }
`
const openai = (name: string, at: Upstream, more = ''): string =>
  `kind: openai, name: ${name}, base_url: "${at.url}/v1", api_key: key-of-${name}, callers: [user]${more}`

beforeAll(async () => {
  issuer = await startIssuer()
  here = await startUpstream()
  there = await startUpstream()
  put(path, written([openai('one', here)]))
  gate = await start({ POSTERN_CONFIG: path })
  token = await issuer.token()
})
afterAll(async () => {
  await gate.stop()
  await here.close()
  await there.close()
  await issuer.close()
  rmSync(folder, { recursive: true })
})

const reloaded = (...upstreams: string[]): Promise<void> =>
  told(gate, 'settings reloaded', () => put(path, written(upstreams)))

const ask = (model = 'm', path = '/v1/chat/completions'): Promise<Response> =>
  fetch(`${gate.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: [] }),
  })

/** Which of the two was asked, and with which key. */
async function reached(model?: string, path?: string): Promise<string> {
  const before = [here.seen.length, there.seen.length]
  const response = await ask(model, path)
  await response.bytes()
  if (!response.ok) return String(response.status)
  const at = here.seen.length > (before[0] ?? 0) ? here : there
  const key = at.seen.at(-1)?.headers['authorization']
  return `${at === here ? 'here' : 'there'} ${key}`
}

test('one is added, and both are known by their names', async () => {
  expect(await reached()).toBe('here Bearer key-of-one')
  await reloaded(openai('one', here, ', models: [m]'), openai('two', there, ', models: [n*]'))
  expect(changedBy(gate)).toBe('upstreams, upstreams.one')
  expect(await reached('m')).toBe('here Bearer key-of-one')
  expect(await reached('n1')).toBe('there Bearer key-of-two')
  const circuits = await fetch(`${gate.url}/admin/circuit-breaker`, {
    headers: { authorization: `Bearer ${ADMIN}` },
  })
  expect(Object.keys((await circuits.json()) as object)).toEqual(['one', 'two'])
  expect(await (await fetch(`${gate.url}/health`)).json()).toMatchObject({ backend: 'one+two' })
})

test('they change places, and their order decides', async () => {
  await reloaded(openai('one', here), openai('two', there))
  expect(await reached()).toBe('here Bearer key-of-one')
  await reloaded(openai('two', there), openai('one', here))
  expect(await reached()).toBe('there Bearer key-of-two')
})

test('a running stream keeps its upstream, and the connection serves new requests by the new settings', async () => {
  const finish = Promise.withResolvers<void>()
  there.respond(async (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: first\n\n')
    await finish.promise
    response.end('data: last\n\n')
  })
  const running = await ask()
  await reloaded(openai('one', here))
  expect(await reached()).toBe('here Bearer key-of-one')
  finish.resolve()
  expect(await running.text()).toBe('data: first\n\ndata: last\n\n')
})

test('another address and another key go together', async () => {
  await reloaded(openai('one', there).replace('key-of-one', 'key-of-there'))
  expect(await reached()).toBe('there Bearer key-of-there')
  for (const { headers } of here.seen) {
    expect(headers['authorization']).not.toContain('key-of-there')
  }
})

test('a group of routes is served from now on, or no longer', async () => {
  expect(await reached('m', '/v1/moderations')).toContain('there')
  await reloaded(openai('one', here, ', routes: [chat]'))
  expect(await reached('m', '/v1/moderations')).toBe('404')
  await reloaded(openai('one', here, ', routes: [chat, moderations]'))
  expect(await reached('m', '/v1/moderations')).toBe('here Bearer key-of-one')
})

test('one for devices needs a restart, and says so', async () => {
  const before = said(gate, 'need a restart')
  const devices = openai('three', there).replace('[user]', '[device]')
  const more = 'devices: { signing_secrets: [jb14c1c0cb6f6712bb79b1472159b7b51] }\n'
  await told(gate, 'need a restart', () =>
    put(path, written([openai('one', here), devices]) + more),
  )
  expect(said(gate, 'need a restart')).toBe(before + 1)
  expect(await reached()).toBe('here Bearer key-of-one')
})
