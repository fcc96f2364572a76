// Which algorithm a token may have: what its issuer's keys are for, and no more. The attacks of RFC 8725
// §2.1 and their kin, each with a signature that is right for whoever would believe it.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createHmac } from 'node:crypto'
import { type UserAdmission, userAdmission } from '../../src/admit/admit.ts'
import { type Algorithm, ALGORITHMS } from '../../src/admit/algorithms.ts'
import { issuerOf } from '../../src/admit/issuer-settings.ts'
import { identifier } from '../../src/token/identity.ts'
import { collector, type KeyServer, keyServer, source } from '../support/keys.ts'
import { base64url, goodClaims, type Json, NOW, SETTINGS } from '../support/mint.ts'
import { signer, type Signer, strangeRsaPair } from '../support/signers.ts'
import { everything } from '../support/admitted.ts'

const signers = Object.fromEntries(ALGORITHMS.map((alg) => [alg, signer(alg)])) as Readonly<
  Record<Algorithm, Signer>
>
/** Not in `signers`. */
const pair = strangeRsaPair()
const isRsa = (alg: Algorithm): boolean => /^[RP]S/.test(alg)
const identify = identifier(undefined)
const at = () => ({ epochSeconds: NOW, monotonicMs: performance.now() })
const bearer = (token: string) => ({ authorization: `Bearer ${token}`, query: '' })

type Say = (token: string) => Promise<string>

const saying =
  (admit: UserAdmission['admit']): Say =>
  async (token) => {
    const said = await admit(bearer(token), at())
    return said.ok ? 'admitted' : `${said.code}: ${said.reason ?? ''}`
  }

/** What an issuer that publishes `jwks` says. */
async function withKeys(
  jwks: readonly Json[],
  algorithms: readonly Algorithm[] | undefined,
  work: (say: Say, server: KeyServer) => Promise<void>,
): Promise<void> {
  const server = await keyServer(jwks)
  try {
    const issuer = issuerOf({ ...SETTINGS, algorithms }, source(server))
    await work(saying(userAdmission([issuer], identify, everything).admit), server)
  } finally {
    await server.close()
  }
}

describe('of a set with a key for each algorithm', () => {
  let server: KeyServer
  let say: Say
  beforeAll(async () => {
    server = await keyServer(Object.values(signers).map(({ jwk }) => jwk))
    say = saying(userAdmission([issuerOf(SETTINGS, source(server))], identify, everything).admit)
  })
  afterAll(() => server.close())

  for (const alg of ALGORITHMS) {
    test(`${alg} is taken`, async () => {
      expect(await say(signers[alg].token())).toBe('admitted')
    })
    test(`${alg}: one changed letter of the signature is refused`, async () => {
      const token = signers[alg].token({ sub: 'changed' })
      const at = token.lastIndexOf('.') + 5
      const other = token[at] === 'A' ? 'B' : 'A'
      expect(await say(token.slice(0, at) + other + token.slice(at + 1))).toBe(
        'invalid_token: signature is wrong',
      )
    })
    for (const other of ALGORITHMS.filter((each) => each !== alg)) {
      test(`a token by ${alg} that calls itself ${other} is refused`, async () => {
        expect(await say(signers[alg].token({}, { alg: other }))).toStartWith('invalid_token: ')
      })
      test(`a token by ${alg} under the kid of the key for ${other} is refused`, async () => {
        expect(await say(signers[alg].token({}, { kid: other }))).toStartWith('invalid_token: ')
      })
    }
    test(`${alg}: an HMAC with the public key as its secret is refused`, async () => {
      const { publicKey, jwk, kid } = signers[alg]
      for (const secret of [
        publicKey.export({ type: 'spki', format: 'pem' }),
        publicKey.export({ type: 'spki', format: 'der' }),
        JSON.stringify(jwk),
        String(jwk['n'] ?? jwk['x']),
        Buffer.from(String(jwk['n'] ?? jwk['x']), 'base64url'),
      ]) {
        for (const hmac of ['HS256', 'HS384', 'HS512', alg]) {
          const head = base64url(JSON.stringify({ alg: hmac, typ: 'JWT', kid }))
          const input = `${head}.${base64url(JSON.stringify(goodClaims()))}`
          const sha = hmac.startsWith('HS') ? `sha${hmac.slice(2)}` : 'sha512'
          const signature = createHmac(sha, secret).update(input).digest()
          expect(await say(`${input}.${base64url(signature)}`)).toStartWith('invalid_token: ')
        }
      }
    })
    test(`${alg}: none, with its signature and without, is refused`, async () => {
      for (const none of ['none', 'None', 'NONE', 'nOnE', '', null, undefined]) {
        const token = signers[alg].token({}, { alg: none })
        const unsigned = token.slice(0, token.lastIndexOf('.') + 1)
        expect(await say(token)).toBe('invalid_token: alg is not one that is taken')
        expect(await say(unsigned)).toBe('invalid_token: not canonical base64url')
      }
    })
    test(`${alg}: keys and URLs inside the token are refused without a request`, async () => {
      const stranger = signer(alg, isRsa(alg) ? { pair } : {})
      const { asked } = server
      for (const [name, value] of Object.entries({
        jwk: stranger.jwk,
        jku: `${server.url.href}?theirs`,
        x5u: `${server.url.href}?theirs`,
        x5c: ['MIIB'],
        crit: ['exp'],
        b64: true,
      })) {
        for (const by of [stranger, signers[alg]]) {
          expect(await say(by.token({}, { [name]: value }))).toBe(
            `invalid_token: header has ${name}`,
          )
        }
      }
      expect(await say(stranger.token())).toBe('invalid_token: signature is wrong')
      expect(server.asked).toBe(asked)
    })
  }

  test('a signature of another length than the modulus is refused before it is verified', async () => {
    const long = signer('RS256', { modulusLength: 2304 })
    expect(await say(long.token())).toBe('invalid_token: signature is wrong')
    const [head, body, signature = ''] = signers.RS256.token().split('.')
    const bytes = Buffer.from(signature, 'base64url')
    for (const other of [
      bytes.subarray(0, 255),
      Buffer.concat([Buffer.alloc(1), bytes]),
      Buffer.concat([bytes, Buffer.alloc(1)]),
      Buffer.concat([bytes, bytes]),
      Buffer.alloc(1025),
    ]) {
      expect(await say(`${head}.${body}.${base64url(other)}`)).toMatch(
        /^invalid_token: signature is (wrong|not 256 to 1024 bytes)$/,
      )
    }
  })
})

describe('a key without an alg', () => {
  const bare = ({ jwk }: Signer): Json => ({ ...jwk, alg: undefined })

  test('of RSA serves RS256 and PS256 alike, as Entra publishes its own', async () => {
    const pair = signer('RS256')
    await withKeys([bare(pair)], undefined, async (say) => {
      expect(await say(pair.token())).toBe('admitted')
      expect(await say(pair.token({}, { alg: 'PS256' }))).toBe('invalid_token: signature is wrong')
      expect(await say(pair.token({}, { alg: 'ES256' }))).toStartWith('invalid_token: ')
    })
  })

  test('of EC or Ed25519 serves its own algorithm', async () => {
    for (const alg of ['ES256', 'ES384', 'ES512', 'EdDSA'] as const) {
      await withKeys([bare(signers[alg])], undefined, async (say) => {
        expect(await say(signers[alg].token())).toBe('admitted')
      })
    }
  })
})

describe('a key outside the set, or an algorithm outside the settings', () => {
  test('PS256 by a key that the set has for RS256 is refused, though the numbers would do', async () => {
    const [rs, ps] = [signer('RS256', { kid: 'k', pair }), signer('PS256', { kid: 'k', pair })]
    await withKeys([rs.jwk], undefined, async (say) => {
      expect(await say(rs.token())).toBe('admitted')
      expect(await say(ps.token())).toBe('invalid_token: signature is wrong')
    })
    await withKeys([rs.jwk, ps.jwk], undefined, async (say) => {
      expect(await say(rs.token())).toBe('admitted')
      expect(await say(ps.token())).toBe('admitted')
    })
  })

  test('an algorithm that the settings leave out is refused, whatever the keys are', async () => {
    const keys = [signers.ES256.jwk, signers.RS256.jwk]
    await withKeys(keys, ['ES256'], async (say, server) => {
      expect(await say(signers.RS256.token())).toBe("invalid_token: alg is not one of the issuer's")
      // Not even the key set was asked for.
      expect(server.asked).toBe(0)
      expect(await say(signers.ES256.token())).toBe('admitted')
    })
  })

  test('an RSA key of 1024 bits verifies nothing, and the log says so once', async () => {
    const weak = signer('RS256', { kid: 'weak', modulusLength: 1024 })
    const server = await keyServer([weak.jwk, signers.ES256.jwk])
    const { log, text } = collector()
    const keys = source(server, { log })
    const say = saying(userAdmission([issuerOf(SETTINGS, keys)], identify, everything).admit)
    expect(await say(weak.token())).toBe('invalid_token: signature is not 256 to 1024 bytes')
    expect(await say(signers.RS256.token({}, { kid: 'weak' }))).toBe(
      'invalid_token: kid is unknown',
    )
    for (let n = 1; n < 4; n += 1) await keys.lookup('nobody', performance.now() + n * 40_000)
    expect(text().match(/fewer than 2048 bits/g)).toHaveLength(1)
    expect(text()).toContain('weak')
    await server.close()
  })

  test('a remembered token is refused once its key has another alg', async () => {
    const [rs, ps] = [signer('RS256', { kid: 'k', pair }), signer('PS256', { kid: 'k', pair })]
    const server = await keyServer([rs.jwk])
    const keys = source(server)
    const say = saying(userAdmission([issuerOf(SETTINGS, keys)], identify, everything).admit)
    const token = rs.token()
    expect(await say(token)).toBe('admitted')
    server.serve([ps.jwk])
    await keys.lookup('nobody', performance.now() + 40_000)
    expect(await say(token)).toBe('invalid_token: signature is wrong')
    await server.close()
  })
})
