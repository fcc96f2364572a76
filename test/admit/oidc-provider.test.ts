// Access tokens of a real authorization server (oidc-provider, RFC 9068), by each of several algorithms,
// at the compiled gate, and over discovery at the admission itself.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { generateKeyPairSync } from 'node:crypto'
import http, { type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Algorithm } from '../../src/admit/algorithms.ts'
import { issuers } from '../../src/admit/issuers.ts'
import { identifier } from '../../src/token/identity.ts'
import { everything } from '../support/admitted.ts'
import { scene, type Scene } from '../support/gate.ts'
import { ask, silent } from '../support/keys.ts'
import { PATIENCE_MS } from '../support/patience.ts'
import { signer } from '../support/signers.ts'
import { RESOURCE, TAKEN, type TokenServer, tokenServer } from '../support/token-server.ts'

const headerOf = (token: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString())

interface Signed {
  readonly from: TokenServer
  readonly at: Scene
  readonly token: string
}

async function signed(from: TokenServer): Promise<Signed> {
  const env = { JWKS_URL: `${from.issuer}/jwks`, ISSUER: from.issuer, AUDIENCES: RESOURCE }
  return { from, at: await scene({ env }), token: await from.token() }
}

const all = new Map<Algorithm, Signed>()
beforeAll(async () => {
  const providers: (readonly [Algorithm, TokenServer])[] = []
  for (const alg of TAKEN) providers.push([alg, await tokenServer(alg)])
  await Promise.all(providers.map(async ([alg, from]) => all.set(alg, await signed(from))))
}, 2 * PATIENCE_MS)
afterAll(async () => {
  await Promise.all(
    [...all.values()].map(async ({ at, from }) => {
      await at.close()
      from.close()
    }),
  )
})

for (const alg of TAKEN) {
  describe(alg, () => {
    let from: TokenServer
    let at: Scene
    let token: string
    beforeAll(() => {
      const made = all.get(alg)
      if (!made) throw new Error('no scene')
      ;({ from, at, token } = made)
    })
    const status = async (text: string): Promise<number> => {
      const headers = { authorization: `Bearer ${text}` }
      const response = await fetch(`${at.gate.url}/v1/models`, { headers })
      await response.bytes()
      return response.status
    }

    test('a token passes, now and once it is known', async () => {
      expect(headerOf(token)).toMatchObject({ alg, typ: 'at+jwt' })
      expect([await status(token), await status(token), await status(token)]).toEqual([
        200, 200, 200,
      ])
    })
    test('one letter of it changed, it is 401', async () => {
      const [head, body = '', signature] = token.split('.')
      const letter = body[40] === 'A' ? 'B' : 'A'
      const changed = body.slice(0, 40) + letter + body.slice(41)
      expect(await status(`${head}.${changed}.${signature}`)).toBe(401)
    })
    test('by discovery alone', async () => {
      const settings = { name: 'x', issuer: from.issuer, audiences: [RESOURCE] }
      const found = issuers([{ ...settings, refreshSeconds: 900, maxStaleSeconds: 900 }], {
        ask,
        identify: identifier(undefined),
        policyOf: everything,
        log: silent,
      })
      const now = { epochSeconds: Date.now() / 1000, monotonicMs: performance.now() }
      const said = await found.admit({ authorization: `Bearer ${token}`, query: '' }, now)
      expect(said).toHaveProperty('ok', true)
    })
  })
}

describe('a token of 16 KiB', () => {
  let at: Scene
  const key = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const by = signer('RS256', { kid: 'large', pair: key })
  let server: Server
  beforeAll(async () => {
    server = http.createServer((_request, response) =>
      response.end(JSON.stringify({ keys: [by.jwk] })),
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    at = await scene({ env: { JWKS_URL: issuer, ISSUER: issuer, AUDIENCES: RESOURCE } })
  })
  afterAll(async () => {
    await at.close()
    server.close()
  })
  const asked = async (roles: number, path = '/v1/models'): Promise<Response> => {
    const iat = Math.floor(Date.now() / 1000)
    const iss = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const token = by.token({
      iss,
      aud: RESOURCE,
      iat,
      exp: iat + 600,
      realm_access: { roles: Array.from({ length: roles }, (_, n) => `role-of-keycloak-${n}`) },
    })
    return fetch(at.gate.url + path, { headers: { authorization: `Bearer ${token}` } })
  }

  test('with 500 roles passes, in the binary as well', async () => {
    const response = await asked(500)
    expect(response.status).toBe(200)
    expect(await response.text()).toContain('ok')
  })
  test('with as many and a query of 7 KiB passes too', async () => {
    expect((await asked(500, `/v1/models?${'a'.repeat(7000)}`)).status).toBe(200)
  })
  test('with 700 is told in our own words', async () => {
    const response = await asked(700)
    expect(response.status).toBe(401)
    expect(await response.text()).toContain('more than 16384 bytes')
  })
  test("with 2000 is the runtime's 431, which has no body", async () => {
    const response = await asked(2000)
    expect(response.status).toBe(431)
    expect(await response.text()).toBe('')
  })
})
