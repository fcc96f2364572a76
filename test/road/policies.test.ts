// Named policies of a document, over the compiled binary: who gets which, and what each lets through.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { start } from '../support/binary.ts'
import {
  ANTHROPIC_KEY,
  anthropicScene,
  type DeviceScene,
  IDENTITY_KEY,
  messages,
  PROXY_BASE_URL,
  SECRET,
} from '../support/anthropic.ts'
import { UNLIMITED } from '../support/settings.ts'
import { bearer, eventually } from '../support/sink.ts'

const DOCUMENT = `
policies:
  - name: llamas
    models: [llama-*]
    routes: [chat, models]
    max_body_bytes: 2000
  - name: ci
    usd_per_day: 0.01
    usd_per_month: 100
  - name: team
    requests_per_minute: 600
    burst: 600
    organisation: { requests_per_minute: 1, burst: 3 }
  - name: sealed
    plaintext: false
rules:
  - { kind: user, policy: llamas }
  - { kind: device, organisation: acme, policy: team }
  - { kind: device, organisation: careful, policy: sealed }
  - { kind: device, organisation: thrifty, policy: ci }
`
const ANSWER = JSON.stringify({
  type: 'message',
  model: 'claude-haiku-4-5-20251001',
  usage: { input_tokens: 100, output_tokens: 100 },
})
const BODY = JSON.stringify({ model: 'claude-haiku-4-5-20251001', max_tokens: 100, messages: [] })

const folder = mkdtempSync(join(tmpdir(), 'postern-policies-'))
const config = join(folder, 'postern.yaml')
/** For a gate without users. */
const keysAlone = join(folder, 'keys.yaml')
const KEYS_ALONE = 'policies: [{ name: ci, usd_per_day: 0.01 }]'
let on: DeviceScene
beforeAll(async () => {
  writeFileSync(config, DOCUMENT)
  writeFileSync(keysAlone, KEYS_ALONE)
  on = await anthropicScene({ users: true, env: { POSTERN_CONFIG: config } })
})
afterAll(async () => {
  await on.close()
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(() => {
  on.upstream.seen.length = 0
  on.upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(ANSWER)
  })
})

interface Said {
  readonly status: number
  readonly code: string | undefined
  readonly message: string
}
async function said(response: Response): Promise<Said> {
  const text = await response.text()
  const { error = {} } = JSON.parse(text) as { error?: { code?: string; message?: string } }
  return { status: response.status, code: error.code, message: error.message ?? '' }
}

describe("a user's policy", () => {
  const ask = async (
    body: unknown,
    path = '/v1/chat/completions',
    more: Readonly<Record<string, string>> = {},
  ): Promise<Said> =>
    said(
      await fetch(on.gate.url + path, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...bearer((await on.issuer?.token()) ?? ''),
          ...more,
        },
        body: JSON.stringify(body),
      }),
    )

  test('lets its models, its routes and bodies of its size through, and nothing else', async () => {
    expect(await ask({ model: 'llama-3', messages: [] })).toMatchObject({ status: 200 })
    expect(on.upstream.seen).toHaveLength(1)
    expect(await ask({ model: 'gpt-4', messages: [] })).toMatchObject({
      status: 404,
      code: 'model_not_found',
      message: expect.stringContaining('llama-*'),
    })
    expect(await ask({ model: 'llama-3', models: ['gpt-4'] })).toMatchObject({ status: 404 })
    expect(await ask({ model: 'llama-3', input: 'x' }, '/v1/embeddings')).toMatchObject({
      status: 403,
      code: 'route_not_allowed',
    })
    expect(await ask({ model: 'llama-3', user: 'x'.repeat(2000) })).toMatchObject({
      status: 413,
      message: 'request body exceeds 2000 bytes',
    })
    expect(on.upstream.seen).toHaveLength(1)
  })

  test('refuses a sealed body, which hides the model', async () => {
    const sealed = { 'ehbp-encapsulated-key': 'ab'.repeat(32) }
    expect(await ask({ model: 'llama-3' }, undefined, sealed)).toMatchObject({
      status: 400,
      code: 'sealed_body_limited',
    })
    expect(on.upstream.seen).toHaveLength(0)
  })
})

test("an organisation's rate is shared by all of its devices, and a refusal names whose limit it was", async () => {
  const devices = await Promise.all(['a', 'b'].map(() => on.device('--org', 'acme')))
  const [first = '', second = ''] = devices
  for (const token of [first, second, first]) {
    expect((await messages(on.gate, token, BODY)).status).toBe(200)
  }
  const refused = await messages(on.gate, second, BODY)
  expect(refused.headers.get('ratelimit-policy')).toBe('"requests";q=3;w=180')
  expect(Number(refused.headers.get('retry-after'))).toBeWithin(1, 61)
  expect(await said(refused)).toMatchObject({
    status: 429,
    message: "the organisation's rate limit is exceeded",
  })
  expect((await messages(on.gate, await on.device(), BODY)).status).toBe(200)
})

test('a policy that demands sealed bodies lets none through in clear', async () => {
  const careful = await on.device('--org', 'careful')
  expect(await said(await messages(on.gate, careful, BODY))).toMatchObject({ status: 400 })
  expect(on.upstream.seen).toHaveLength(0)
})

test('GET /device shows the policy, and the caps of the month and the day', async () => {
  const token = await on.device('--org', 'thrifty', '--spend-cap', '20')
  const response = await fetch(`${on.gate.url}/device`, { headers: bearer(token) })
  const midnight = new Date(Math.ceil(Date.now() / 86_400_000) * 86_400_000).toISOString()
  expect((await response.json()) as object).toMatchObject({
    policy: { name: 'ci', spend_cap: 20, spend_cap_day: 0.01 },
    caps: [
      { scope: 'device', period: 'month', limit_micro_usd: 20_000_000 },
      { scope: 'device', period: 'day', limit_micro_usd: 10_000, resets_at: midnight },
    ],
  })
})

test("a key's cap of a day refuses until midnight in UTC, also after a restart", async () => {
  const { stdout } = await on.command(['key', 'add', 'ci', '--policy', 'ci'])
  const key = stdout.trim()
  await eventually(async () => (await messages(on.gate, key, BODY)).status === 200)
  let granted = 1
  let refused = await messages(on.gate, key, BODY)
  for (; granted < 100 && refused.status === 200; granted += 1) {
    await refused.text()
    refused = await messages(on.gate, key, BODY)
  }
  const toMidnight = (86_400_000 - (Date.now() % 86_400_000)) / 1000
  expect(Math.abs(Number(refused.headers.get('retry-after')) - toMidnight)).toBeLessThan(60)
  const tomorrow = new Date(Date.now() + toMidnight * 1000 + 1000).toISOString().slice(0, 10)
  const { status, message } = await said(refused)
  expect(status).toBe(429)
  expect(message).toContain("the key's $0.01 a day")
  expect(message).toContain(tomorrow)

  const sent = on.upstream.seen.length
  const db = new Database(on.databaseFile, { readonly: true })
  const written = db.query<{ requests: number }, [string]>(
    'SELECT sum(requests) AS requests FROM ledger_day WHERE device = ? AND cost_micro_usd > 0',
  )
  const [{ identity }] = JSON.parse((await on.command(['key', 'list', '--json'])).stdout)
  await eventually(async () => (written.get(identity)?.requests ?? 0) >= granted)
  db.close()
  const again = await start({
    ANTHROPIC_API_KEY: ANTHROPIC_KEY,
    ANTHROPIC_BASE_URL: on.upstream.url,
    JWT_SECRET: SECRET,
    PROXY_BASE_URL,
    IDENTITY_HASH_KEY: IDENTITY_KEY,
    DATABASE_URL: `sqlite:${on.databaseFile}`,
    ...UNLIMITED,
    POSTERN_CONFIG: keysAlone,
  })
  try {
    expect((await messages(again, key, BODY)).status).toBe(429)
    expect(on.upstream.seen).toHaveLength(sent)
  } finally {
    await again.stop()
  }
})
