// An identity provider that changes its keys as one should: the next is published before it signs,
// and the last is withdrawn when nothing that it signed is in use.

import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { goodClaims, type Mint, mint } from '../support/mint.ts'

export interface RotatingIssuer {
  readonly port: number
  readonly issuer: string
  readonly audience: string
  token(subject: string): string
  /** One step: publish the next key, sign with it, withdraw the one before. */
  rotate(): 'published' | 'signing' | 'withdrawn'
  close(): Promise<void>
}

export async function rotatingIssuer(): Promise<RotatingIssuer> {
  let made = 0
  const next = (): Mint => mint(`key-${(made += 1)}`)
  let keys = [next()]
  let signing = keys[0] as Mint
  const server = http.createServer((_request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const issuer = 'https://id.soak.test'
  const audience = 'soak'
  return {
    port,
    issuer,
    audience,
    token(sub) {
      const claims = goodClaims(Math.floor(Date.now() / 1000))
      return signing.signed(
        JSON.stringify(signing.header),
        JSON.stringify({ ...claims, iss: issuer, aud: audience, sub }),
      )
    },
    rotate() {
      const newest = keys.at(-1) as Mint
      if (keys.length === 1) {
        keys = [newest, next()]
        return 'published'
      }
      if (signing !== newest) {
        signing = newest
        return 'signing'
      }
      keys = [newest]
      return 'withdrawn'
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
