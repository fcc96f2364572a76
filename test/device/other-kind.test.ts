// A good token at a route that takes another kind of it: told what it is, never that it is invalid.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { anthropicScene, type DeviceScene } from '../support/anthropic.ts'

let at: DeviceScene
let user: string
let device: string
beforeAll(async () => {
  at = await anthropicScene({ users: true })
  user = (await at.issuer?.token()) ?? ''
  device = await at.device()
})
afterAll(() => at.close())

async function ask(
  path: string,
  token: string,
  { method = 'GET', ...headers }: Readonly<Record<string, string>> = {},
): Promise<{ status: number; error: Readonly<Record<string, unknown>>; type: unknown }> {
  const response = await fetch(`${at.gate.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...headers },
    ...(method === 'POST' && { body: '{}' }),
  })
  const body = (await response.json()) as { error: Record<string, unknown>; type?: unknown }
  return { status: response.status, error: body.error ?? {}, type: body.type }
}

test("a user's at one model is 404 in OpenAI's words, and names the list", async () => {
  const { status, error, type } = await ask('/v1/models/some-model', user)
  expect({ status, type, code: error['code'] }).toEqual({
    status: 404,
    type: undefined,
    code: 'not_found',
  })
  expect(error['message']).toContain('GET /v1/models lists')
})

test("in Anthropic's dialect for its clients", async () => {
  const asked = { 'anthropic-version': '2023-06-01' }
  const { status, error } = await ask('/v1/models/some-model', user, asked)
  expect({ status, type: error['type'] }).toEqual({ status: 404, type: 'not_found_error' })
})

test("a user's token on a route for devices, and the reverse", async () => {
  const atDevices = await ask('/v1/messages', user, { method: 'POST' })
  expect(atDevices.status).toBe(401)
  expect(atDevices.error['message']).toContain('it is that of a user')
  const atUsers = await ask('/v1/chat/completions', device, { method: 'POST' })
  expect(atUsers.status).toBe(401)
  expect(atUsers.error['message']).toContain('it is that of a device')
})

test('an unknown token stays invalid, and reaches no upstream', async () => {
  at.upstream.seen.length = 0
  for (const token of ['nonsense', `${user.slice(0, -4)}AAAA`, `${device.slice(0, -4)}AAAA`]) {
    for (const path of ['/v1/models/some-model', '/v1/models']) {
      const { status, error } = await ask(path, token)
      expect(status).toBe(401)
      expect(String(error['message'])).not.toContain('good')
    }
  }
  expect(at.upstream.seen).toEqual([])
})
