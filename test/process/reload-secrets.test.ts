// Secrets that are rotated under a running gate: the new one in front, the old one behind it as long as it
// is needed, and then gone.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startIssuer } from '../../src/dev/issuer.ts'
import {
  type AuthorizationServer,
  startAuthorizationServer,
} from '../support/authorization-server.ts'
import { type Running, runToEnd, start } from '../support/binary.ts'
import { startConnectProxy } from '../support/connect-proxy.ts'
import { devicesOf, HASH_KEY, UNLIMITED, usersOf } from '../support/settings.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { Browser, PASTE_URI } from '../login/scene.ts'
import { put, told } from './reload-scene.ts'

const FIRST = '4f8a1cbe907d2356-canary-first-e1b07c9a'
const SECOND = 'b36d5e0f7a914c82-canary-second-80fd24ce'

const folder = mkdtempSync(join(tmpdir(), 'postern-rotation-'))
let upstream: Upstream

beforeAll(async () => {
  upstream = await startUpstream()
})
afterAll(async () => {
  await upstream.close()
  rmSync(folder, { recursive: true })
})

const rotated = (gate: Running, file: string, text: string): Promise<void> =>
  told(gate, 'settings reloaded', () => put(file, text))

/** The key of a session; undefined where the provider gives none. */
async function signIn(gate: Running, server: AuthorizationServer): Promise<string | undefined> {
  const person = new Browser(gate.url)
  const json = { 'content-type': 'application/json', origin: gate.url }
  const begun = await person.post('/auth/device/start', '', json)
  const { auth_url: link } = (await begun.json()) as { auth_url: string }
  const shown = (await server.signIn(new URL(link))).searchParams
  const code = JSON.stringify({ code: `${shown.get('code')}#${shown.get('state')}` })
  const ended = await person.post('/auth/device/submit', code, json)
  return ((await ended.json()) as { session_key?: string }).session_key
}

describe('the secret for device tokens', () => {
  const file = join(folder, 'jwt')
  const { JWT_SECRET: _, ...devices } = devicesOf('')
  const database = { DATABASE_URL: `sqlite:${join(folder, 'devices.db')}` }
  let gate: Running

  beforeAll(async () => {
    put(file, FIRST)
    gate = await start({
      ...UNLIMITED,
      ...devices,
      ...database,
      ANTHROPIC_BASE_URL: upstream.url,
      IDENTITY_HASH_KEY: HASH_KEY,
      JWT_SECRET_FILE: file,
    })
  })
  afterAll(() => gate.stop())

  const enrolled = async (): Promise<string> => {
    const code = await runToEnd(['enrol'], { ...devices, ...database })
    const answer = await fetch(`${gate.url}/bootstrap`, {
      method: 'POST',
      headers: { authorization: `Bearer ${code.stdout.trim()}` },
      body: '{"device_id":"laptop"}',
    })
    return ((await answer.json()) as { wrapper_token: string }).wrapper_token
  }
  const status = async (token: string): Promise<number> => {
    const response = await fetch(`${gate.url}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': token },
      body: '{"model":"claude-sonnet-4-5","max_tokens":1,"messages":[]}',
    })
    await response.bytes()
    return response.status
  }
  const refreshed = async (token: string): Promise<string> => {
    const headers = { authorization: `Bearer ${token}` }
    const response = await fetch(`${gate.url}/refresh`, { method: 'POST', headers })
    return ((await response.json()) as { wrapper_token: string }).wrapper_token
  }

  test('an old token stays valid with a new secret, is refreshed under it, and ends with the old secret', async () => {
    const old = await enrolled()
    expect(await status(old)).toBe(200)
    await rotated(gate, file, `${SECOND},${FIRST}`)
    expect(await status(old)).toBe(200)
    const renewed = await refreshed(old)
    expect([await status(old), await status(renewed)]).toEqual([200, 200])
    await rotated(gate, file, SECOND)
    // Though it was verified a moment ago, and is remembered.
    expect([await status(old), await status(renewed)]).toEqual([401, 200])
    expect(gate.output()).not.toContain('canary')
  })
})

describe('the secret for sessions', () => {
  const file = join(folder, 'session')
  let server: AuthorizationServer
  let gate: Running

  beforeAll(async () => {
    server = await startAuthorizationServer({ redirectUri: PASTE_URI })
    put(file, FIRST)
    gate = await start({
      CLIENT_ID: server.clientId,
      REDIRECT_URI: PASTE_URI,
      OAUTH_BASE_URL: server.authorizeUrl.href,
      OAUTH_TOKEN_URL: server.tokenUrl.href,
      OAUTH_ISSUER: server.issuer,
      OAUTH_SCOPES: server.scope,
      API_BASE_URL: upstream.url,
      SESSION_SECRET_FILE: file,
    })
  })
  afterAll(async () => {
    await gate.stop()
    await server.stop()
  })

  const signedIn = async (): Promise<string> => (await signIn(gate, server)) ?? ''
  const status = async (key: string): Promise<number> => {
    const response = await fetch(`${gate.url}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': key, 'content-type': 'application/json' },
      body: '{"model":"claude-haiku-4-5","max_tokens":1,"messages":[]}',
    })
    await response.bytes()
    return response.status
  }

  test('a session goes on under the next secret, and so does a running request', async () => {
    const key = await signedIn()
    const held = Promise.withResolvers<void>()
    upstream.respond(async (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: first\n\n')
      await held.promise
      response.end('data: last\n\n')
    })
    const running = await fetch(`${gate.url}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': key },
      body: '{"model":"claude-haiku-4-5","max_tokens":1,"messages":[],"stream":true}',
    })
    upstream.respond((_request, response) => void response.end('{}'))
    await rotated(gate, file, `${SECOND},${FIRST}`)
    expect(await status(key)).toBe(200)
    held.resolve()
    expect(await running.text()).toContain('data: last')
    // What the first secret signed is over; that the tokens are sealed anew shows with the next sign-in.
    await rotated(gate, file, SECOND)
    expect(await status(key)).toBe(401)
    expect(await status(await signedIn())).toBe(200)
    expect(gate.output()).not.toContain('canary')
  })
})

test('a new client secret is used for the next sign-in', async () => {
  const file = join(folder, 'client')
  const [right, wrong] = ['canary-right-b36d5e0f7a914c82', 'canary-wrong-80fd24ce4f8a1cbe']
  const server = await startAuthorizationServer({
    redirectUri: PASTE_URI,
    confidential: { secret: right, method: 'client_secret_basic' },
  })
  put(file, wrong)
  const gate = await start({
    CLIENT_ID: server.clientId,
    CLIENT_SECRET_FILE: file,
    REDIRECT_URI: PASTE_URI,
    OAUTH_BASE_URL: server.authorizeUrl.href,
    OAUTH_TOKEN_URL: server.tokenUrl.href,
    OAUTH_ISSUER: server.issuer,
    OAUTH_SCOPES: server.scope,
    API_BASE_URL: upstream.url,
    SESSION_SECRET: SECOND,
  })
  try {
    expect(await signIn(gate, server)).toBeUndefined()
    await rotated(gate, file, right)
    expect(await signIn(gate, server)).toStartWith('pst_')
    expect(gate.output()).not.toContain('canary')
  } finally {
    await gate.stop()
    await server.stop()
  }
})

const CREDENTIALS = ['canary:first', 'canary:second']

test('a new proxy password is used for the next connection', async () => {
  const file = join(folder, 'proxy')
  const issuer = await startIssuer()
  const proxies = await Promise.all(
    CREDENTIALS.map((credentials) => startConnectProxy({ credentials })),
  )
  const [first, second] = proxies.map(({ url }, at) =>
    url.replace('://', `://${CREDENTIALS[at]}@`),
  ) as [string, string]
  put(file, first)
  const gate = await start({
    ...UNLIMITED,
    ...usersOf(issuer),
    TINFOIL_API_KEY: 'tinfoil-key',
    TINFOIL_BASE_URL: upstream.url,
    REQUIRE_EHBP: 'false',
    IDENTITY_HASH_KEY: HASH_KEY,
    UPSTREAM_PROXY_FILE: file,
  })
  const ask = async (): Promise<number> => {
    const response = await fetch(`${gate.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await issuer.token()}` },
      body: '{"model":"m","messages":[]}',
    })
    await response.bytes()
    return response.status
  }
  const { host } = new URL(upstream.url)
  const asked = (): number[] => proxies.map((each) => each.asked.filter((to) => to === host).length)
  try {
    expect([await ask(), await ask()]).toEqual([200, 200])
    // More than one where the transport tried the runtime's sockets between the two.
    const [before, later] = asked()
    expect(later).toBe(0)
    await rotated(gate, file, second)
    expect([await ask(), await ask()]).toEqual([200, 200])
    expect(asked()[0]).toBe(before)
    expect(asked()[1]).toBeGreaterThan(0)
    expect(gate.output()).not.toContain('canary')
  } finally {
    await gate.stop()
    await Promise.all(proxies.map((each) => each.close()))
    await issuer.close()
  }
})
