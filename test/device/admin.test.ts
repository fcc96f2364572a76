// Attack 38: the operator's routes, for who holds the operator's key and for nobody else; on a
// listener of their own where that is asked for, and nowhere where no key is set.

import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { ADMIN_TOKEN, anthropicScene, type DeviceScene, refusalOf } from '../support/anthropic.ts'
import { runToEnd } from '../support/binary.ts'
import { bearer } from '../support/sink.ts'

type Ask = readonly [method: 'GET' | 'POST', path: string]
const OPERATOR: readonly Ask[] = [
  ['GET', '/admin/circuit-breaker'],
  ['POST', '/admin/circuit-breaker/reset'],
  ['GET', '/admin/devices'],
  ['POST', '/admin/revoke'],
]
const OWN: readonly Ask[] = [
  ['GET', '/admin/usage'],
  ['GET', '/admin/stats'],
]
const ALL = [...OPERATOR, ...OWN]

const ask = (
  at: string,
  [method, path]: Ask,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> =>
  fetch(at + path, {
    method,
    headers,
    ...(method === 'POST' && { body: JSON.stringify({ name: 'nobody-goes-by-this' }) }),
  })

describe('with ADMIN_TOKEN', () => {
  let on: DeviceScene
  let device: string
  let user: string
  beforeAll(async () => {
    on = await anthropicScene({ env: { ADMIN_TOKEN }, users: true })
    device = await on.device()
    user = (await on.issuer?.token()) ?? ''
  })
  afterAll(() => on.close())

  test.each(ALL)('%s %s is open to it', async (method, path) => {
    const route = [method, path] as const
    expect((await ask(on.gate.url, route, bearer(ADMIN_TOKEN))).status).toBe(200)
    expect((await ask(on.gate.url, route, { 'x-api-key': ADMIN_TOKEN })).status).toBe(200)
  })

  test.each(OPERATOR)("%s %s is 403 to a device's token", async (method, path) => {
    const route = [method, path] as const
    expect(await refusalOf(await ask(on.gate.url, route, bearer(device)))).toBe(
      '403 permission_error',
    )
  })

  test.each(ALL)(
    "%s %s is 401 with a user's JWT, without a credential, and with a cookie",
    async (method, path) => {
      const route = [method, path] as const
      for (const headers of [bearer(user), {}, { cookie: `token=${ADMIN_TOKEN}` }]) {
        expect(await refusalOf(await ask(on.gate.url, route, headers as never))).toBe(
          '401 authentication_error',
        )
      }
      const both = { ...bearer(device), 'x-api-key': ADMIN_TOKEN }
      expect((await ask(on.gate.url, route, both)).status).toBe(400)
      const inQuery = [route[0], `${route[1]}?access_token=${ADMIN_TOKEN}`] as const
      expect((await ask(on.gate.url, inQuery)).status).toBe(401)
    },
  )

  test('every prefix of the key is 401, and so is all that resembles it', async () => {
    const prefixes = Array.from({ length: ADMIN_TOKEN.length }, (_, at) => ADMIN_TOKEN.slice(0, at))
    const others = [`${ADMIN_TOKEN}x`, ADMIN_TOKEN.toUpperCase(), `sk-ant-proxy-${ADMIN_TOKEN}`]
    for (const key of [...prefixes, ...others]) {
      const response = await ask(on.gate.url, ['GET', '/admin/devices'], bearer(key))
      expect([key, response.status]).toEqual([key, 401])
    }
  })

  test('it is no token for inference', async () => {
    for (const path of ['/v1/messages', '/v1/messages/count_tokens', '/v1/chat/completions']) {
      expect((await ask(on.gate.url, ['POST', path], bearer(ADMIN_TOKEN))).status).toBe(401)
    }
    expect((await on.refresh(ADMIN_TOKEN)).status).toBe(401)
  })

  test('its actions are in the audit, and the key is nowhere', async () => {
    const reset = ['POST', '/admin/circuit-breaker/reset'] as const
    expect((await ask(on.gate.url, reset, bearer(ADMIN_TOKEN))).status).toBe(200)
    const database = new Database(on.databaseFile, { readonly: true })
    const rows = database.query('SELECT * FROM audit').all()
    database.close()
    const text = JSON.stringify(rows)
    expect(text).toContain('reset circuit breakers')
    expect(text).toContain('operator')
    expect(text).not.toContain(ADMIN_TOKEN)
    expect(on.gate.output()).not.toContain(ADMIN_TOKEN)
  })

  test('a revocation without a name, or with two, is 400', async () => {
    for (const body of ['', '{}', '{"name":""}', '{"name":7}', '{"name":"a","name":"b"}', '[]']) {
      const response = await fetch(`${on.gate.url}/admin/revoke`, {
        method: 'POST',
        headers: bearer(ADMIN_TOKEN),
        body,
      })
      expect([body, await refusalOf(response)]).toEqual([body, '400 invalid_request_error'])
    }
  })
})

describe('without it', () => {
  let on: DeviceScene
  let device: string
  beforeAll(async () => {
    on = await anthropicScene()
    device = await on.device()
  })
  afterAll(() => on.close())

  test.each(OPERATOR)('%s %s is 404 to everybody', async (method, path) => {
    const route = [method, path] as const
    for (const headers of [{}, bearer(device), bearer(ADMIN_TOKEN), bearer('')]) {
      expect(await refusalOf(await ask(on.gate.url, route, headers as never))).toBe(
        '404 not_found_error',
      )
    }
  })

  test.each(OWN)("%s %s is the device's own still", async (method, path) => {
    const route = [method, path] as const
    expect((await ask(on.gate.url, route, bearer(device))).status).toBe(200)
    expect((await ask(on.gate.url, route)).status).toBe(401)
  })
})

describe('with ADMIN_PORT', () => {
  let on: DeviceScene
  let at: string
  beforeAll(async () => {
    on = await anthropicScene({ env: { ADMIN_TOKEN, ADMIN_PORT: '0' } })
    at = `http://${String(on.gate.lines().find(({ msg }) => msg === 'listening')?.['admin'])}`
  })
  afterAll(() => on.close())

  test('the routes are there alone, on loopback', async () => {
    expect(new URL(at).hostname).toBe('127.0.0.1')
    expect(new URL(at).port).not.toBe(String(on.gate.port))
    for (const route of ALL) {
      expect((await ask(at, route, bearer(ADMIN_TOKEN))).status).toBe(200)
      expect((await ask(on.gate.url, route, bearer(ADMIN_TOKEN))).status).toBe(404)
    }
  })

  test('and nothing else is', async () => {
    const device = await on.device()
    const others: readonly Ask[] = [
      ['POST', '/v1/messages'],
      ['GET', '/v1/models'],
      ['POST', '/bootstrap'],
      ['POST', '/refresh'],
    ]
    for (const route of others) expect((await ask(at, route, bearer(device))).status).toBe(404)
    expect(on.upstream.seen).toEqual([])
  })
})

test('an ADMIN_TOKEN of less than 32 bytes starts nothing, and is not repeated', async () => {
  const { exitCode, stderr } = await runToEnd(['--dev-mode'], { ADMIN_TOKEN: 'short-canary' })
  expect(exitCode).toBe(78)
  expect(stderr).toContain('ADMIN_TOKEN')
  expect(stderr).not.toContain('short-canary')
})
