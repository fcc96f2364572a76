// `postern check`: a line for everything that a start depends on, and an exit code for scripts.

import { HASH_KEY } from '../support/settings.ts'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { store } from '../../src/database/store.ts'
import { TABLES } from '../../src/gate/migrations.ts'
import { addKey } from '../../src/keys/store.ts'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { binary, runToEnd } from '../support/binary.ts'
import { freePort } from '../support/anthropic.ts'
import { type Forge, startForge } from '../support/forge.ts'
import { API_KEY } from '../support/gate.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

let forge: Forge
let upstream: Upstream
beforeAll(async () => {
  ;[forge, upstream] = await Promise.all([startForge(), startUpstream(), binary()])
  upstream.respond((request, response) => {
    const open = request.url === '/.well-known/hpke-keys'
    const known = request.headers.authorization === `Bearer ${API_KEY}`
    response.writeHead(open || known ? 200 : 401).end(`wrong key ${API_KEY}`)
  })
})
afterAll(() => Promise.all([forge.close(), upstream.close()]))

async function check(env: Readonly<Record<string, string>> = {}) {
  const ended = await runToEnd(['check'], {
    // Where no gate runs; at the usual port somebody may have one.
    PORT: String(await freePort()),
    ...forge.env,
    TINFOIL_API_KEY: API_KEY,
    TINFOIL_BASE_URL: upstream.url,
    IDENTITY_HASH_KEY: HASH_KEY,
    ...env,
  })
  for (const secret of [API_KEY, HASH_KEY, 'other-key']) {
    expect(ended.stdout + ended.stderr).not.toContain(secret)
  }
  return ended
}

test.concurrent('all is well: exit 0', async () => {
  const { exitCode, stdout, stderr } = await check()
  expect([exitCode, stderr]).toEqual([0, ''])
  expect(stdout.split('\n')).toEqual([
    'ok  settings',
    'ok  key set: 1 usable key',
    'ok  tinfoil /.well-known/hpke-keys: status 200',
    'ok  tinfoil /v1/models: status 200',
    '',
  ])
})

test.concurrent('a warning is said and does not fail it', async () => {
  const { exitCode, stdout } = await check({ IDENTITY_HASH_KEY: '' })
  expect(exitCode).toBe(0)
  expect(stdout).toContain('!!  IDENTITY_HASH_KEY is not set')
})

test.concurrent('a key set without a usable key: exit 1', async () => {
  const bad = await startForge()
  bad.respond((response) => void response.end('{"keys":[]}'))
  const { exitCode, stdout } = await check({ JWKS_URL: bad.jwksUrl })
  expect(exitCode).toBe(1)
  expect(stdout).toContain('no  key set: no usable key in the set')
  expect(stdout).toContain('ok  tinfoil /v1/models')
  await bad.close()
})

test.concurrent('a key set that cannot be reached: exit 1, in one line', async () => {
  const { exitCode, stdout, stderr } = await check({ JWKS_URL: 'http://127.0.0.1:1/jwks.json' })
  expect([exitCode, stderr]).toEqual([1, ''])
  expect(stdout).toMatch(/^no {2}key set: \S.*$/m)
  expect(stdout.split('\n')).toHaveLength(5)
})

test.concurrent('a key that the upstream refuses: exit 1', async () => {
  const { exitCode, stdout } = await check({ TINFOIL_API_KEY: 'other-key' })
  expect(exitCode).toBe(1)
  expect(stdout).toContain('ok  tinfoil /.well-known/hpke-keys: status 200')
  expect(stdout).toContain('no  tinfoil /v1/models: status 401')
})

test.concurrent('an upstream that cannot be reached: exit 1', async () => {
  const { exitCode, stdout } = await check({ TINFOIL_BASE_URL: 'http://127.0.0.1:1' })
  expect(exitCode).toBe(1)
  expect(stdout).toContain('no  tinfoil /v1/models: ECONNREFUSED')
})

test.concurrent('wrong settings: exit 78, and nothing is asked', async () => {
  const { exitCode, stdout, stderr } = await check({ JWKS_URL: '', ISSUER: '' })
  expect([exitCode, stdout]).toEqual([78, ''])
  expect(stderr).toContain('2 mistakes')
})

test.concurrent('each status of an upstream says what to do, and names the setting', async () => {
  const other = await startUpstream()
  let status = 200
  other.respond((request, response) => {
    response.writeHead(request.url === '/v1/models' ? status : 200).end('not shown canary')
  })
  for (const [answered, advice] of [
    [401, 'the key is not accepted: check TINFOIL_API_KEY, or its file'],
    [403, 'the key may not do this'],
    [404, 'check TINFOIL_BASE_URL, which must not include /v1'],
    [301, 'redirects are not followed: give the final address in TINFOIL_BASE_URL'],
    [429, 'try again later'],
    [503, 'the service itself fails'],
    [204, 'not a response of the API'],
  ] as const) {
    status = answered
    const { exitCode, stdout } = await check({ TINFOIL_BASE_URL: other.url })
    const line = stdout.split('\n').find((each) => each.includes(`/v1/models: status ${answered}`))
    expect([exitCode, line?.startsWith('no  ')]).toEqual([1, true])
    expect(line).toContain(advice)
    expect(stdout).not.toContain('canary')
  }
  await other.close()
})

test.concurrent('a document that is no key set is described, with where to find one', async () => {
  const other = await startForge()
  const jwks = 'https://id.example/keys.json'
  for (const [status, body, advice] of [
    [200, '<!doctype html><title>canary</title>', 'that is a web page: check JWKS_URL'],
    [200, JSON.stringify({ issuer: 'https://id.example', jwks_uri: jwks }), `JWKS_URL=${jwks}`],
    [200, '{"issuer":"https://id.example","jwks_uri":"https://x/\u001b[2J"}', 'check JWKS_URL'],
    [200, 'canary', 'check JWKS_URL'],
    [404, 'canary', 'nothing is there: check JWKS_URL'],
    [401, 'canary', 'a key set is public'],
    [503, 'canary', 'the provider itself fails'],
    [301, 'canary', 'give the final URL'],
  ] as const) {
    other.respond((response) => void response.writeHead(status).end(body))
    const { exitCode, stdout } = await check({ JWKS_URL: other.jwksUrl })
    const line = stdout.split('\n').find((each) => each.startsWith('no  key set'))
    expect([exitCode, body, line]).toEqual([1, body, expect.stringContaining(advice)])
    // oxlint-disable-next-line no-control-regex
    expect(stdout).not.toMatch(/canary|\u001b/)
  }
  await other.close()
})

test.concurrent("an ISSUER that differs from the provider's own name is reported", async () => {
  const keys = await (await fetch(forge.jwksUrl)).text()
  let document = '{}'
  const provider = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: ({ url }) => new Response(url.endsWith('/openid-configuration') ? document : keys),
  })
  const { origin } = provider.url
  document = JSON.stringify({ issuer: `${origin}/`, jwks_uri: `${origin}/other.json` })
  const JWKS_URL = `${origin}/jwks.json`
  const { exitCode, stdout } = await check({ JWKS_URL, ISSUER: origin })
  expect(exitCode).toBe(0)
  expect(stdout).toContain(
    `!!  ISSUER is not what the provider calls itself (the slash at the end counts): its tokens are refused until ISSUER=${origin}/\n`,
  )
  expect(stdout).toContain(`!!  JWKS_URL is not the provider's jwks_uri, ${origin}/other.json`)
  const right = await check({ JWKS_URL: `${origin}/other.json`, ISSUER: `${origin}/` })
  expect(right.stdout).not.toContain('!!')
  // Nobody else is asked for it.
  const foreign = await check({ JWKS_URL, ISSUER: 'https://issuer.test' })
  expect(foreign.stdout).not.toContain('!!')
  await provider.stop(true)
})

test.concurrent('keys whose policy is gone, or that live too long, are said', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-check-'))
  const file = join(folder, 'postern.db')
  const config = join(folder, 'postern.yaml')
  writeFileSync(config, 'policies: [{ name: staff }]\nkeys: { policy: staff, max_lifetime: 30d }\n')
  const opened = store(file, TABLES).open()
  if (!opened.ok) throw new Error(opened.reason)
  const now = Date.now() / 1000
  for (const [name, policy, days] of [
    ['kept', 'staff', 30],
    ['lost\u001b[2J', 'gone', 30],
    ['long', undefined, 31],
  ] as const) {
    addKey(opened.database, { name, policy, org: undefined, expiresAt: now + days * 86_400 }, now)
  }
  opened.database.close()
  const { exitCode, stdout } = await check({
    DATABASE_URL: `sqlite:${file}`,
    POSTERN_CONFIG: config,
  })
  expect(stdout).toContain('!!  keys: refused, their policy is not there: lost\\u{1b}[2J (gone)\n')
  expect(stdout).toContain('!!  keys: live longer than 30d: long\n')
  expect(stdout).not.toContain('kept')
  expect(exitCode).toBe(0)
  rmSync(folder, { recursive: true })
})

test.concurrent(
  'each upstream of kind openai is asked with its key for the models that are named',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-check-openai-'))
    const config = join(folder, 'postern.yaml')
    const server = await startUpstream()
    server.respond((request, response) => {
      const [, key, path] = /^\/(\w+)(\/.*)$/.exec(request.url ?? '') ?? []
      if (key !== 'open' && request.headers.authorization !== `Bearer ${key}-canary-0123`) {
        return void response.writeHead(401).end()
      }
      if (key === 'page') return void response.end('<!doctype html>canary')
      if (path === '/v1/models/alias') return void response.end('{"id":"alias"}')
      if (path !== '/v1/models') return void response.writeHead(404).end()
      response.end(
        JSON.stringify({ data: [{ id: 'gpt-1' }, { id: 'org/m' }, { id: 'odd\u001b[2J' }] }),
      )
    })
    const entry = (name: string, path: string, key: string | undefined, more: string) =>
      `  - { kind: openai, name: ${name}, base_url: '${server.url}/${path}/v1', callers: [key]${key === undefined ? '' : `, api_key: ${key}-canary-0123`}${more} }\n`
    writeFileSync(
      config,
      `upstreams:\n${[
        entry('all', 'one', 'one', ', models: [gpt-1, gpt-*, org/m, alias]'),
        entry('some', 'two', 'two', ', models: [gpt-1, gone, org/gone, llama-*]'),
        entry('local', 'open', undefined, ''),
        entry('wrong', 'three', 'other', ', models: [gpt-1]'),
        entry('web', 'page', 'page', ''),
        entry('asked', 'page', 'page', ', ask_models: true'),
      ].join('')}`,
      { mode: 0o600 },
    )
    const { exitCode, stdout, stderr } = await runToEnd(['check'], {
      PORT: String(await freePort()),
      POSTERN_CONFIG: config,
      IDENTITY_HASH_KEY: HASH_KEY,
    })
    expect([exitCode, stderr]).toEqual([1, ''])
    expect(stdout.split('\n').filter((line) => line.includes('/v1/models'))).toEqual([
      'ok  all /v1/models: status 200',
      'ok  some /v1/models: status 200',
      '!!  some /v1/models: does not have gone, org/gone, llama-*',
      'ok  local /v1/models: status 200',
      'no  wrong /v1/models: status 401; the key is not accepted: check the api_key of upstream wrong, or its file',
      'ok  web /v1/models: status 200',
      '!!  web /v1/models: this is no list of models: check the base_url of upstream web',
      'ok  asked /v1/models: status 200',
      'no  asked /v1/models: this is no list of models: check the base_url of upstream asked',
    ])
    // oxlint-disable-next-line no-control-regex
    expect(stdout).not.toMatch(/canary|\u001b/)
    expect(server.seen.every(({ method, body }) => method === 'GET' && body.length === 0)).toBe(
      true,
    )
    await server.close()
    rmSync(folder, { recursive: true })
  },
)
