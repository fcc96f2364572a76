// Tokens made before the clock starts: an identity provider with one ES256 key, 200 users, and as
// many tokens of theirs as a run wants, each distinct. Signs for this machine's loopback alone.

import { join } from 'node:path'
import { base64url, mint } from '../support/mint.ts'

export const AUDIENCE = 'bench'
export const USERS = 200

export interface Credentials {
  readonly issuer: string
  readonly jwksUrl: string
  readonly publicKeyFile: string
  /** One token of each user, one a line. */
  readonly knownFile: string
  /** Writes `count` distinct tokens, all new; the users take turns. */
  fresh(count: number): Promise<string>
  close(): void
}

export async function credentials(folder: string): Promise<Credentials> {
  const provider = mint()
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: () => Response.json({ keys: [provider.jwk] }),
  })
  const issuer = `http://127.0.0.1:${server.port}`
  const header = JSON.stringify(provider.header)
  let signed = 0
  const token = (user: number): string => {
    const iat = Math.floor(Date.now() / 1000)
    signed += 1
    const claims = {
      iss: issuer,
      aud: AUDIENCE,
      sub: `user-${user}`,
      client_id: 'bench-client',
      scope: 'inference',
      iat,
      exp: iat + 24 * 3600,
      jti: signed,
    }
    return provider.signed(header, JSON.stringify(claims))
  }
  const write = async (name: string, count: number): Promise<string> => {
    const file = join(folder, name)
    const tokens = Array.from({ length: count }, (_, number) => token(number % USERS))
    await Bun.write(file, `${tokens.join('\n')}\n`)
    return file
  }
  const publicKeyFile = join(folder, 'public.pem')
  await Bun.write(publicKeyFile, provider.publicKey.export({ type: 'spki', format: 'pem' }))
  return {
    issuer,
    jwksUrl: `${issuer}/jwks.json`,
    publicKeyFile,
    knownFile: await write('known.txt', USERS),
    fresh: (count) => write(`fresh-${count}.txt`, count),
    close: () => void server.stop(true),
  }
}

/** What a gate's key for the upstream, or a secret of its own, may be. */
export const SECRET = base64url('a secret of forty-eight bytes, for nobody but us')
export const DEVICE_SECRET = base64url('another secret of that length, for devices alone')
