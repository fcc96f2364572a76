// A device that a user enrols by their JWT gets no further than the user: neither to another model, route
// or upstream than the user's policy names, nor out of the user's organisation.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { put, told } from '../process/reload-scene.ts'
import { type Running, runToEnd, start } from '../support/binary.ts'
import { HASH_KEY, UNLIMITED } from '../support/settings.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-user-policy-'))
const path = join(folder, 'postern.yaml')
const HAIKU = 'claude-haiku-4-5'
const OPUS = 'claude-opus-4-5'

let issuer: DevIssuer
let upstream: Upstream
let gate: Running

const GUESTS = '{ name: guests, models: [claude-haiku-*], routes: [messages] }'
const written = (guests = GUESTS): string => `issuers:
  - { issuer: "${issuer.issuer}", jwks_url: "${issuer.jwksUrl}", audiences: [${issuer.audience}],
      groups_claim: groups, organisation_claim: tenant }
upstreams:
  - { kind: anthropic, api_key: upstream-key, base_url: "${upstream.url}", callers: [user, device] }
devices:
  signing_secrets: [b36d5e0f7a914c8280fd24ce4f8a1cbe]
  bootstrap: jwt
  base_url: "http://127.0.0.1:1"
policies:
  - ${guests}
  - { name: portable, models: [claude-haiku-*, claude-sonnet-*] }
rules:
  - { kind: user, group: guests, policy: guests }
  - { kind: user, group: travellers, policy: portable }
  - { kind: device, organisation: acme, policy: portable }
ledger: { database_url: "sqlite:${join(folder, 'postern.db')}", identity_hash_key: ${HASH_KEY} }
`

beforeAll(async () => {
  issuer = await startIssuer()
  upstream = await startUpstream()
  upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end('{"data":[],"has_more":false}')
  })
  put(path, written())
  gate = await start({ ...UNLIMITED, POSTERN_CONFIG: path, DATABASE_URL: '' })
})
afterAll(async () => {
  await gate.stop()
  await upstream.close()
  await issuer.close()
  rmSync(folder, { recursive: true })
})

async function ask(token: string, model: string): Promise<number> {
  const response = await fetch(`${gate.url}/v1/messages`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({ model, max_tokens: 5, messages: [] }),
  })
  await response.bytes()
  return response.status
}
async function enrolled(user: string, id: string): Promise<string> {
  const answer = await fetch(`${gate.url}/bootstrap`, {
    method: 'POST',
    headers: { authorization: `Bearer ${user}` },
    body: JSON.stringify({ device_id: id }),
  })
  return ((await answer.json()) as { wrapper_token: string }).wrapper_token
}
async function about(token: string) {
  const headers = { authorization: `Bearer ${token}` }
  const answer = await fetch(`${gate.url}/device`, { headers })
  return (await answer.json()) as { org_id: unknown; policy: { name: string; models: unknown } }
}

test('a model or a route that the user may not have, their device may not have either', async () => {
  const user = await issuer.token({ sub: 'gus', groups: ['guests'] })
  const device = await enrolled(user, 'gus-laptop')
  for (const token of [user, device]) {
    expect([await ask(token, HAIKU), await ask(token, OPUS)]).toEqual([200, 404])
    const headers = { authorization: `Bearer ${token}` }
    expect((await fetch(`${gate.url}/v1/models`, { headers })).status).toBe(403)
  }
  expect((await about(device)).policy).toMatchObject({ name: 'guests' })
  const refreshed = await fetch(`${gate.url}/refresh`, {
    method: 'POST',
    headers: { authorization: `Bearer ${device}` },
  })
  const { wrapper_token: next } = (await refreshed.json()) as { wrapper_token: string }
  expect([await ask(next, HAIKU), await ask(next, OPUS)]).toEqual([200, 404])
})

test("a rule for devices narrows that, and the organisation is the user's", async () => {
  const user = await issuer.token({ sub: 'tess', groups: ['guests'], tenant: 'acme' })
  const device = await enrolled(user, 'tess-laptop')
  expect(await about(device)).toMatchObject({
    org_id: 'acme',
    policy: { name: 'portable', models: ['claude-haiku-*'] },
  })
  // What the claims of a token say of it counts for nothing.
  const liar = await issuer.token({ sub: 'lia', groups: ['guests'], user_policy: 'portable' })
  expect(await ask(await enrolled(liar, 'lia-laptop'), OPUS)).toBe(404)
})

test('a user to whom no rule gives a policy gives none to their device', async () => {
  const device = await enrolled(await issuer.token({ sub: 'ada' }), 'ada-laptop')
  expect([await ask(device, OPUS), (await about(device)).policy.name]).toEqual([200, 'devices'])
})

test('a reload of the policy holds for the device, and without the policy it may do nothing', async () => {
  const device = await enrolled(
    await issuer.token({ sub: 'gil', groups: ['guests'] }),
    'gil-laptop',
  )
  const wider = '{ name: guests, models: [claude-*] }'
  await told(gate, 'settings reloaded', () => put(path, written(wider)))
  expect(await ask(device, OPUS)).toBe(200)
  const renamed = written()
    .replaceAll('guests', 'visitors')
    .replace('group: visitors', 'group: guests')
  await told(gate, 'settings reloaded', () => put(path, renamed))
  expect(await ask(device, HAIKU)).toBe(403)
  const env = { POSTERN_CONFIG: path, DATABASE_URL: '' }
  const [listed, checked] = [await runToEnd(['devices'], env), await runToEnd(['check'], env)]
  expect(listed.stdout).toContain("user's guests: every model")
  expect(checked.stdout + checked.stderr).toMatch(
    /devices: \d+ refused, their policy is not there: guests/,
  )
})
