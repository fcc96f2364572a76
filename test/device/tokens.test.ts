// The life of a device's token after its enrolment: refreshed, by many at once (attack 36); rotated,
// reused; and revoked from another process, at once, on a gate that is running (attack 37).

import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  ADMIN_TOKEN,
  anthropicScene,
  type DeviceScene,
  IDENTITY_KEY,
  messages,
  type Minted,
  refusalOf,
  SECRET,
} from '../support/anthropic.ts'
import { start } from '../support/binary.ts'
import { bearer, eventually } from '../support/sink.ts'
import { LONG } from '../support/long.ts'

let on: DeviceScene
/** Refreshed before everything else, so that its grace passes while the other tests run. */
let retired: { readonly token: string; readonly next: string; readonly atMs: number }
beforeAll(async () => {
  on = await anthropicScene({ env: { ADMIN_TOKEN } })
  const token = await on.device()
  retired = { token, next: await mintedBy(await on.refresh(token)), atMs: performance.now() }
})
afterAll(() => on.close())

const claimsOf = (token: string): Record<string, string> =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as never
const mintedBy = async (response: Response): Promise<string> =>
  ((await response.json()) as Minted).wrapper_token
const alive = async (token: string): Promise<boolean> => (await messages(on.gate, token)).ok

describe('refresh', () => {
  test('200 at once with one token: one family, one successor, nobody locked out', async () => {
    const token = await on.device('--models', 'claude-*')
    const all = await Promise.all(Array.from({ length: 200 }, () => on.refresh(token)))
    expect(all.filter(({ status }) => status !== 200)).toEqual([])
    const tokens = await Promise.all(all.map(mintedBy))
    expect(new Set(tokens.map((each) => claimsOf(each)['family']))).toEqual(
      new Set([claimsOf(token)['family']]),
    )
    expect(new Set(tokens.map((each) => claimsOf(each)['jti'])).size).toBe(1)
    for (const each of [token, ...new Set(tokens)]) expect(await alive(each)).toBe(true)
    expect((await on.refresh(tokens[0] ?? '')).status).toBe(200)
  })

  test('200 concurrent refreshes under the default limits: refused ones lose nothing', async () => {
    const strict = await anthropicScene({
      env: { PUBLIC_RATE_LIMIT_RPM: '60', RATE_LIMIT_BURST: '10' },
    })
    try {
      const token = await strict.device()
      const all = await Promise.all(Array.from({ length: 200 }, () => strict.refresh(token)))
      const told = new Set(all.map(({ status }) => status))
      expect(told).toEqual(new Set([200, 429]))
      const minted = await mintedBy(all.find(({ ok }) => ok) as Response)
      for (const each of [token, minted]) expect((await messages(strict.gate, each)).ok).toBe(true)
    } finally {
      await strict.close()
    }
  })

  test("keeps the enrolment's grants, and is accepted in either header", async () => {
    const token = await on.device('--models', 'claude-haiku-*', '--rate-limit', '9')
    const response = await fetch(`${on.gate.url}/refresh`, {
      method: 'POST',
      headers: { 'x-api-key': `sk-ant-proxy-${token}` },
      body: JSON.stringify({ models: ['*'], rate_limit: 1000 }),
    })
    const renewed = await mintedBy(response)
    expect(claimsOf(renewed)).toMatchObject({ models: ['claude-haiku-*'], rate_limit: 9 })
    expect(claimsOf(renewed)['jti']).not.toBe(claimsOf(token)['jti'])
    expect(claimsOf(renewed)['sub']).toBe(claimsOf(token)['sub'] ?? '')
  })

  test('after a lost answer: a repeated request within the grace gets the same successor', async () => {
    const token = await on.device()
    const first = await mintedBy(await on.refresh(token))
    await Bun.sleep(300)
    expect(claimsOf(await mintedBy(await on.refresh(token)))['jti']).toBe(claimsOf(first)['jti'])
  })

  test('within the grace every token of the chain is given its head, and no second one', async () => {
    const first = await on.device()
    const second = await mintedBy(await on.refresh(first))
    const head = await mintedBy(await on.refresh(second))
    for (const each of [first, second]) {
      const given = await mintedBy(await on.refresh(each))
      expect(claimsOf(given)['jti']).toBe(claimsOf(head)['jti'] ?? '')
    }
    expect(await alive(head)).toBe(true)
  })
})

// How soon is asked in test/timing.
describe('a laptop that was closed', () => {
  /** The same token, as if it had been given out so much earlier. */
  const aged = (token: string, seconds: number): string => {
    const [head = '', payload = ''] = token.split('.')
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as {
      iat: number
      exp: number
    }
    const before = { ...claims, iat: claims.iat - seconds, exp: claims.exp - seconds }
    const body = `${head}.${Buffer.from(JSON.stringify(before)).toString('base64url')}`
    return `${body}.${createHmac('sha256', SECRET).update(body).digest('base64url')}`
  }
  const DAY = 86_400

  test('that was away refreshes within 30 days; not later, and not after a revocation', async () => {
    const weekend = aged(await on.device(), 4 * DAY)
    expect(await alive(weekend)).toBe(false)
    const next = await on.refresh(weekend)
    expect(next.status).toBe(200)
    expect(await alive(await mintedBy(next))).toBe(true)
    expect((await on.refresh(aged(await on.device(), 30.9 * DAY))).status).toBe(200)
    const late = await on.refresh(aged(await on.device(), 31 * DAY + 60))
    expect(await late.json()).toMatchObject({ error: { code: 'token_expired' } })
    const revoked = await on.device()
    await on.command(['revoke', claimsOf(revoked)['family'] ?? ''])
    await eventually(async () => !(await alive(revoked)), 1000)
    const back = await on.refresh(aged(revoked, 4 * DAY))
    expect(await back.json()).toMatchObject({ error: { code: 'token_revoked' } })
  })

  test('with DEVICE_IDLE_DAYS=0 needs a new enrolment', async () => {
    const strict = await anthropicScene({ env: { DEVICE_IDLE_DAYS: '0' } })
    try {
      const token = await strict.device()
      expect((await strict.refresh(aged(token, DAY - 60))).status).toBe(200)
      expect((await strict.refresh(aged(await strict.device(), DAY + 1))).status).toBe(401)
    } finally {
      await strict.close()
    }
  })
})

test('the answer to an enrolment that was lost is given again, until its token is used', async () => {
  const code = await on.code()
  const [first, second] = [await on.bootstrap('lost', code), await on.bootstrap('lost', code)]
  const token = await mintedBy(first)
  expect(await mintedBy(second)).toBe(token)
  expect((await on.bootstrap('another', code)).status).toBe(403)
  expect(await alive(token)).toBe(true)
  expect((await on.bootstrap('lost', code)).status).toBe(403)
})

describe('revoked by another process, a token is refused', () => {
  /** What names it, from the token and its code. */
  const NAMES: readonly [string, (token: string, deviceId: string, code: string) => string][] = [
    ["the device's own id", (_token, deviceId) => deviceId],
    ["the device's hash, as logs show it", (token) => claimsOf(token)['sub'] ?? ''],
    ['its family', (token) => claimsOf(token)['family'] ?? ''],
    ['its jti', (token) => claimsOf(token)['jti'] ?? ''],
    ['its code', (_token, _deviceId, code) => code],
  ]
  test.each(NAMES)('by %s', async (_name, nameOf) => {
    const { stdout, stderr } = await on.command(['enrol', '--uses', '2'])
    const codeName = /code:\d+/.exec(stderr)?.[0] ?? ''
    const deviceId = `revoked-${crypto.randomUUID()}`
    const token = await mintedBy(await on.bootstrap(deviceId, stdout.trim()))
    const bystander = await on.device()
    expect(await alive(token)).toBe(true)

    const done = await on.command(['revoke', nameOf(token, deviceId, codeName)])
    expect(done).toMatchObject({ exitCode: 0, stderr: '' })
    expect(done.stdout).not.toContain(deviceId)
    await eventually(async () => !(await alive(token)))
    expect(await refusalOf(await messages(on.gate, token))).toBe('401 authentication_error')
    expect(await refusalOf(await on.refresh(token))).toBe('401 authentication_error')
    expect(await alive(bystander)).toBe(true)
    if (nameOf(token, deviceId, codeName) === codeName) {
      expect((await on.bootstrap('second', stdout.trim())).status).toBe(403)
    }
  })

  test('by POST /admin/revoke: of the very next request', async () => {
    const token = await on.device()
    const response = await fetch(`${on.gate.url}/admin/revoke`, {
      method: 'POST',
      headers: bearer(ADMIN_TOKEN),
      body: JSON.stringify({ name: claimsOf(token)['family'] }),
    })
    expect(response.status).toBe(200)
    expect(await alive(token)).toBe(false)
  })

  test('a name that nothing goes by is exit 1, and is not repeated', async () => {
    const done = await on.command(['revoke', 'nobody-goes-by-this'])
    expect(done.exitCode).toBe(1)
    expect(done.stdout + done.stderr).not.toContain('nobody-goes')
    expect((await on.command(['revoke'])).exitCode).toBe(64)
  })

  test('a running request goes on to its end; the next is refused', async () => {
    const { promise: enough, resolve } = Promise.withResolvers<void>()
    on.upstream.respond(async (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('event: ping\ndata: {"type": "ping"}\n\n')
      await enough
      response.end('event: message_stop\ndata: {"type":"message_stop"}\n\n')
    })
    const token = await on.device()
    const running = await messages(on.gate, token)
    const read = running.text()
    expect((await on.command(['revoke', claimsOf(token)['family'] ?? ''])).exitCode).toBe(0)
    on.upstream.respond((_request, response) => void response.end('{}'))
    await eventually(async () => !(await alive(token)))
    resolve()
    expect(await read).toContain('message_stop')
  })

  test('and stays so over a restart', async () => {
    const token = await on.device()
    expect((await on.command(['revoke', claimsOf(token)['family'] ?? ''])).exitCode).toBe(0)
    const second = await start({
      ANTHROPIC_API_KEY: 'k-1234567890',
      ANTHROPIC_BASE_URL: on.upstream.url,
      JWT_SECRET: SECRET,
      IDENTITY_HASH_KEY: IDENTITY_KEY,
      DATABASE_URL: `sqlite:${on.databaseFile}`,
    })
    try {
      expect((await messages(second, token)).status).toBe(401)
    } finally {
      await second.stop()
    }
  })
})

// Ten real seconds; test/enroll says the same of the parts, with the time passed in.
test.if(LONG)(
  'a retired token serves requests after 10 s; a refresh with it ends its family',
  async () => {
    const { token, next, atMs } = retired
    await Bun.sleep(Math.max(0, atMs + 11_000 - performance.now()))
    expect(await alive(token)).toBe(true)
    expect(await alive(next)).toBe(true)
    expect(await refusalOf(await on.refresh(token))).toBe('401 authentication_error')
    expect(await alive(next)).toBe(false)
    expect(await refusalOf(await on.refresh(next))).toBe('401 authentication_error')
  },
)
