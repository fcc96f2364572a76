// Attacks 33 and 55: what stops a start, and what does not get to say anything about it.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, existsSync, mkdtempSync, writeFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { binary, runToEnd, start } from '../support/binary.ts'
import { API_KEY } from '../support/gate.ts'

beforeAll(() => binary())

const GOOD = {
  JWKS_URL: 'http://127.0.0.1:1/jwks.json',
  ISSUER: 'https://issuer.test',
  AUDIENCES: 'aud',
  TINFOIL_API_KEY: API_KEY,
  TINFOIL_BASE_URL: 'http://127.0.0.1:1',
  HOST: '127.0.0.1',
  PORT: '0',
}
const folder = (): string => mkdtempSync(join(tmpdir(), 'postern-'))

interface Ended {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}
function isRefused({ exitCode, stdout, stderr }: Ended, ...words: readonly string[]): void {
  expect([exitCode, stdout]).toEqual([78, ''])
  for (const word of words) expect(stderr).toContain(word)
}

describe('attack 33: settings that are wrong stop the start, with 78 and every mistake at once', () => {
  test.concurrent('nothing set at all', async () => {
    const ended = await runToEnd([])
    isRefused(ended, 'JWKS_URL', 'ISSUER', 'AUDIENCES', 'TINFOIL_API_KEY', '4 mistakes')
  })

  test.concurrent('ten mistakes are ten lines, and no secret is repeated', async () => {
    const ended = await runToEnd(['dance', '--no-such-flag'], {
      ...GOOD,
      TINFOIL_API_KEY: 'two words-canary',
      IDENTITY_HASH_KEY: 'short-canary',
      PORT: '65536',
      RATE_LIMIT_RPM: '-1',
      JWKS_URL: 'http://issuer.test/jwks.json',
      TINFOIL_BASE_URL: 'https://user:canary@upstream.test',
      REQUIRE_EHBP: 'maybe',
      AUDIENCES: ' , ',
    })
    isRefused(
      ended,
      '10 mistakes',
      '--no-such-flag',
      'dance',
      'TINFOIL_API_KEY',
      'IDENTITY_HASH_KEY',
      'PORT',
      'RATE_LIMIT_RPM',
      'JWKS_URL',
      'TINFOIL_BASE_URL',
      'REQUIRE_EHBP',
      'AUDIENCES',
    )
    expect(ended.stderr).not.toContain('canary')
  })

  test.concurrent('a hash key of 31 bytes', async () => {
    const ended = await runToEnd([], { ...GOOD, IDENTITY_HASH_KEY: 'ab'.repeat(31) })
    isRefused(ended, '1 mistake', 'IDENTITY_HASH_KEY', 'openssl rand')
    expect(ended.stderr).not.toContain('abab')
  })
})

describe('attack 55: the surroundings of the process', () => {
  for (const [name, value] of [
    ['NODE_TLS_REJECT_UNAUTHORIZED', '0'],
    ['BUN_OPTIONS', '--smol'],
  ] as const) {
    test.concurrent(`${name}=${value} stops the start`, async () => {
      isRefused(await runToEnd([], { ...GOOD, [name]: value }), '1 mistake', name)
    })
  }

  test.concurrent('.env and bunfig.toml of the working directory have no say', async () => {
    const cwd = folder()
    const proof = join(cwd, 'proof')
    const preload = join(cwd, 'preload.ts')
    writeFileSync(preload, `require('node:fs').writeFileSync(${JSON.stringify(proof)}, 'ran')`)
    writeFileSync(join(cwd, 'bunfig.toml'), `preload = [${JSON.stringify(preload)}]\n`)
    const env = Object.entries(GOOD).map(([name, value]) => `${name}=${value}\n`)
    for (const file of ['.env', '.env.production', '.env.local']) {
      writeFileSync(join(cwd, file), env.join(''))
    }
    isRefused(await runToEnd([], {}, cwd), '4 mistakes')
    const running = await start({ ...GOOD }, { cwd })
    await running.stop()
    expect(existsSync(proof)).toBe(false)
  })

  test.concurrent(
    'a key file that everybody can read stops the start; a private one serves',
    async () => {
      const file = join(folder(), 'key')
      writeFileSync(file, `${API_KEY}\n`)
      const { TINFOIL_API_KEY: _, ...rest } = GOOD
      const env = { ...rest, TINFOIL_API_KEY_FILE: file }
      chmodSync(file, 0o644)
      const refused = await runToEnd([], env)
      isRefused(refused, '1 mistake', 'TINFOIL_API_KEY_FILE', 'chmod')
      expect(refused.stderr).not.toContain(API_KEY)
      chmodSync(file, 0o600)
      const running = await start(env)
      await running.stop()
      expect(running.output()).not.toContain(API_KEY)
    },
  )

  test.concurrent(
    'a key on the command line causes a warning that everybody can see it',
    async () => {
      const { TINFOIL_API_KEY: _, ...rest } = GOOD
      const running = await start(rest, { args: ['--tinfoil-api-key', API_KEY] })
      expect(running.output()).toContain('--tinfoil-api-key shows a secret')
      await running.stop()
      expect(running.output()).not.toContain(API_KEY)
    },
  )
})

describe('the port', () => {
  const taken = net.createServer()
  let port = 0
  beforeAll(async () => {
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    port = (taken.address() as AddressInfo).port
  })
  afterAll(() => void taken.close())

  test('in use: exit 1, in one line, without a stack', async () => {
    const ended = await runToEnd([], { ...GOOD, PORT: String(port), LOG_LEVEL: 'error' })
    expect(ended.exitCode).toBe(1)
    expect(ended.stdout).toBe('')
    expect(ended.stderr).toMatch(/^postern: cannot listen: [^\n]+\n$/)
  })

  test('of a gate is never shared with a second one', async () => {
    const first = await start(GOOD)
    const ended = await runToEnd([], { ...GOOD, PORT: String(first.port), LOG_LEVEL: 'error' })
    expect(ended.exitCode).toBe(1)
    expect((await fetch(`${first.url}/health`)).status).toBe(200)
    await first.stop()
  })
})

describe('asking without starting', () => {
  test.concurrent('--version says version, commit and runtime, and nothing else', async () => {
    for (const flag of ['--version', '-V']) {
      const { exitCode, stdout, stderr } = await runToEnd([flag])
      expect([exitCode, stderr]).toEqual([0, ''])
      expect(stdout).toMatch(
        /^postern \d+\.\d+\.\d+ \((?:[0-9a-f]{12}\+?|unknown), bun 1\.4\.4\)\n$/,
      )
    }
  })

  test.concurrent('--help names every setting, with its variable, and shows no value', async () => {
    for (const flag of ['--help', '-h']) {
      const { exitCode, stdout, stderr } = await runToEnd([flag], GOOD)
      expect([exitCode, stderr]).toEqual([0, ''])
      for (const word of [
        '--jwks-url',
        'RATE_LIMIT_RPM',
        '--tinfoil-api-key-file',
        'default: 5381',
      ]) {
        expect(stdout).toContain(word)
      }
      expect(stdout).not.toContain(API_KEY)
    }
  })
})
