// Settings that change under a running gate: taken whole or not at all, and no stream notices.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { type Running, runToEnd, start, until } from '../support/binary.ts'
import { UNLIMITED } from '../support/settings.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { put, told as tellsOf } from './reload-scene.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-reload-'))
const path = join(folder, 'postern.yaml')
const key = join(folder, 'tinfoil')
const HASH = '18abc8a3882ad46e9db089d4950cfdbcc5328ae566102983d6d1c0f1b33fa9ee'
const ADMIN = ['5d0c1e9a7b3f2486', 'f1a39c07e5d8426b'].map((each) => `${each}${HASH.slice(0, 32)}`)

let issuer: DevIssuer
let other: DevIssuer
let upstream: Upstream
let gate: Running

function written(issuers: readonly DevIssuer[], more = ''): string {
  const entries = issuers.map(
    (each, at) =>
      `  - { name: i${at}, issuer: "${each.issuer}", jwks_url: "${each.jwksUrl}", audiences: [${each.audience}] }\n`,
  )
  return `issuers:
${entries.join('')}upstreams:
  - { kind: tinfoil, api_key_file: ${key}, base_url: "${upstream.url}", require_ehbp: false }
ledger: { identity_hash_key: ${HASH} }
admin: { token: ${ADMIN[0]} }
${more}`
}

beforeAll(async () => {
  issuer = await startIssuer()
  other = await startIssuer()
  upstream = await startUpstream()
  put(key, 'key-canary-1')
  put(path, written([issuer]))
  gate = await start({ ...UNLIMITED, POSTERN_CONFIG: path })
})
afterAll(async () => {
  await gate.stop()
  await upstream.close()
  await issuer.close()
  await other.close()
  rmSync(folder, { recursive: true })
})

async function ask(from: DevIssuer): Promise<Response> {
  return fetch(`${gate.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await from.token()}` },
    body: '{"model":"m","messages":[]}',
  })
}
const status = async (from: DevIssuer): Promise<number> => {
  const response = await ask(from)
  await response.bytes()
  return response.status
}
const told = (text: string, change: () => void): Promise<void> => tellsOf(gate, text, change)

test("a secret's file that changes is used by the next request, and a stream goes on", async () => {
  const { promise, resolve: finish } = Promise.withResolvers<void>()
  upstream.respond(async (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: first\n\n')
    await promise
    response.end('data: last\n\n')
  })
  const stream = await ask(issuer)
  expect(upstream.seen.at(-1)?.headers.authorization).toBe('Bearer key-canary-1')
  upstream.respond((_request, response) => void response.end('{}'))
  await told('settings reloaded', () => put(key, 'key-canary-2'))
  expect(await status(issuer)).toBe(200)
  expect(upstream.seen.at(-1)?.headers.authorization).toBe('Bearer key-canary-2')
  finish()
  expect(await stream.text()).toBe('data: first\n\ndata: last\n\n')
})

test('issuers come and go', async () => {
  expect([await status(issuer), await status(other)]).toEqual([200, 401])
  await told('settings reloaded', () => put(path, written([issuer, other])))
  expect([await status(issuer), await status(other)]).toEqual([200, 200])
  await told('settings reloaded', () => put(path, written([other])))
  expect([await status(issuer), await status(other)]).toEqual([401, 200])
  await told('settings reloaded', () => put(path, written([issuer])))
  expect([await status(issuer), await status(other)]).toEqual([200, 401])
})

test("the operator's token is exchanged", async () => {
  const asOperator = async (token: string | undefined): Promise<number> => {
    const headers = { authorization: `Bearer ${token}` }
    const response = await fetch(`${gate.url}/admin/stats`, { headers })
    await response.bytes()
    return response.status
  }
  expect([await asOperator(ADMIN[0]), await asOperator(ADMIN[1])]).toEqual([200, 401])
  const next = written([issuer]).replace(ADMIN[0] ?? '', ADMIN[1] ?? '')
  await told('settings reloaded', () => put(path, next))
  expect([await asOperator(ADMIN[0]), await asOperator(ADMIN[1])]).toEqual([401, 200])
  await told('settings reloaded', () => put(path, written([issuer])))
})

test('new policies and rules apply to the next request of a known token', async () => {
  const rules = (routes: string): string =>
    `policies: [{ name: narrow, routes: [${routes}] }]\nrules: [{ kind: user, policy: narrow }]\n`
  expect(await status(issuer)).toBe(200)
  await told('settings reloaded', () => put(path, written([issuer], rules('models'))))
  expect(await status(issuer)).toBe(403)
  await told('settings reloaded', () => put(path, written([issuer], rules('chat'))))
  expect(await status(issuer)).toBe(200)
  await told('settings reloaded', () => put(path, written([issuer])))
})

test('a wrong document changes nothing, and each mistake is logged', async () => {
  await told('those of before go on', () => put(path, written([issuer, other], 'lissen: {}\n')))
  expect(gate.lines().some(({ msg }) => String(msg).includes('lissen is not known'))).toBe(true)
  expect([await status(issuer), await status(other)]).toEqual([200, 401])
  await told('settings reloaded', () => put(path, written([issuer])))
})

test('a change that needs a restart is logged, and holds back the changes with it', async () => {
  const more = 'devices: { base_url: "https://gate.example" }\n'
  await told('need a restart', () => put(path, written([issuer, other], more)))
  const line = gate.lines().find(({ msg }) => String(msg).includes('need a restart'))
  expect(line).toMatchObject({
    changed: 'PROXY_BASE_URL',
    withheld: expect.stringContaining('issuers'),
  })
  expect([await status(issuer), await status(other)]).toEqual([200, 401])
  // Nor is a secret that is rotated meanwhile held back in silence.
  await told('need a restart', () => put(key, 'key-canary-3'))
  const last = gate.lines().findLast(({ msg }) => String(msg).includes('need a restart'))
  expect(last?.['withheld']).toContain('TINFOIL_API_KEY')
  await told('settings reloaded', () => put(path, written([issuer])))
})

test('SIGHUP reads again at once', async () => {
  await told('settings reloaded', () => gate.process.kill('SIGHUP'))
})

test('a hundred reloads under streams touch none of them', async () => {
  const finish = Promise.withResolvers<void>()
  upstream.respond(async (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: first\n\n')
    await finish.promise
    response.end('data: last\n\n')
  })
  const streams = await Promise.all(Array.from({ length: 20 }, () => ask(issuer)))
  for (let at = 0; at < 100; at += 1) {
    await told('settings reloaded', () => {
      put(key, `key-canary-${at}`)
      gate.process.kill('SIGHUP')
    })
  }
  finish.resolve()
  const texts = await Promise.all(streams.map((each) => each.text()))
  expect(new Set(texts)).toEqual(new Set(['data: first\n\ndata: last\n\n']))
  upstream.respond((_request, response) => void response.end('{}'))
  expect(await status(issuer)).toBe(200)
  expect(upstream.seen.at(-1)?.headers.authorization).toBe('Bearer key-canary-99')
})

test('a device and an API key that are known have the policy of now', async () => {
  const own = join(folder, 'devices.yaml')
  const database = `sqlite:${join(folder, 'devices.db')}`
  const text = (rules = ''): string => `upstreams:
  - { kind: anthropic, api_key: key-canary-3, base_url: "${upstream.url}" }
devices: { signing_secrets: [${ADMIN[1]}], bootstrap: code, base_url: "http://127.0.0.1:1" }
ledger: { identity_hash_key: ${HASH}, database_url: "${database}" }
${rules}`
  const env = { ...UNLIMITED, POSTERN_CONFIG: own, DATABASE_URL: '' }
  put(own, text())
  const second = await start(env)
  try {
    const printed = async (...words: string[]): Promise<string> => {
      const ended = await runToEnd(words, env)
      expect([words, ended.exitCode]).toEqual([words, 0])
      return ended.stdout.trim()
    }
    const apiKey = await printed('key', 'add', 'ci')
    const enrolled = await fetch(`${second.url}/bootstrap`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${await printed('enrol')}`,
        'content-type': 'application/json',
      },
      body: '{"device_id":"laptop"}',
    })
    const { wrapper_token: device } = (await enrolled.json()) as { wrapper_token: string }
    const statusOf = async (token: string): Promise<number> => {
      const response = await fetch(`${second.url}/v1/messages`, {
        method: 'POST',
        headers: { 'x-api-key': token, 'anthropic-version': '2023-06-01' },
        body: '{"model":"claude-sonnet-4-5","max_tokens":1,"messages":[]}',
      })
      await response.bytes()
      return response.status
    }
    const both = async (): Promise<number[]> => [await statusOf(device), await statusOf(apiKey)]
    await until(() => second.lines().length > 0)
    let known = await both()
    // A running gate knows a new key within a second.
    while (known[1] === 401) known = await both()
    expect(known).toEqual([200, 200])
    const exchanged = async (rules: string): Promise<void> => {
      const count = (): number =>
        second.lines().filter(({ msg }) => msg === 'settings reloaded').length
      const before = count()
      put(own, text(rules))
      await until(() => count() > before)
    }
    const narrow = 'policies: [{ name: narrow, routes: [models] }]\n'
    await exchanged(`${narrow}rules: [{ kind: key, policy: narrow }]\n`)
    expect(await both()).toEqual([200, 403])
    await exchanged(`${narrow}rules: [{ kind: device, policy: narrow }]\n`)
    expect(await both()).toEqual([403, 200])
    await exchanged('')
    expect(await both()).toEqual([200, 200])
    expect(second.output()).not.toContain('canary')
  } finally {
    await second.stop()
  }
})

test('no secret of any of them is in the log', () => {
  for (const secret of ['canary', HASH, ...ADMIN]) expect(gate.output()).not.toContain(secret)
})
