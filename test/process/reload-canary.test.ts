// A reload tells names of settings, and nothing of what they hold: no secret, no URL, and no word of what
// stands in any file, however wrong that is.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { type Running, start } from '../support/binary.ts'
import { changedBy, put, told } from './reload-scene.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-canary-'))
const at = (name: string): string => join(folder, name)
const path = at('postern.yaml')
const FILES = ['tinfoil', 'anthropic', 'jwt', 'admin', 'hash', 'old', 'proxy'] as const
type Name = (typeof FILES)[number]

let issuer: DevIssuer
let gate: Running

const hex = (digit: string): string =>
  `${digit}8abc8a3882ad46e9db089d4950cfdbcc5328ae566102983d6d1c0f1b33fa9ee`
const right = (n: number): Readonly<Record<Name, string>> => ({
  tinfoil: `canary-tinfoil-${n}`,
  anthropic: `canary-anthropic-${n}`,
  jwt: `canary-jwt-b36d5e0f7a914c8280fd24ce-${n}`,
  admin: `canary-admin-4f8a1cbe907d2356e1b07-${n}`,
  hash: hex(n % 2 === 0 ? '1' : '3'),
  old: hex(n % 2 === 0 ? '3' : '1'),
  proxy: `http://canary-user:canary-password@canary-proxy-${n}.example:3128`,
})

const document = (n: number, more = ''): string => `issuers:
  - { name: a, issuer: "${issuer.issuer}", jwks_url: "${issuer.jwksUrl}", audiences: [canary-aud-${n}] }
  - { name: b, issuer: "https://canary-issuer-${n}.example/canary-path", audiences: [x] }
upstreams:
  - { kind: tinfoil, api_key_file: ${at('tinfoil')}, base_url: "https://canary-tinfoil.example/p" }
  - { kind: anthropic, api_key_file: ${at('anthropic')}, base_url: "https://canary-anthropic.example" }
admin: { token_file: ${at('admin')} }
devices:
  signing_secrets_file: ${at('jwt')}
  bootstrap: code
  base_url: "https://canary-gate.example"
listen: { cors_origins: ["https://canary-origin-${n}.example"] }
egress: { proxy_file: ${at('proxy')}, ca_file: ${at('ca.pem')}, no_proxy: canary-host-${n}.example }
ledger:
  identity_hash_key_file: ${at('hash')}
  identity_hash_keys_old_file: ${at('old')}
  prices_file: ${at('prices.json')}
${more}`

const CA = `-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIUGWcanaryZpjH0RsT9gJt0h0nS4EwCgYIKoZIzj0EAwIw
-----END CERTIFICATE-----
`
const PRICE = { input: 1, output: 1, cache_read: 0, cache_write_5m: 0, cache_write_1h: 0 }
const prices = (name: string): string =>
  JSON.stringify({ date: '2026-11-29', source: 'canary-source', models: { [name]: PRICE } })

function putAll(n: number): void {
  for (const [name, text] of Object.entries(right(n))) put(at(name), text)
  put(at('prices.json'), prices(`canary-model-${n}`))
  put(path, document(n))
}

beforeAll(async () => {
  issuer = await startIssuer()
  const { authority } = await import('../support/authority.ts')
  const ca = authority()
  writeFileSync(at('ca.pem'), await Bun.file(ca.file).text())
  ca.close()
  putAll(0)
  gate = await start({ POSTERN_CONFIG: path, LOG_LEVEL: 'debug', DATABASE_URL: 'sqlite::memory:' })
})
afterAll(async () => {
  await gate.stop()
  await issuer.close()
  rmSync(folder, { recursive: true })
})

const CANARY = /canary|8abc8a3882ad46e9|127\.0\.0\.1:(?!\d+",)/i

/** But where this folder has the word in its own name, and where the gate itself listens. */
const output = (): string => gate.output().replaceAll(folder, 'FOLDER').replaceAll(gate.url, '')

test('all of them at once', async () => {
  await told(gate, 'settings reloaded', () => {
    putAll(1)
    gate.process.kill('SIGHUP')
  })
  expect(String(changedBy(gate)).split(', ')).toContain('UPSTREAM_PROXY')
})

const WRONG: Readonly<Record<string, () => void>> = {
  'a syntax error': () => put(path, document(1, 'canary: [canary-secret, {\n')),
  'a text that is no document': () => put(path, 'canary-secret-of-somebody'),
  'a value of another kind': () => put(path, document(1, 'limits: { burst: canary-secret }\n')),
  'a URL that is none': () =>
    put(path, document(1).replaceAll('https://canary-tinfoil', 'ftp://canary-x')),
  'an issuer that is none': () =>
    put(path, document(1).replaceAll('https://canary-issuer', 'http://canary-plain')),
  'a policy that is not there': () =>
    put(path, document(1, 'rules: [{ kind: user, policy: canary-policy }]\n')),
  'a variable that is not there': () =>
    put(path, document(1, 'log: { format: "${NOT_SET_ANYWHERE}" }\n')),
  certificates: () => put(at('ca.pem'), CA),
  prices: () => put(at('prices.json'), prices('canary').slice(0, -9)),
  'prices of another form': () => put(at('prices.json'), '{"models":{"canary":{"canary":1}}}'),
  ...Object.fromEntries(
    FILES.map((name) => [`the secret of ${name}`, () => put(at(name), `canary ${name} ä\n`)]),
  ),
  'a secret that others may read': () => chmodSync(at('tinfoil'), 0o644),
}

for (const [what, change] of Object.entries(WRONG)) {
  test(`wrong: ${what}`, async () => {
    const ca = await Bun.file(at('ca.pem')).text()
    const before = gate.lines().length
    await told(gate, 'those of before go on', () => {
      change()
      gate.process.kill('SIGHUP')
    })
    const lines = gate.lines().slice(before)
    expect(lines.length).toBeGreaterThan(1)
    writeFileSync(at('ca.pem'), ca)
    await told(gate, 'settings reloaded', () => {
      rmSync(at('tinfoil'))
      putAll(1)
      gate.process.kill('SIGHUP')
    })
    expect(CANARY.exec(output())?.[0]).toBeUndefined()
  })
}
