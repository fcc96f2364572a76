// The binary with a document of settings: the gate starts as it does by its environment, and the
// commands beside it read the same one.

import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startIssuer } from '../../src/dev/issuer.ts'
import { runToEnd, start } from '../support/binary.ts'
import { HASH_KEY } from '../support/settings.ts'
import { startUpstream } from '../support/upstream.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-settings-'))
const path = join(folder, 'postern.yaml')
const issuer = await startIssuer()
const upstream = await startUpstream()
afterAll(async () => {
  await upstream.close()
  await issuer.close()
  rmSync(folder, { recursive: true })
})

/** Without the database that a test has by default. */
const SECRETS = { TK: 'tinfoil-key-canary-1', IHK: HASH_KEY, DATABASE_URL: '' }
writeFileSync(
  path,
  `issuers:
  - issuer: ${issuer.issuer}
    jwks_url: ${issuer.jwksUrl}
    audiences: [${issuer.audience}]
upstreams:
  - kind: tinfoil
    api_key: \${TK}
    base_url: ${upstream.url}
    require_ehbp: false
limits: { requests_per_minute: 1, burst: 3 }
ledger:
  database_url: sqlite:${join(folder, 'postern.db')}
  identity_hash_key: \${IHK}
log: { format: json }
`,
)

test('a gate starts with a document, serves by it, and the commands find its database', async () => {
  const gate = await start({ ...SECRETS, POSTERN_CONFIG: path })
  try {
    const ask = async (): Promise<number> => {
      const response = await fetch(`${gate.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await issuer.token()}` },
        body: '{"model":"m","messages":[]}',
      })
      await response.bytes()
      return response.status
    }
    const statuses = [await ask(), await ask(), await ask(), await ask()]
    expect(statuses).toEqual([200, 200, 200, 429])
    expect(gate.output()).not.toContain('canary')
    const enrolled = await runToEnd(['enrol'], { ...SECRETS, POSTERN_CONFIG: path })
    expect(enrolled.exitCode).toBe(0)
    expect(enrolled.stderr).toContain('1 of 1 uses left')
  } finally {
    await gate.stop()
  }
})

test('the users of two issuers are served, and those of a third are not', async () => {
  const [second, third] = [await startIssuer(), await startIssuer()]
  const two = join(folder, 'two.yaml')
  const entry = (name: string, { issuer: iss, jwksUrl, audience }: typeof issuer): string =>
    `  - { name: ${name}, issuer: "${iss}", jwks_url: "${jwksUrl}", audiences: [${audience}] }\n`
  const text = await Bun.file(path).text()
  const issuers = `issuers:\n${entry('one', issuer)}${entry('two', second)}`
  writeFileSync(two, issuers + text.slice(text.indexOf('upstreams:')))
  const gate = await start({ ...SECRETS, POSTERN_CONFIG: two })
  try {
    const statuses = [issuer, second, third].map(async (each) => {
      const response = await fetch(`${gate.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await each.token()}` },
        body: '{"model":"m","messages":[]}',
      })
      await response.bytes()
      return response.status
    })
    expect(await Promise.all(statuses)).toEqual([200, 200, 401])
  } finally {
    await gate.stop()
    await second.close()
    await third.close()
  }
})

test('`check`, `config` and `schema`', async () => {
  const env = { ...SECRETS, POSTERN_CONFIG: path, HOST: '127.0.0.1', PORT: '0' }
  const checked = await runToEnd(['check'], env)
  expect([checked.exitCode, checked.stderr]).toEqual([0, ''])
  const printed = await runToEnd(['config'], env)
  expect(printed).toMatchObject({ exitCode: 0, stderr: '' })
  expect(printed.stdout).toContain('api_key: ${TK}')
  expect(printed.stdout).toContain('host: 127.0.0.1')
  expect(printed.stdout).not.toContain('canary')
  const schema = await runToEnd(['schema'])
  const { properties } = JSON.parse(schema.stdout)
  expect(Object.keys(properties)).toContain('upstreams')
  expect(schema.stdout).not.toContain('"setting"')
})

test('a wrong one starts nothing', async () => {
  const wrong = join(folder, 'wrong.yaml')
  writeFileSync(wrong, 'listen:\n  prot: 1\n')
  const ended = await runToEnd(['--config', wrong], { DATABASE_URL: 'sqlite::memory:' })
  expect(ended.exitCode).toBe(78)
  expect(ended.stderr).toContain(
    `  ${wrong}:2:3 listen.prot is not known\n      did you mean port?\n`,
  )
  const usage = await runToEnd(['usage'], { POSTERN_CONFIG: wrong, DATABASE_URL: '' })
  expect([usage.exitCode, usage.stdout]).toEqual([78, ''])
  expect(usage.stderr).toContain('listen.prot is not known')
})
