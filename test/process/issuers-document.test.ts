// The binary with a document of three issuers, two of them found by discovery: each one's users are
// served, and by nobody else's keys.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Running, runToEnd, start } from '../support/binary.ts'
import { PATIENCE_MS } from '../support/patience.ts'
import { HASH_KEY } from '../support/settings.ts'
import { signer } from '../support/signers.ts'
import { RESOURCE, type TokenServer, tokenServer } from '../support/token-server.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-issuers-'))
const SECRETS = { TK: 'tinfoil-key-canary-2', IHK: HASH_KEY }
/** In the shape of Keycloak's, with the kid of a key that the others have, too. */
const realm = signer('PS256', { kid: 'RS256' })
let upstream: Upstream
let keycloak: Upstream
let rs: TokenServer
let ed: TokenServer
let gate: Running

const documentOf = (issuerOfRs: string): string => {
  const path = join(folder, `${Bun.hash(issuerOfRs)}.yaml`)
  writeFileSync(
    path,
    `issuers:
  - name: rs
    issuer: ${issuerOfRs}
    audiences: [${RESOURCE}]
  - name: ed
    issuer: ${ed.issuer}
    audiences: [${RESOURCE}]
    algorithms: [EdDSA]
  - name: realm
    issuer: https://id.example/realms/staff
    jwks_url: ${keycloak.url}/certs
    audiences: [app]
    audience_claims: [azp]
    scope: { optional: true }
    groups_claim: realm_access.roles
    organisation_claim: tenant
    required_claims: [realm_access.roles=staff]
policies:
  - { name: tenants, organisation: { requests_per_minute: 1, burst: 1 } }
rules: [{ issuer: realm, policy: tenants }]
upstreams:
  - kind: tinfoil
    api_key: \${TK}
    base_url: ${upstream.url}
    require_ehbp: false
ledger: { identity_hash_key: '\${IHK}' }
log: { format: json }
`,
  )
  return path
}

beforeAll(async () => {
  ;[upstream, keycloak] = await Promise.all([startUpstream(), startUpstream()])
  keycloak.respond((_request, response) => {
    response.writeHead(200).end(JSON.stringify({ keys: [realm.jwk] }))
  })
  rs = await tokenServer('RS256')
  ed = await tokenServer('EdDSA')
  gate = await start({ ...SECRETS, POSTERN_CONFIG: documentOf(rs.issuer) })
}, 2 * PATIENCE_MS)
afterAll(async () => {
  await gate.stop()
  rs.close()
  ed.close()
  await Promise.all([upstream.close(), keycloak.close()])
  rmSync(folder, { recursive: true })
})

const ask = async (token: string): Promise<string> => {
  const headers = { authorization: `Bearer ${token}` }
  const response = await fetch(`${gate.url}/v1/models`, { headers })
  const said = (await response.json()) as { readonly error?: { readonly code: string } }
  return `${response.status} ${said.error?.code ?? ''}`.trim()
}
const ofRealm = (claims: object = {}): string => {
  const iat = Math.floor(Date.now() / 1000)
  const dates = { iat, nbf: undefined, exp: iat + 600 }
  const iss = 'https://id.example/realms/staff'
  const roles = { realm_access: { roles: ['offline_access', 'staff'] } }
  return realm.token({ ...dates, iss, azp: 'app', aud: 'account', ...roles, ...claims })
}

test("each one's users are served, at first and once they are known", async () => {
  const tokens = [await rs.token(), await ed.token(), ofRealm()]
  for (const token of [...tokens, ...tokens]) expect(await ask(token)).toBe('200')
})

test("no token is accepted with another issuer's key, nor without a required claim", async () => {
  for (const claims of [
    { iss: rs.issuer, aud: RESOURCE, scope: 'inference' },
    { iss: ed.issuer, aud: RESOURCE, scope: 'inference' },
    { iss: 'https://id.example/realms/staff/' },
    { iss: 'https://id.example/realms/other' },
    { azp: RESOURCE },
    { azp: undefined },
    { realm_access: { roles: ['offline_access'] } },
    { realm_access: undefined },
  ]) {
    expect(await ask(ofRealm(claims))).toBe('401 invalid_token')
  }
})

test("a token's organisation has the limits of its policy, and an organisation that is not text is refused", async () => {
  expect(await ask(ofRealm({ tenant: ['acme'] }))).toBe('401 invalid_token')
  const [one, other] = [ofRealm({ tenant: 'acme' }), ofRealm({ tenant: 'acme', sub: 'another' })]
  expect([await ask(one), await ask(other)]).toEqual(['200', '429 rate_limit_exceeded'])
  expect(await ask(ofRealm({ tenant: 'acme2' }))).toBe('200')
})

test('the check has a line for each, and says whose document it does not believe', async () => {
  const good = await runToEnd(['check'], { ...SECRETS, POSTERN_CONFIG: documentOf(rs.issuer) })
  for (const [name, keys] of [
    ['rs', '5 usable keys'],
    ['ed', '5 usable keys'],
    ['realm', '1 usable key'],
  ]) {
    expect(good.stdout).toContain(`ok  key set of ${name}: ${keys}\n`)
  }
  const slash = { ...SECRETS, POSTERN_CONFIG: documentOf(`${rs.issuer}/`) }
  const bad = await runToEnd(['check'], slash)
  expect(bad.exitCode).toBe(1)
  expect(bad.stdout).toContain(
    'no  key set of rs: discovery: the document calls its issuer something else; ',
  )
  expect(bad.stdout).toContain('check that issuer matches exactly, or set jwks_url')
  expect(bad.stdout).toContain('ok  key set of ed: ')
})
