// Settings of every part, changed under a running gate: the next request goes by them.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { type Running, start } from '../support/binary.ts'
import { HASH_KEY } from '../support/settings.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { changedBy, eventually, put, said, told } from './reload-scene.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-settings-'))
const path = join(folder, 'postern.yaml')
const ADMIN = '5d0c1e9a7b3f2486-canary-f1a39c07e5d8426b'

let issuer: DevIssuer
let upstream: Upstream
let gate: Running

const written = (more: string): string => `issuers:
  - { issuer: "${issuer.issuer}", jwks_url: "${issuer.jwksUrl}", audiences: [${issuer.audience}] }
upstreams:
  - { kind: tinfoil, api_key: canary-key, base_url: "${upstream.url}", require_ehbp: false }
ledger: { identity_hash_key: ${HASH_KEY} }
${more.includes('limits:') ? '' : 'limits: { requests_per_minute: 0 }\n'}${more}`

beforeAll(async () => {
  issuer = await startIssuer()
  upstream = await startUpstream()
  put(path, written(''))
  gate = await start({ POSTERN_CONFIG: path })
})
afterAll(async () => {
  await gate.stop()
  await upstream.close()
  await issuer.close()
  rmSync(folder, { recursive: true })
})

const reloaded = (more: string): Promise<void> =>
  told(gate, 'settings reloaded', () => put(path, written(more)))

interface Asked {
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
}

async function ask({ body = '{}', headers = {} }: Asked = {}): Promise<Response> {
  return fetch(`${gate.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await issuer.token()}`, ...headers },
    body,
  })
}

async function status(asked?: Asked): Promise<number> {
  const response = await ask(asked)
  await response.bytes()
  return response.status
}

test('limits of rate, of size and of places', async () => {
  await reloaded('limits: { requests_per_minute: 1, burst: 2 }\n')
  expect(changedBy(gate)).toBe('RATE_LIMIT_RPM, RATE_LIMIT_BURST')
  expect([await status(), await status(), await status()]).toEqual([200, 200, 429])
  await reloaded('limits: { requests_per_minute: 0, max_body_bytes: 100 }\n')
  const large = { body: JSON.stringify({ model: 'm'.repeat(100) }) }
  expect([await status(), await status(large)]).toEqual([200, 413])
  await reloaded('limits: { requests_per_minute: 0, upstream_concurrency: 1 }\n')
  const finish = Promise.withResolvers<void>()
  upstream.respond(async (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: first\n\n')
    await finish.promise
    response.end()
  })
  const running = await ask(large)
  expect([running.status, await status()]).toEqual([200, 429])
  await reloaded('limits: { requests_per_minute: 0, upstream_concurrency: 2 }\n')
  upstream.respond((_request, response) => void response.end('{}'))
  expect(await status()).toBe(200)
  finish.resolve()
  expect(await running.text()).toBe('data: first\n\n')
})

test('new timeouts apply to requests that wait from then on', async () => {
  await reloaded('limits: { requests_per_minute: 0, headers_seconds: 1 }\n')
  const finish = Promise.withResolvers<void>()
  upstream.respond(async (_request, response) => {
    await finish.promise
    response.end('{}')
  })
  expect(await status()).toBe(504)
  finish.resolve()
  upstream.respond((_request, response) => void response.end('{}'))
  await reloaded('limits: { requests_per_minute: 0 }\n')
  expect(await status()).toBe(200)
})

test('pages that may ask', async () => {
  const allowed = async (): Promise<string | null> => {
    const response = await ask({ headers: { origin: 'https://app.example' } })
    await response.bytes()
    return response.headers.get('access-control-allow-origin')
  }
  expect(await allowed()).toBeNull()
  await reloaded('listen: { cors_origins: ["https://app.example"] }\n')
  expect(await allowed()).toBe('https://app.example')
  await reloaded('listen: { cors_origins: ["https://other.example"] }\n')
  expect(await allowed()).toBeNull()
})

test("the operator's token comes and goes", async () => {
  const stats = async (): Promise<number> => {
    const headers = { authorization: `Bearer ${ADMIN}` }
    const response = await fetch(`${gate.url}/admin/stats`, { headers })
    await response.bytes()
    return response.status
  }
  const before = await stats()
  expect(before).not.toBe(200)
  await reloaded(`admin: { token: ${ADMIN} }\n`)
  expect(await stats()).toBe(200)
  await reloaded('')
  expect(await stats()).toBe(before)
})

test('the level of the log', async () => {
  /** Whether a request that went well has a line: a refused one, which has it at each level, follows. */
  const isTold = async (): Promise<boolean> => {
    const well = await ask()
    await well.bytes()
    const refused = await fetch(`${gate.url}/v1/models`)
    await gate.logged(refused.headers.get('x-request-id') ?? '')
    const id = well.headers.get('x-request-id')
    return gate.lines().some((line) => line['request_id'] === id)
  }
  expect(await isTold()).toBe(true)
  // A reload that is quieter from then on is not told of either.
  put(path, written('log: { level: warn }\n'))
  await eventually(async () => !(await isTold()))
  await reloaded('log: { level: info }\n')
  expect(await isTold()).toBe(true)
})

test('a change that needs a restart is logged once, by name', async () => {
  const more = 'devices: { base_url: "https://gate.example" }\nlimits: { burst: 3 }\n'
  await told(gate, 'need a restart', () => put(path, written(more)))
  await told(gate, 'need a restart', () => gate.process.kill('SIGHUP'))
  await reloaded('')
  const lines = gate.lines().filter(({ msg }) => String(msg).includes('need a restart'))
  expect(lines.map(({ changed }) => changed)).toEqual(['PROXY_BASE_URL', 'PROXY_BASE_URL'])
  expect(said(gate, 'mistakes')).toBe(0)
})
