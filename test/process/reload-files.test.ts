// How files change in the world: Kubernetes swaps a symbolic link above them, editors put another in their
// place, a deployment writes slowly or deletes first. And what they hold: prices, certificates to trust.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { authority } from '../support/authority.ts'
import { type Running, start, until } from '../support/binary.ts'
import { HASH_KEY, UNLIMITED, usersOf } from '../support/settings.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { changedBy, put, said, told } from './reload-scene.ts'

const RELOADED = 'settings reloaded'

let folder: string
let issuer: DevIssuer
let upstream: Upstream

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'postern-files-'))
  issuer = await startIssuer()
  upstream = await startUpstream()
})
afterAll(async () => {
  await upstream.close()
  await issuer.close()
  rmSync(folder, { recursive: true })
})

async function ask(gate: Running): Promise<Response> {
  const response = await fetch(`${gate.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await issuer.token()}` },
    body: '{"model":"m","messages":[]}',
  })
  await response.bytes()
  return response
}

const keySent = async (gate: Running): Promise<string | undefined> => {
  expect((await ask(gate)).status).toBe(200)
  return upstream.seen.at(-1)?.headers.authorization
}

const written = (key: string, level = 'info'): string => `issuers:
  - { issuer: "${issuer.issuer}", jwks_url: "${issuer.jwksUrl}", audiences: [${issuer.audience}] }
upstreams:
  - { kind: tinfoil, api_key_file: ${key}, base_url: "${upstream.url}", require_ehbp: false }
ledger: { identity_hash_key: ${HASH_KEY} }
log: { level: ${level} }
`

describe('a volume of Kubernetes', () => {
  let volume: string
  let gate: Running
  let times = 0

  /** As kubelet writes a ConfigMap or a Secret: a folder, a link to it that is swapped, the old one gone. */
  function swap(files: Readonly<Record<string, string>>): void {
    times += 1
    const at = (name: string): string => join(volume, name)
    const next = `..2026_11_29.${times}`
    mkdirSync(at(next), { recursive: true })
    for (const [name, text] of Object.entries(files)) {
      writeFileSync(join(at(next), name), text, { mode: 0o440 })
    }
    symlinkSync(next, at('..data_tmp'))
    renameSync(at('..data_tmp'), at('..data'))
    if (times > 1) rmSync(at(`..2026_11_29.${times - 1}`), { recursive: true })
    else for (const name of Object.keys(files)) symlinkSync(`..data/${name}`, at(name))
  }
  const both = (key: string, level?: string) => ({
    'postern.yaml': written(join(volume, 'key'), level),
    key: `${key}\n`,
  })

  beforeAll(async () => {
    volume = join(folder, 'volume')
    swap(both('key-1'))
    gate = await start({ ...UNLIMITED, POSTERN_CONFIG: join(volume, 'postern.yaml') })
  })
  afterAll(() => gate.stop())

  test('is read again when its link is swapped, both files at once', async () => {
    expect(await keySent(gate)).toBe('Bearer key-1')
    await told(gate, RELOADED, () => swap(both('key-2', 'debug')))
    expect(changedBy(gate)).toBe('TINFOIL_API_KEY, LOG_LEVEL')
    expect(await keySent(gate)).toBe('Bearer key-2')
    await told(gate, RELOADED, () => swap(both('key-3', 'info')))
    expect(await keySent(gate)).toBe('Bearer key-3')
    expect(said(gate, RELOADED)).toBe(2)
    expect(said(gate, 'mistakes')).toBe(0)
  })

  test('with a mistake in it changes nothing, until the next is right', async () => {
    await told(gate, 'those of before go on', () => swap({ ...both('key-4'), 'postern.yaml': '{' }))
    expect(await keySent(gate)).toBe('Bearer key-3')
    await told(gate, RELOADED, () => swap(both('key-4')))
    expect(await keySent(gate)).toBe('Bearer key-4')
  })
})

describe('a file by itself', () => {
  let path: string
  let key: string
  let gate: Running

  beforeAll(async () => {
    path = join(folder, 'postern.yaml')
    key = join(folder, 'key')
    put(key, 'key-1')
    put(path, written(key))
    gate = await start({ ...UNLIMITED, POSTERN_CONFIG: path })
  })
  afterAll(() => gate.stop())

  test('is read again if an editor replaces it, or writes into it', async () => {
    await told(gate, RELOADED, () => put(key, 'key-2'))
    expect(await keySent(gate)).toBe('Bearer key-2')
    // vim: the old one aside, a new one, the old one gone.
    await told(gate, RELOADED, () => {
      renameSync(key, `${key}~`)
      writeFileSync(key, 'key-3', { mode: 0o600 })
      unlinkSync(`${key}~`)
    })
    expect(await keySent(gate)).toBe('Bearer key-3')
    await told(gate, RELOADED, () => writeFileSync(key, 'key-4'))
    expect(await keySent(gate)).toBe('Bearer key-4')
  })

  test('that is gone for a moment is waited for', async () => {
    for (let tries = 1; ; tries += 1) {
      const before = said(gate, 'mistakes')
      const began = performance.now()
      unlinkSync(key)
      // Longer than a look, and shorter than it is waited for.
      await Bun.sleep(800)
      let goneMs = Infinity
      await told(gate, RELOADED, () => {
        put(key, `key-5-${tries}`)
        goneMs = performance.now() - began
      })
      // A busy machine may have slept too long to show it.
      if (goneMs > 1900 && tries < 20) continue
      expect([goneMs < 1900, said(gate, 'mistakes')]).toEqual([true, before])
      break
    }
    await told(gate, RELOADED, () => put(key, 'key-5'))
    expect(await keySent(gate)).toBe('Bearer key-5')
  })

  test('that is missing or half written is logged once, and read again until it is valid', async () => {
    const before = said(gate, 'those of before go on')
    await told(gate, 'those of before go on', () => unlinkSync(key))
    expect(await keySent(gate)).toBe('Bearer key-5')
    await told(gate, RELOADED, () => put(key, 'key-6'))
    const whole = written(key)
    await told(gate, 'those of before go on', () => {
      writeFileSync(path, whole.slice(0, whole.indexOf('base_url')))
    })
    expect(await keySent(gate)).toBe('Bearer key-6')
    await told(gate, RELOADED, () => writeFileSync(path, whole))
    expect(said(gate, 'those of before go on')).toBe(before + 2)
    // A link of a folder that is not there yet, as where a volume is mounted late.
    await told(gate, 'those of before go on', () => {
      rmSync(key)
      symlinkSync(join(folder, 'later', 'key'), key)
    })
    await told(gate, RELOADED, () => {
      mkdirSync(join(folder, 'later'))
      put(join(folder, 'later', 'key'), 'key-7')
    })
    expect(await keySent(gate)).toBe('Bearer key-7')
  })

  test('is not read any more by a gate that drains', async () => {
    const finish = Promise.withResolvers<void>()
    upstream.respond(async (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: first\n\n')
      await finish.promise
      response.end('data: last\n\n')
    })
    const stream = await fetch(`${gate.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await issuer.token()}` },
      body: '{"model":"m","messages":[]}',
    })
    const before = said(gate, RELOADED)
    gate.process.kill('SIGHUP')
    gate.process.kill('SIGTERM')
    gate.process.kill('SIGHUP')
    await until(() => said(gate, 'draining') > 0)
    put(key, 'key-8')
    finish.resolve()
    expect(await stream.text()).toBe('data: first\n\ndata: last\n\n')
    expect(await gate.process.exited).toBe(0)
    expect(said(gate, RELOADED) - before).toBeLessThanOrEqual(1)
    upstream.respond((_request, response) => void response.end('{}'))
  })
})

test('certificates hold for the next connection, and a wrong file changes nothing', async () => {
  const [old, next] = [authority('old'), authority('next')]
  const server = https.createServer(next.issue('127.0.0.1'), (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const bundle = join(folder, 'ca.pem')
  put(bundle, readFileSync(old.file, 'utf8'))
  const gate = await start({
    ...UNLIMITED,
    ...usersOf(issuer),
    TINFOIL_API_KEY: 'tinfoil-key',
    TINFOIL_BASE_URL: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    IDENTITY_HASH_KEY: HASH_KEY,
    REQUIRE_EHBP: 'false',
    UPSTREAM_CA_FILE: bundle,
  })
  try {
    expect((await ask(gate)).status).toBe(502)
    const both = [old, next].map(({ file }) => readFileSync(file, 'utf8')).join('')
    await told(gate, RELOADED, () => put(bundle, both))
    expect(changedBy(gate)).toBe('UPSTREAM_CA_FILE')
    expect((await ask(gate)).status).toBe(200)
    await told(gate, 'those of before go on', () => put(bundle, both.slice(0, -60)))
    expect((await ask(gate)).status).toBe(200)
    // One that is dropped is trusted by no new connection, and no old one is kept for it.
    await told(gate, RELOADED, () => put(bundle, readFileSync(old.file, 'utf8')))
    expect((await ask(gate)).status).toBe(502)
  } finally {
    await gate.stop()
    server.close()
    server.closeAllConnections()
    old.close()
    next.close()
  }
})

test('new prices apply to requests that end from then on', async () => {
  const file = join(folder, 'prices.json')
  const price = (input: number): string =>
    JSON.stringify({
      date: '2026-11-29',
      server_tools: {},
      models: {
        m: { input, output: 0, cache_read: 0, cache_write_5m: 0, cache_write_1h: 0 },
      },
    })
  put(file, price(1))
  const gate = await start({
    ...UNLIMITED,
    ...usersOf(issuer),
    TINFOIL_API_KEY: 'tinfoil-key',
    TINFOIL_BASE_URL: upstream.url,
    IDENTITY_HASH_KEY: HASH_KEY,
    REQUIRE_EHBP: 'false',
    PRICES_FILE: file,
  })
  upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(
      JSON.stringify({ model: 'm', usage: { prompt_tokens: 1000, completion_tokens: 1 } }),
    )
  })
  const cost = async (): Promise<unknown> =>
    (await gate.logged((await ask(gate)).headers.get('x-request-id') ?? ''))['cost_micro_usd']
  try {
    expect(await cost()).toBe(1000)
    await told(gate, RELOADED, () => put(file, price(3)))
    expect(changedBy(gate)).toBe('PRICES_FILE')
    expect(await cost()).toBe(3000)
    await told(gate, 'those of before go on', () => put(file, price(5).slice(0, -5)))
    expect(await cost()).toBe(3000)
  } finally {
    await gate.stop()
    upstream.respond((_request, response) => void response.end('{}'))
  }
})
