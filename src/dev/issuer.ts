// A token issuer for development and tests: a new ES256 key, its JWKS, and tokens signed with it.
//
// It listens on 127.0.0.1 only, its key dies with the process, and it authenticates nobody: any code with
// the returned object gets a token. Never use it in production.

import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

import { SignJWT, exportJWK, generateKeyPair } from 'jose'

const ALGORITHM = 'ES256'
const JWKS_PATH = '/.well-known/jwks.json'
const TOKEN_LIFETIME_SECONDS = 24 * 60 * 60

export interface DevIssuer {
  /** Its own origin, without a slash at the end. */
  readonly issuer: string
  readonly jwksUrl: string
  readonly audience: string
  /** These claims replace the default ones; `undefined` leaves a claim out. */
  token(claims?: Record<string, unknown>): Promise<string>
  close(): Promise<void>
}

export interface IssuerOptions {
  /** Milliseconds since the epoch. */
  readonly now?: () => number
}

export async function startIssuer({ now = Date.now }: IssuerOptions = {}): Promise<DevIssuer> {
  const { privateKey, publicKey } = await generateKeyPair(ALGORITHM)
  const kid = randomUUID()
  const { kty, crv, x, y } = await exportJWK(publicKey)
  const jwks = JSON.stringify({ keys: [{ kty, crv, x, y, use: 'sig', alg: ALGORITHM, kid }] })

  const server = createServer((request, response) => {
    const path = request.url?.split('?', 1)[0]
    if (path !== JWKS_PATH) {
      response.writeHead(404).end()
    } else if (request.method !== 'GET') {
      response.writeHead(405, { Allow: 'GET' }).end()
    } else {
      response.writeHead(200, { 'Content-Type': 'application/json' }).end(jwks)
    }
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  const issuer = `http://127.0.0.1:${port}`
  const audience = 'postern-dev'

  return {
    issuer,
    jwksUrl: `${issuer}${JWKS_PATH}`,
    audience,
    token(claims = {}) {
      const iat = Math.floor(now() / 1000)
      const usual = {
        iss: issuer,
        aud: audience,
        sub: 'test-user',
        client_id: 'test-client',
        scope: 'inference',
        iat,
        exp: iat + TOKEN_LIFETIME_SECONDS,
        jti: randomUUID(),
      }
      return new SignJWT({ ...usual, ...claims })
        .setProtectedHeader({ alg: ALGORITHM, typ: 'JWT', kid })
        .sign(privateKey)
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
