// Upstreams of kind `anthropic` that are other servers of its dialect, over the compiled binary: each
// with its key in its own header, its path, query and headers, by the official client.

import Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startIssuer } from '../../src/dev/issuer.ts'
import { runToEnd, start } from '../support/binary.ts'
import { HASH_KEY, UNLIMITED } from '../support/settings.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-dialect-'))
const path = join(folder, 'postern.yaml')
const issuer = await startIssuer()
const NAMES = ['router', 'azure', 'local'] as const
type Name = (typeof NAMES)[number]
const KEYS = { router: 'sk-router-canary-1', azure: 'azure-canary-2' } as const
const servers = {} as Record<Name, Upstream>
for (const name of NAMES) {
  const upstream = await startUpstream()
  servers[name] = upstream
  upstream.respond((request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    const models = [{ type: 'model', id: `${name}/m`, display_name: name, created_at: 'x' }]
    const message = {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model: `${name}/m`,
      content: [{ type: 'text', text: name }],
      stop_reason: 'end_turn',
      usage: { input_tokens: 7, output_tokens: 3 },
    }
    const list = { data: models, has_more: false, first_id: null, last_id: null }
    response.end(JSON.stringify(request.method === 'GET' ? list : message))
  })
}
writeFileSync(
  path,
  `issuers: [{ issuer: ${issuer.issuer}, jwks_url: ${issuer.jwksUrl}, audiences: [${issuer.audience}] }]
upstreams:
  - kind: anthropic
    name: router
    base_url: ${servers.router.url}/api
    api_key: ${KEYS.router}
    key_header: authorization
    headers: ["X-Title: postern", "anthropic-beta: fixed-1"]
    models: [router/*]
    callers: [user]
  - kind: anthropic
    name: azure
    base_url: ${servers.azure.url}/anthropic?api-version=1
    api_key: ${KEYS.azure}
    key_header: api-key
    models: [azure/*]
    callers: [user]
  - kind: anthropic
    name: local
    base_url: ${servers.local.url}
    key_header: none
    callers: [user]
ledger: { database_url: 'sqlite:${join(folder, 'postern.db')}', identity_hash_key: ${HASH_KEY} }
devices: { signing_secrets: [8f3a61c2d94be7055f1e0c7ab36d2948aa01] }
log: { format: json }
`,
  { mode: 0o600 },
)
const ENV = { ...UNLIMITED, POSTERN_CONFIG: path, DATABASE_URL: '' }
let gate: Awaited<ReturnType<typeof start>>
beforeAll(async () => {
  gate = await start(ENV)
})
afterAll(async () => {
  await gate.stop()
  for (const name of NAMES) await servers[name].close()
  await issuer.close()
  rmSync(folder, { recursive: true })
})

test('each gets its own key, path, query and headers, and nothing of the caller', async () => {
  const client = new Anthropic({ apiKey: await issuer.token(), baseURL: gate.url, maxRetries: 0 })
  const sent: Record<string, unknown> = {}
  for (const name of NAMES) {
    const { data, request_id: id } = await client.messages
      .create({ model: `${name}/m`, max_tokens: 9, messages: [{ role: 'user', content: 'hi' }] })
      .withResponse()
    expect(data.content).toMatchObject([{ type: 'text', text: name }])
    expect(await gate.logged(id ?? '')).toMatchObject({ upstream: name, input_tokens: 7 })
    const last = servers[name].seen.at(-1)
    if (!last) throw new Error('nothing came')
    const { url, headers } = last
    expect(JSON.stringify(headers)).not.toContain('eyJ')
    sent[name] = [url, headers['x-api-key'], headers['api-key'], headers.authorization]
  }
  expect(sent).toEqual({
    router: ['/api/v1/messages', undefined, undefined, `Bearer ${KEYS.router}`],
    azure: ['/anthropic/v1/messages?api-version=1', undefined, KEYS.azure, undefined],
    local: ['/v1/messages', undefined, undefined, undefined],
  })
  expect(servers.router.seen.at(-1)?.headers).toMatchObject({
    'x-title': 'postern',
    'anthropic-beta': 'fixed-1',
  })
  expect(gate.output()).not.toContain('canary')
})

test('their models are in one list', async () => {
  const client = new Anthropic({ apiKey: await issuer.token(), baseURL: gate.url, maxRetries: 0 })
  const { data } = await client.models.list()
  expect(data.map(({ id }) => id)).toEqual(['router/m', 'azure/m', 'local/m'])
})

test('`postern check` asks each with its key', async () => {
  const { exitCode, stdout } = await runToEnd(['check'], ENV)
  expect(exitCode).toBe(0)
  for (const name of NAMES) expect(stdout).toContain(`${name} /v1/models: status 200`)
})
