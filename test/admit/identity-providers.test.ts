// Tokens in the shape of well-known identity providers, all of them taken by one gate, each under its own
// issuer's settings and no other's.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type Issuers, issuers } from '../../src/admit/issuers.ts'
import { type IssuerSettings } from '../../src/admit/issuer-settings.ts'
import { identifier } from '../../src/token/identity.ts'
import { everything } from '../support/admitted.ts'
import { type IdentityProvider, PROVIDERS } from '../support/identity-providers.ts'
import { ask, type KeyServer, keyServer, silent } from '../support/keys.ts'
import { type Json, NOW } from '../support/mint.ts'
import { signer, type Signer } from '../support/signers.ts'

const identify = identifier(undefined)
const at = () => ({ epochSeconds: NOW, monotonicMs: performance.now() })

interface Scene {
  readonly server: KeyServer
  readonly by: Signer
  readonly settings: IssuerSettings
}
/** Cognito's two tokens have one issuer: each has a gate of its own here. */
const gates = new Map<string, Issuers>()
const scenes = new Map<string, Scene>()
beforeAll(async () => {
  for (const [name, { alg, keysHaveAlg, settings }] of Object.entries(PROVIDERS)) {
    // The same kid everywhere.
    const by = signer(alg, { kid: 'key=1' })
    const server = await keyServer([keysHaveAlg ? by.jwk : { ...by.jwk, alg: undefined }])
    const refresh = { refreshSeconds: 900, maxStaleSeconds: 86_400 }
    scenes.set(name, {
      server,
      by,
      settings: { name, jwksUrl: server.url, ...refresh, ...settings },
    })
  }
  for (const [name, { settings }] of scenes) {
    const others = [...scenes.values()]
      .map((each) => each.settings)
      .filter(({ issuer, name }) => issuer !== settings.issuer && !name.startsWith('Cognito'))
    const all = [settings, ...others]
    gates.set(name, issuers(all, { ask, identify, policyOf: everything, log: silent }))
  }
})
afterAll(async () => {
  for (const { server } of scenes.values()) await server.close()
})

async function say(of: string, claims: Json = {}, by?: Signer): Promise<string> {
  const { token } = PROVIDERS[of] as IdentityProvider
  const dates = {
    iat: NOW,
    nbf: undefined,
    exp: NOW + 3600,
    scope: undefined,
    aud: undefined,
    sub: undefined,
  }
  const text = (by ?? scenes.get(of)?.by)?.token(
    { ...dates, ...token.claims, ...claims },
    { typ: undefined, ...token.header },
  )
  const said = await gates.get(of)?.admit({ authorization: `Bearer ${text}`, query: '' }, at())
  if (!said?.ok) return `${said?.code}: ${said?.reason}`
  const { identity, issuer, groups } = said.value
  return JSON.stringify({ identity, issuer, groups })
}

for (const [name, provider] of Object.entries(PROVIDERS)) {
  describe(name, () => {
    const { settings, subject, groups, token } = provider
    test('is taken, as the person and with the groups that its settings say', async () => {
      const identity = identify(settings.issuer, subject)
      expect(await say(name)).toBe(JSON.stringify({ identity, issuer: name, groups }))
    })
    test('is refused for another audience, and without one', async () => {
      const claims = settings.audienceClaims ?? ['aud']
      const claim = claims.find((each) => each in token.claims) ?? 'aud'
      expect(await say(name, { [claim]: 'another' })).toBe(`invalid_token: ${claim} is another`)
      expect(await say(name, { [claim]: undefined })).toContain('is missing')
      expect(await say(name, { [claim]: [] })).toBe(`invalid_token: ${claim} is another`)
    })
    test('is refused without its subject', async () => {
      const claim = settings.subjectClaim ?? 'sub'
      expect(await say(name, { [claim]: undefined })).toBe('invalid_token: the subject is missing')
    })
    test("is refused where any other provider's key has signed it", async () => {
      const own = scenes.get(name)?.by.publicKey
      for (const [other, { by }] of scenes) {
        // Some share an RSA key, since making one takes long.
        if (own?.equals(by.publicKey)) continue
        expect(await say(name, { jti: other }, by)).toMatch(/^invalid_token: signature is /)
      }
    })
    if (settings.scope?.optional !== true) {
      test('is refused without its scope', async () => {
        const bare = { scope: undefined, scp: undefined, permissions: undefined }
        expect(await say(name, bare)).toStartWith('insufficient_scope')
        for (const claim of ['scope', 'scp', 'permissions']) {
          if (claim in token.claims) expect(await say(name, { [claim]: 7 })).toStartWith('invalid_')
        }
      })
    }
  })
}

test('GitHub: a token of another repository is refused, whatever its audience', async () => {
  const name = 'GitHub Actions'
  for (const owner of ['mallory', 'acme-', 'ACME', '', ['mallory'], { acme: 1 }, null, undefined]) {
    expect(await say(name, { repository_owner: owner })).toBe(
      'invalid_token: repository_owner is not what it must be',
    )
  }
  expect(await say(name, { repository_owner: 'acme-labs' })).toContain('identity')
  expect(await say(name, { ref_protected: true })).toContain('identity')
  expect(await say(name, { ref_protected: 'false' })).toBe(
    'invalid_token: ref_protected is not what it must be',
  )
})

test('Google: a service account, which gets a token for any audience, is refused', async () => {
  expect(await say('Google (id token)', { hd: undefined, azp: '1', sub: '1' })).toBe(
    'invalid_token: hd is not what it must be',
  )
})

test("Cognito: an aud that is another's is not made good by the client_id", async () => {
  expect(await say('Cognito (id)', { aud: 'another', client_id: 'client' })).toBe(
    'invalid_token: aud is another',
  )
  // And a token without any aud is one for its client.
  expect(await say('Cognito (id)', { aud: undefined, client_id: 'client' })).toContain('identity')
})
