// Through the binary: a provider that demands a client secret, and what is told where it renews no more.

import { afterEach, describe, expect, test } from 'bun:test'

import { bearer, eventually } from '../support/sink.ts'
import { type LoginScene, loginScene } from './scene.ts'

const secret = 'client-secret-canary-51f0'
let on: LoginScene
afterEach(() => on.close())

const statusOf = async (key: string): Promise<Record<string, unknown>> =>
  (await (await fetch(`${on.gate.url}/auth/status`, { headers: bearer(key) })).json()) as never
const asks = (key: string): Promise<Response> =>
  fetch(`${on.gate.url}/v1/models`, { headers: bearer(key) })

describe('a client with a secret', () => {
  for (const method of ['client_secret_basic', 'client_secret_post'] as const) {
    test(`by ${method}: signs in, is refreshed, and the secret is nowhere`, async () => {
      on = await loginScene({ env: { CLIENT_SECRET: secret }, confidential: { secret, method } })
      const key = await on.signIn()
      expect((await asks(key)).status).toBe(200)
      const renewed = await fetch(`${on.gate.url}/auth/refresh`, {
        method: 'POST',
        headers: bearer(key),
      })
      expect(renewed.status).toBe(200)
      expect(on.server.counts).toMatchObject({ exchanged: 1, refreshed: 1 })
      expect(on.gate.output() + on.bytesOnDisk()).not.toContain(secret)
    })
  }
})

test('a definitive 403 with an expired token: sign in again, and /auth/status and the command say so', async () => {
  on = await loginScene({ accessTokenSeconds: 2 })
  const key = await on.signIn()
  on.server.setFailing({ status: 403, contentType: 'text/html', body: '<html>blocked</html>' })
  await eventually(async () => (await statusOf(key))['authenticated'] === false, 8000)
  expect(await statusOf(key)).toEqual({
    authenticated: false,
    code: 'session_ended',
    message: 'the sign-in has ended; sign in again at /auth/device or with postern login',
  })
  expect((await asks(key)).status).toBe(401)
  const page = await fetch(`${on.gate.url}/auth/device`, {
    headers: { accept: 'text/html', cookie: `postern_session=${key}` },
  })
  expect(await page.text()).toContain('Your sign-in has ended')
  on.server.setFailing(undefined)
  await eventually(async () => (await statusOf(key))['authenticated'] === true, 40_000)
  expect((await asks(key)).status).toBe(200)
})

test('an invalid_grant ends it, and /auth/status says so from then on', async () => {
  on = await loginScene()
  const key = await on.signIn()
  await on.server.revokeAll()
  expect((await asks(key)).status).toBe(401)
  expect(await statusOf(key)).toMatchObject({ authenticated: false, code: 'session_ended' })
  const again = await on.signIn()
  expect(await statusOf(again)).toMatchObject({ authenticated: true })
  expect(await statusOf(key)).toEqual({ authenticated: false })
})

test('an outage is 503, and no end of the sign-in', async () => {
  on = await loginScene({ accessTokenSeconds: 2 })
  const key = await on.signIn()
  on.server.setFailing(503)
  await eventually(async () => (await asks(key)).status === 503, 8000)
  expect((await statusOf(key))['authenticated']).toBe(true)
})

test('a 201 whose scope is null signs in, and refreshes', async () => {
  on = await loginScene({ accessTokenSeconds: 3600 })
  on.server.setRewrite((answer) => ({ ...answer, scope: null, expires_in: '3600' }))
  const key = await on.signIn()
  expect((await asks(key)).status).toBe(200)
  expect(await statusOf(key)).toMatchObject({ authenticated: true, renewable: true })
})
