// An issuer that says whatever a test wants: any header, any claims, any key set, any silence.

import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import http, { type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

type Json = Readonly<Record<string, unknown>>

export interface Forge {
  readonly issuer: string
  readonly jwksUrl: string
  readonly audience: string
  readonly kid: string
  /** The public key as it stands in the set. */
  readonly jwk: Json
  /** Every path that anybody asked of it, in order. */
  readonly asked: string[]
  /** Replaces how the key set is answered. */
  respond(with_: (response: ServerResponse) => void): void
  /** The settings that make a gate trust it. */
  readonly env: Readonly<Record<string, string>>
  claims(more?: Json): Json
  /** A token over these very bytes, rightly signed; objects become JSON. */
  token(claims?: Json | string, header?: Json | string): string
  close(): Promise<void>
}

export const base64url = (data: string | Buffer): string => Buffer.from(data).toString('base64url')

export async function startForge(): Promise<Forge> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const exported = publicKey.export({ format: 'jwk' })
  const kid = createHash('sha256').update(String(exported.x)).digest('hex').slice(0, 16)
  const jwk = { ...exported, kid, alg: 'ES256', use: 'sig' }
  const asked: string[] = []
  let respond = (response: ServerResponse): void => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ keys: [jwk] }))
  }
  const server = http.createServer((request, response) => {
    asked.push(request.url ?? '')
    respond(response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const audience = 'forge-audience'
  const jwksUrl = `${issuer}/jwks.json`
  const claims = (more: Json = {}): Json => {
    const now = Math.floor(Date.now() / 1000)
    const usual = { iss: issuer, aud: audience, sub: 'forged-user', scope: 'inference' }
    return { ...usual, iat: now, exp: now + 3600, ...more }
  }
  const text = (value: Json | string): string =>
    typeof value === 'string' ? value : JSON.stringify(value)
  return {
    issuer,
    jwksUrl,
    audience,
    kid,
    jwk,
    asked,
    respond(with_) {
      respond = with_
    },
    env: { JWKS_URL: jwksUrl, ISSUER: issuer, AUDIENCES: audience },
    claims,
    token(body = claims(), header = { alg: 'ES256', typ: 'JWT', kid }) {
      const signed = `${base64url(text(header))}.${base64url(text(body))}`
      const signature = sign('sha256', Buffer.from(signed), {
        key: privateKey,
        dsaEncoding: 'ieee-p1363',
      })
      return `${signed}.${base64url(signature)}`
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
