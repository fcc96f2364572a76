// `postern check`: a line for everything that a start depends on, and an exit code for scripts.

import { HASH_KEY } from '../support/settings.ts'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { binary, runToEnd } from '../support/binary.ts'
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
  expect(stdout).toContain('no  key set: no ES256 key in the set')
  expect(stdout).toContain('ok  tinfoil /v1/models')
  await bad.close()
})

test.concurrent('a key set that nobody serves: exit 1, in one line', async () => {
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

test.concurrent('an upstream that nobody reaches: exit 1', async () => {
  const { exitCode, stdout } = await check({ TINFOIL_BASE_URL: 'http://127.0.0.1:1' })
  expect(exitCode).toBe(1)
  expect(stdout).toContain('no  tinfoil /v1/models: ECONNREFUSED')
})

test.concurrent('wrong settings: exit 78, and nothing is asked', async () => {
  const { exitCode, stdout, stderr } = await check({ JWKS_URL: '', ISSUER: '' })
  expect([exitCode, stdout]).toEqual([78, ''])
  expect(stderr).toContain('2 mistakes')
})
