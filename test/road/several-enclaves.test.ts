// Two upstreams of Tinfoil, one of them for some models: what is sealed, and the keys that it is sealed
// with, belong to the one that serves every model.

import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { type Running, start } from '../support/binary.ts'
import { ENCAPSULATED_KEY } from '../support/gate.ts'
import { UNLIMITED, usersOf } from '../support/settings.ts'
import { bearer, eventually } from '../support/sink.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-enclaves-'))
const config = join(folder, 'postern.json')
let issuer: DevIssuer
let few: Upstream
let all: Upstream
let gate: Running
let token: string

beforeAll(async () => {
  issuer = await startIssuer()
  few = await startUpstream()
  all = await startUpstream()
  const entry = (name: string, { url }: Upstream, more: object = {}) => ({
    kind: 'tinfoil',
    name,
    api_key: `${name}-key-canary`,
    require_ehbp: false,
    base_url: url,
    attestation_url: url,
    ...more,
  })
  const upstreams = [entry('few', few, { models: ['gpt-oss-*'] }), entry('all', all)]
  writeFileSync(config, JSON.stringify({ upstreams }), { mode: 0o600 })
  gate = await start({ ...UNLIMITED, ...usersOf(issuer), POSTERN_CONFIG: config })
  await eventually(async () => (await fetch(`${gate.url}/readyz`)).ok)
  token = await issuer.token()
})
afterAll(async () => {
  await gate.stop()
  await few.close()
  await all.close()
  await issuer.close()
  rmSync(folder, { recursive: true })
})
beforeEach(() => {
  few.seen.length = 0
  all.seen.length = 0
})

const reached = () => [few, all].map(({ seen }) => seen.map(({ url }) => url))
async function ask(body: string, headers: Readonly<Record<string, string>> = {}): Promise<void> {
  const answer = await fetch(`${gate.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...bearer(token), 'content-type': 'application/json', ...headers },
    body,
  })
  await answer.bytes()
}

test('keys and attestation come from the upstream that serves every model', async () => {
  for (const path of ['/.well-known/hpke-keys', '/attestation']) {
    await (await fetch(gate.url + path)).bytes()
  }
  expect(reached()).toEqual([[], ['/.well-known/hpke-keys', '/attestation']])
})

test('sealed bodies go there, whatever they contain; plain ones go by their model', async () => {
  await ask('{"model":"gpt-oss-120b"}', { 'ehbp-encapsulated-key': ENCAPSULATED_KEY })
  expect(reached()).toEqual([[], ['/v1/chat/completions']])
  await ask('{"model":"gpt-oss-120b","messages":[]}')
  expect(few.seen.map(({ headers }) => headers.authorization)).toEqual(['Bearer few-key-canary'])
  await ask('{"model":"other","messages":[]}')
  expect(all.seen.at(-1)?.headers.authorization).toBe('Bearer all-key-canary')
})
