// System B's README as it stands: its `.env`, with OAUTH_TOKEN_URL beside it and a secret that is
// one, and its six steps. The file is the shell's to read; the binary itself never does (attack 55).

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Subprocess } from 'bun'
import { userAgent } from '../../src/version.ts'
import { freePort } from '../support/anthropic.ts'
import {
  type AuthorizationServer,
  startAuthorizationServer,
} from '../support/authorization-server.ts'
import { binary, passing, runToEnd, until } from '../support/binary.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { Browser, PASTE_URI } from './scene.ts'

let folder: string
let server: AuthorizationServer
let api: Upstream
let provider: http.Server
let port: number
let dotenv: string
let gate: Subprocess<'ignore', 'pipe', 'pipe'>
let output = ''

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'postern-b-'))
  server = await startAuthorizationServer({ redirectUri: PASTE_URI })
  api = await startUpstream()
  // The provider's page stands at /oauth/authorize there, and has a scope for who names none
  // (RFC 6749 §3.3).
  provider = http.createServer((request, response) => {
    const { searchParams, pathname } = new URL(request.url ?? '/', 'http://provider.example')
    if (!searchParams.has('scope')) searchParams.set('scope', server.scope)
    const known = pathname === '/oauth/authorize'
    const location = `${server.authorizeUrl.href}?${searchParams}`
    response.writeHead(known ? 302 : 404, { location }).end()
  })
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve))
  port = await freePort()
  dotenv = `# Server
PORT=${port}
SESSION_SECRET=0f9a8b7c6d5e4f3021a2b3c4d5e6f708

# OAuth (fixed values for Anthropic)
CLIENT_ID=${server.clientId}
REDIRECT_URI=${PASTE_URI}
OAUTH_BASE_URL=http://127.0.0.1:${(provider.address() as AddressInfo).port}
API_BASE_URL=${api.url}/v1

OAUTH_TOKEN_URL=${server.tokenUrl.href}
`
  writeFileSync(join(folder, '.env'), dotenv)
  gate = Bun.spawn(['sh', '-c', 'set -a; . ./.env; set +a; exec "$0"', await binary()], {
    cwd: folder,
    env: { PATH: '/usr/bin:/bin', NO_COLOR: '1' },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  for (const stream of [gate.stdout, gate.stderr]) {
    void (async () => {
      for await (const chunk of stream) output += Buffer.from(chunk).toString()
    })()
  }
  await until(() => {
    if (gate.exitCode !== null) throw new Error(output)
    return output.includes(`127.0.0.1:${port}`)
  })
})
afterAll(async () => {
  gate.kill('SIGKILL')
  await gate.exited
  provider.close()
  provider.closeAllConnections()
  await api.close()
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

test('the six steps, as a browser goes them without a script', async () => {
  const at = `http://localhost:${port}`
  const person = new Browser(at)
  const form = {
    accept: 'text/html',
    'content-type': 'application/x-www-form-urlencoded',
    origin: at,
    'sec-fetch-site': 'same-origin',
  }
  // 2. Navigate to /auth/device.
  const page = await (await person.get('/auth/device', { accept: 'text/html' })).text()
  expect(page).toContain('action="/auth/device/start"')
  // 3. Start, and visit the generated URL.
  const started = await (await person.post('/auth/device/start', '', form)).text()
  const link = new URL(
    /href="([^"]*response_type[^"]*)"/.exec(started)?.[1]?.replaceAll('&amp;', '&') ?? '',
  )
  expect(link.pathname).toBe('/oauth/authorize')
  expect(link.searchParams.has('scope')).toBe(false)
  // 4. Copy code#state.
  const shown = await server.signIn(link)
  const code = `${shown.searchParams.get('code')}#${shown.searchParams.get('state')}`
  // 5. Paste it.
  const field = new URLSearchParams({ code })
  const ended = await (await person.post('/auth/device/submit', String(field), form)).text()
  const key = /pst_[\w-]{43}\.[\w-]{43}/.exec(ended)?.[0] ?? ''
  expect(key).not.toBe('')
  // 6. Requests to /v1/*, by the key and by the cookie, as it said that both work.
  const ask = (headers: Record<string, string>): Promise<Response> =>
    fetch(`${at}/v1/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: '{"model":"claude-haiku-4-5","max_tokens":1,"messages":[]}',
    })
  expect((await ask({ 'x-api-key': key })).status).toBe(200)
  const cookie = `postern_session=${key}`
  expect((await ask({ cookie, origin: at })).status).toBe(200)
  // Without a word of a page that asks, anybody's page may have made the browser do it.
  expect((await ask({ cookie })).status).toBe(401)
  expect(api.seen.map(({ url }) => url)).toEqual(['/v1/messages', '/v1/messages'])
  for (const { headers } of api.seen) {
    expect(await server.accountOf(headers.authorization?.slice(7) ?? '')).toBe('alice')
    expect(headers['anthropic-version']).toBe('2023-06-01')
    expect(headers['anthropic-beta']).toBe('oauth-2025-04-20')
    expect([headers.cookie, headers['x-api-key'], headers['user-agent']]).toEqual([
      undefined,
      undefined,
      userAgent,
    ])
  }
})

test('its other endpoints', async () => {
  const person = new Browser(`http://localhost:${port}`)
  const status = async (): Promise<unknown> => (await person.get('/auth/status')).json()
  expect(await status()).toEqual({ authenticated: false })
  const begun = (await (await person.post('/auth/device/start')).json()) as {
    readonly auth_url: string
    readonly state: string
  }
  expect(new URL(begun.auth_url).searchParams.get('state')).toBe(begun.state)
  const back = await server.signIn(new URL(begun.auth_url))
  const [code, state] = [back.searchParams.get('code'), back.searchParams.get('state')]
  // Taken apart, as its own page sent it.
  const ended = await person.post('/auth/device/submit', JSON.stringify({ code, state }))
  expect(await ended.json()).toMatchObject({ authenticated: true })
  expect(await status()).toMatchObject({ authenticated: true })
  expect((await person.post('/auth/refresh')).status).toBe(200)
  expect(await (await person.post('/auth/logout')).json()).toEqual({ authenticated: false })
  expect(await status()).toEqual({ authenticated: false })
  expect((await person.get('/health')).status).toBe(200)
})

test('it listens on 127.0.0.1 by default', () => {
  expect(output).toContain(`address=127.0.0.1:${port}`)
})

describe('attack 55', () => {
  test('the binary alone reads no .env: it starts nothing', async () => {
    const { exitCode, stderr } = await runToEnd([], {}, folder)
    expect(exitCode).toBe(78)
    expect(stderr).toContain('JWKS_URL')
    expect(stderr).not.toContain('CLIENT_ID is')
  })
  test('and its file as it was, with the placeholder for a secret, does not start either', async () => {
    const env: Record<string, string> = Object.fromEntries(
      dotenv.split('\n').flatMap((line) => {
        const [, name, value] = /^(\w+)=(.*)$/.exec(line) ?? []
        return name === undefined ? [] : [[name, value ?? '']]
      }),
    )
    const asWritten = { OAUTH_TOKEN_URL: '', SESSION_SECRET: 'your-strong-session-secret-here' }
    const { exitCode, stderr } = await runToEnd([], { ...env, ...asWritten })
    expect(exitCode).toBe(78)
    expect(stderr).toContain('2 mistakes')
    expect(stderr).toContain('SESSION_SECRET is a placeholder')
    expect(stderr).toContain('OAUTH_TOKEN_URL is missing')
  })
})

describe('postern check', () => {
  const check = async (env: Record<string, string> = {}) =>
    runToEnd(['check'], {
      // Where no gate runs; at the usual port somebody may have one.
      PORT: String(await freePort()),
      CLIENT_ID: 'client-1',
      REDIRECT_URI: PASTE_URI,
      OAUTH_BASE_URL: server.authorizeUrl.href,
      OAUTH_TOKEN_URL: server.tokenUrl.href,
      API_BASE_URL: api.url,
      SESSION_SECRET: 'canary0f9a8b7c6d5e4f3021a2b3c4d5e6',
      ...env,
    })
  test('tries the servers of a sign-in, and sends them nothing', async () => {
    api.seen.length = 0
    const { exitCode, stdout } = await check()
    expect(stdout.split('\n')).toEqual([
      'ok  settings',
      expect.stringMatching(/^ok {2}authorization endpoint: reached, status \d+$/),
      expect.stringMatching(/^ok {2}token endpoint: reached, status \d+$/),
      'ok  anthropic-oauth /v1/models: reached, status 200',
      '',
    ])
    expect(exitCode).toBe(0)
    expect(api.seen.map(({ headers }) => headers.authorization)).toEqual([undefined])
    expect(stdout).not.toContain('canary')
  })
  test('says which of them is not there', async () => {
    const { exitCode, stdout } = await check({ OAUTH_TOKEN_URL: 'http://127.0.0.1:1/token' })
    expect(exitCode).toBe(1)
    expect(stdout).toContain('no  token endpoint: ECONNREFUSED')
  })
})

describe('a redirect that comes back to the gate', () => {
  async function pastes(env: Record<string, string>): Promise<unknown> {
    const at = await freePort()
    const child = Bun.spawn([await binary()], {
      env: {
        CLIENT_ID: 'client-1',
        OAUTH_BASE_URL: 'https://provider.example',
        OAUTH_TOKEN_URL: 'https://provider.example/token',
        API_BASE_URL: 'https://api.example',
        SESSION_SECRET: 'canary0f9a8b7c6d5e4f3021a2b3c4d5e6',
        PORT: String(at),
        ...passing(),
        ...Object.fromEntries(
          Object.entries(env).map(([name, value]) => [name, value.replace('PORT', String(at))]),
        ),
      },
      stdout: 'ignore',
      stderr: 'ignore',
    })
    try {
      const begin = (): Promise<Response | undefined> =>
        fetch(`http://127.0.0.1:${at}/auth/device/start`, { method: 'POST' }).catch(() => undefined)
      let response = await begin()
      for (let tries = 0; !response && tries < 200; tries += 1) {
        await Bun.sleep(20)
        response = await begin()
      }
      if (!response) throw new Error('it never answered')
      return ((await response.json()) as { paste?: unknown }).paste
    } finally {
      child.kill('SIGKILL')
      await child.exited
    }
  }
  test.each([
    ['http://127.0.0.1:PORT/auth/callback', false],
    ['http://localhost:PORT/auth/callback', false],
    ['http://127.0.0.1:PORT/callback', true],
    ['http://127.0.0.1:1/auth/callback', true],
    ['https://provider.example/auth/callback', true],
  ])('%p: something is pasted: %p', async (REDIRECT_URI, expected) => {
    expect(await pastes({ REDIRECT_URI })).toBe(expected)
  })
  test('or to the proxy before it', async () => {
    const REDIRECT_URI = 'https://gate.example/auth/callback'
    expect(await pastes({ REDIRECT_URI, PROXY_BASE_URL: 'https://gate.example' })).toBe(false)
  })
})
