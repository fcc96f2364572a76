// A real authorization server whose access tokens are JWTs (oidc-provider, RFC 9068), for a client that asks
// on its own behalf.

import http, { type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { AsymmetricSigningAlgorithm, JWK } from 'oidc-provider'
import type { Algorithm } from '../../src/admit/algorithms.ts'
import { quietly } from './authorization-server.ts'
import { signer } from './signers.ts'

export const RESOURCE = 'https://gate.example'
const CLIENT = { id: 'a-server', secret: 'a-secret-of-a-server-in-a-test-0123' }
export const TAKEN = ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'] as const satisfies Algorithm[]

export interface TokenServer {
  readonly issuer: string
  token(): Promise<string>
  close(): void
}

/** Its set has a key for each algorithm; it signs by `alg`. */
export async function tokenServer(alg: AsymmetricSigningAlgorithm): Promise<TokenServer> {
  const server: Server = http.createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const keys = TAKEN.map((each) => signer(each).privateJwk as JWK)
  const made = await quietly(async () => {
    const { default: Provider } = await import('oidc-provider')
    return new Provider(issuer, {
      clients: [
        {
          client_id: CLIENT.id,
          client_secret: CLIENT.secret,
          grant_types: ['client_credentials'],
          redirect_uris: [],
          response_types: [],
        },
      ],
      jwks: { keys },
      scopes: ['inference'],
      ttl: { ClientCredentials: 600 },
      features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        resourceIndicators: {
          enabled: true,
          getResourceServerInfo: () => ({
            scope: 'inference',
            audience: RESOURCE,
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg } },
          }),
        },
      },
    })
  })
  server.on('request', made.callback())
  return {
    issuer,
    async token() {
      const response = await fetch(`${issuer}/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${btoa(`${CLIENT.id}:${CLIENT.secret}`)}` },
        body: new URLSearchParams({
          grant_type: 'client_credentials',
          scope: 'inference',
          resource: RESOURCE,
        }),
      })
      const said = (await response.json()) as { readonly access_token: string }
      if (!response.ok) throw new Error(JSON.stringify(said))
      return said.access_token
    },
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}
