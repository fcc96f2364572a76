// `GET /device`: what a caller is told of itself, and what it is told where its token is no good.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { start } from '../support/binary.ts'
import {
  ANTHROPIC_KEY,
  anthropicScene,
  type DeviceScene,
  IDENTITY_KEY,
  messages,
  type Minted,
} from '../support/anthropic.ts'
import { bearer, eventually } from '../support/sink.ts'

let on: DeviceScene
beforeAll(async () => {
  on = await anthropicScene({
    users: true,
    env: { ORG_SPEND_CAP: '100', CORS_ORIGINS: 'https://app.example' },
  })
})
afterAll(() => on.close())

const ask = (token: string, headers = bearer(token)): Promise<Response> =>
  fetch(`${on.gate.url}/device`, { headers })
const told = async (token: string): Promise<Record<string, unknown>> => {
  const response = await ask(token)
  expect(response.status).toBe(200)
  return (await response.json()) as Record<string, unknown>
}
/** Status and the code that a client acts on. */
const refusal = async (response: Response): Promise<string> => {
  const { error } = (await response.json()) as { error: { type: string; code?: string } }
  return `${response.status} ${error.type} ${error.code}`
}

test("shows the enrolment's grants, the expiry, and the standing of each cap", async () => {
  const code = await on.code(
    '--models=claude-sonnet-*',
    '--spend-cap=20',
    '--org=acme',
    '--user=anna',
    '--rate-limit=30',
    "--label=Anna's laptop",
  )
  const response = await fetch(`${on.gate.url}/bootstrap`, {
    method: 'POST',
    body: JSON.stringify({ device_id: 'd-1', device_name: 'ThinkPad', enrollment_code: code }),
  })
  const { wrapper_token: token, expires_at: expiresAt } = (await response.json()) as Minted
  const about = await told(token)
  const soon = new Date()
  const resets = new Date(Date.UTC(soon.getUTCFullYear(), soon.getUTCMonth() + 1)).toISOString()
  expect(about).toMatchObject({
    device: expect.stringMatching(/^[0-9a-f]{64}$/),
    family: expect.stringMatching(/^fam_[0-9a-f]{32}$/),
    label: "Anna's laptop",
    name: 'ThinkPad',
    user_id: 'anna',
    org_id: 'acme',
    expires_at: expiresAt,
    refreshable_until: new Date(Date.parse(expiresAt) + 30 * 86_400_000).toISOString(),
    replaced: false,
    policy: {
      models: ['claude-sonnet-*'],
      rate_limit: { requests_per_minute: 30, burst: 30 },
      spend_cap: 20,
    },
    caps: [
      {
        scope: 'device',
        limit_micro_usd: 20_000_000,
        spent_micro_usd: 0,
        reserved_micro_usd: 0,
        left_micro_usd: 20_000_000,
        resets_at: resets,
      },
      { scope: 'org', limit_micro_usd: 100_000_000, spent_micro_usd: 0, resets_at: resets },
    ],
  })
  expect(JSON.stringify(about)).not.toContain('d-1')
})

test('a cap shows the reservation while a request runs, and its cost afterwards', async () => {
  const token = await on.device('--spend-cap', '20')
  const cap = async () => ((await told(token))['caps'] as Record<string, number>[])[0]
  const { promise: enough, resolve } = Promise.withResolvers<void>()
  on.upstream.respond(async (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    await enough
    response.end(
      '{"type":"message","model":"claude-sonnet-4-5-20250929","usage":{"input_tokens":1000,"output_tokens":0}}',
    )
  })
  const running = messages(on.gate, token)
  await eventually(async () => ((await cap())?.['reserved_micro_usd'] ?? 0) > 0)
  const under = await cap()
  expect(under?.['left_micro_usd']).toBe(20_000_000 - (under?.['reserved_micro_usd'] ?? 0))
  resolve()
  await (await running).text()
  await eventually(async () => (await cap())?.['reserved_micro_usd'] === 0)
  expect(await cap()).toMatchObject({ spent_micro_usd: 3000, left_micro_usd: 20_000_000 - 3000 })
  on.upstream.respond((_request, response) => void response.end('{}'))
})

test('by either header, and without a line in the log or a request of its rate', async () => {
  const token = await on.device('--rate-limit', '1')
  for (const headers of [{ 'x-api-key': token }, { 'x-api-key': `sk-ant-proxy-${token}` }]) {
    expect((await ask('', headers as never)).status).toBe(200)
  }
  expect((await messages(on.gate, token)).status).toBe(200)
  expect((await ask(token)).headers.get('cache-control')).toBe('no-store')
})

test('a replaced token is reported as replaced', async () => {
  const first = await on.device()
  const { wrapper_token: second } = (await (await on.refresh(first)).json()) as Minted
  expect(await told(first)).toMatchObject({ replaced: true, refreshable_until: null })
  expect((await told(second))['replaced']).toBe(false)
})

test('revoked, unknown, malformed and absent tokens are distinguished', async () => {
  const token = await on.device()
  const { family } = await told(token)
  await on.command(['revoke', String(family)])
  await eventually(async () => (await ask(token)).status === 401)
  expect(await refusal(await ask(token))).toBe('401 authentication_error token_revoked')
  const payload = token.split('.')[1] ?? ''
  const forged = `${token.split('.')[0]}.${payload}.${'A'.repeat(43)}`
  for (const each of [forged, 'x', `${(await on.issuer?.token()) ?? ''}x`]) {
    expect(await refusal(await ask(each))).toBe('401 authentication_error invalid_token')
  }
  expect(await refusal(await fetch(`${on.gate.url}/device`))).toStartWith(
    '401 authentication_error',
  )
})

test('a user gets the same facts in the same members', async () => {
  const token = (await on.issuer?.token()) ?? ''
  const { exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
    exp: number
  }
  const about = await told(token)
  expect(about).toMatchObject({
    kind: 'user',
    identity: expect.stringMatching(/^[0-9a-f]{64}$/),
    device: null,
    name: null,
    org_id: null,
    expires_at: new Date(exp * 1000).toISOString(),
    policy: { name: 'users', models: null },
    caps: [],
  })
  expect(Object.keys(about)).toEqual(Object.keys(await told(await on.device())))
})

test('attack: too many requests are 429, and another caller is answered', async () => {
  const [busy, other] = [await on.device(), await on.device()]
  const answers = await Promise.all(Array.from({ length: 80 }, () => ask(busy)))
  expect(answers.filter(({ status }) => status === 429).length).toBeGreaterThan(0)
  expect((await ask(other)).status).toBe(200)
})

test('a device whose family the database has lost learns it, though its token still verifies', async () => {
  const token = await on.device()
  const { family } = await told(token)
  const db = new Database(on.databaseFile)
  db.query('DELETE FROM device_families WHERE family = ?').run(String(family))
  db.close()
  expect(await refusal(await ask(token))).toBe('401 authentication_error invalid_token')
  expect((await messages(on.gate, token)).status).toBe(200)
})

test('after its secret was replaced a token is unknown', async () => {
  const token = await on.device()
  const other = await start({
    ANTHROPIC_API_KEY: ANTHROPIC_KEY,
    ANTHROPIC_BASE_URL: on.upstream.url,
    JWT_SECRET: 'another-secret-0d1e-0d1e-0d1e-0d1e-0d1e',
    IDENTITY_HASH_KEY: IDENTITY_KEY,
    DATABASE_URL: `sqlite:${on.databaseFile}`,
  })
  try {
    const response = await fetch(`${other.url}/device`, { headers: bearer(token) })
    expect(await refusal(response)).toBe('401 authentication_error invalid_token')
  } finally {
    await other.stop()
  }
})

test('a page of a named origin may ask, and no other', async () => {
  const token = await on.device()
  const from = async (origin: string): Promise<string | null> => {
    const response = await fetch(`${on.gate.url}/device`, { headers: { ...bearer(token), origin } })
    return response.headers.get('access-control-allow-origin')
  }
  expect(await from('https://app.example')).toBe('https://app.example')
  expect(await from('https://other.example')).toBeNull()
  const preflight = await fetch(`${on.gate.url}/device`, {
    method: 'OPTIONS',
    headers: { origin: 'https://app.example', 'access-control-request-method': 'GET' },
  })
  expect(preflight.status).toBe(204)
})

test('at /bootstrap no code and a wrong code are two messages', async () => {
  const said = async (code?: string): Promise<unknown> => {
    const response = await on.bootstrap('d', code)
    expect(response.status).toBe(403)
    return ((await response.json()) as { error: { message: string; code: string } }).error
  }
  expect(await said()).toMatchObject({
    code: 'enrollment_required',
    message: expect.stringContaining('enrols with a code, and none was sent'),
  })
  for (const wrong of ['nonsense', `postern-code-${'A'.repeat(32)}`]) {
    expect(await said(wrong)).toMatchObject({
      code: 'enrollment_refused',
      message: expect.stringContaining('its code is unknown, used or expired'),
    })
  }
})
