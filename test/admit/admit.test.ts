// Who is this, and may they? Real tokens, a real key set over a real socket, and no other way in.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { type UserAdmission, userAdmission } from '../../src/admit/admit.ts'
import { identifier } from '../../src/token/identity.ts'
import { issuerOf } from '../../src/admit/issuer-settings.ts'
import type { KeySource } from '../../src/admit/jwks.ts'
import { Secret } from '../../src/secret.ts'
import { afterCooldown, type KeyServer, keyServer, source } from '../support/keys.ts'
import { attacks, base64url, ISSUER, mint, NOW, SETTINGS, wrongClaims } from '../support/mint.ts'
import { type Random, seeded } from '../support/random.ts'
import { everything } from '../support/admitted.ts'

const identify = identifier(new Secret('ab'.repeat(32)))
const by = mint('key-1')
const at = (epochSeconds = NOW, monotonicMs = performance.now()) => ({ epochSeconds, monotonicMs })
const bearer = (token: string) => ({ authorization: `Bearer ${token}`, query: '' })

describe('with the keys at hand', () => {
  let server: KeyServer
  let keys: KeySource
  let admit: UserAdmission['admit']
  beforeAll(async () => {
    server = await keyServer([by.jwk])
    keys = source(server)
    admit = userAdmission([issuerOf(SETTINGS, keys)], identify, everything).admit
    await admit(bearer(by.token()), at())
  })
  afterAll(() => server.close())

  test('a good token is admitted, under its identity and without its subject', async () => {
    const admitted = await admit(bearer(by.token()), at())
    expect(admitted).toEqual({
      ok: true,
      value: {
        identity: identify(ISSUER, 'user-1'),
        kind: 'user',
        issuer: 'test',
        groups: [],
        org: undefined,
        policy: everything(),
      } as never,
    })
    expect(JSON.stringify(admitted)).not.toContain('user-1')
  })

  for (const [name, token] of attacks(by)) {
    // Between the scheme and the token any number is allowed (RFC 9110 §11.4).
    if (name === 'a space before it') continue
    test(`refuses a token with an attack on its form: ${name}`, async () => {
      const said = await admit(bearer(token), at())
      if (said.ok) throw new Error('admitted')
      expect(['invalid_token', 'malformed_authorization', 'missing_token']).toContain(said.code)
      // Its length is nobody's secret.
      const isLong = said.reason === 'too long'
      expect(said.message === undefined).toBe(!isLong)
      expect(server.asked).toBe(1)
    })
  }

  for (const [name, claims] of wrongClaims) {
    test(`refuses a token whose signature is right, with ${name}`, async () => {
      expect(await admit(bearer(by.token(claims)), at())).toMatchObject({ code: 'invalid_token' })
    })
  }

  test("refuses another key's signature under our kid", async () => {
    const said = await admit(bearer(mint('key-1').token()), at())
    expect(said).toEqual({ ok: false, code: 'invalid_token', reason: 'signature is wrong' })
  })

  test('refuses an unpublished kid without a request', async () => {
    const said = await admit(bearer(mint('nobody').token()), at())
    expect(said).toEqual({ ok: false, code: 'invalid_token', reason: 'kid is unknown' })
    expect(server.asked).toBe(1)
  })

  test('refuses the claims of one token under the signature of another', async () => {
    const [header, , signature] = by.token().split('.')
    const [, claims] = by.token({ sub: 'admin' }).split('.')
    expect(await admit(bearer(`${header}.${claims}.${signature}`), at())).toMatchObject({
      code: 'invalid_token',
    })
  })

  test('a right signature without the scope is 403, and never 401', async () => {
    for (const scope of [undefined, '', 'openid', 'inference2', 'Inference', 'inference,x']) {
      expect(await admit(bearer(by.token({ scope })), at())).toMatchObject({
        code: 'insufficient_scope',
      })
    }
    expect(await admit(bearer(by.token({ scope: 'openid inference' })), at())).toHaveProperty(
      'ok',
      true,
    )
  })

  test('the scope is checked again when the token is remembered', async () => {
    const token = by.token({ scope: 'openid' })
    for (let round = 0; round < 3; round += 1) {
      expect(await admit(bearer(token), at())).toMatchObject({ code: 'insufficient_scope' })
    }
  })

  test('only the holder of a formerly valid token learns that it expired', async () => {
    const exp = NOW - 61
    expect(await admit(bearer(by.token({ exp })), at())).toMatchObject({ code: 'token_expired' })
    expect(await admit(bearer(mint('key-1').token({ exp })), at())).toMatchObject({
      code: 'invalid_token',
    })
    expect(await admit(bearer(by.token({ exp, aud: 'x' })), at())).toMatchObject({
      code: 'invalid_token',
    })
  })

  test('a remembered token is refused once it has expired: 60 s of skew, and not 61', async () => {
    const token = by.token()
    for (const [seconds, code] of [
      [0, undefined],
      [899, undefined],
      [900, undefined],
      [960, undefined],
      [961, 'token_expired'],
      [0, undefined],
    ] as const) {
      const said = await admit(bearer(token), at(NOW + seconds))
      expect(said.ok ? undefined : said.code).toBe(code as never)
    }
  })

  test('no credential, and each malformed one, has its own words', async () => {
    const code = async (authorization: string | null, query = '') => {
      const said = await admit({ authorization, query }, at())
      return said.ok ? 'admitted' : said.code
    }
    const good = by.token()
    expect(await code(null)).toBe('missing_authorization')
    expect(await code('Bearer ')).toBe('missing_token')
    expect(await code(good)).toBe('malformed_authorization')
    expect(await code(`Bearer ${good}, Bearer ${good}`)).toBe('ambiguous_credentials')
    expect(await code(null, `access_token=${good}`)).toBe('malformed_authorization')
    expect(await code(`Bearer ${good}`, `access_token=${good}`)).toBe('malformed_authorization')
    expect(await code(`bEARER ${good}`)).toBe('admitted')
  })

  test('the other signature of the same words (r, n - s) is the same person', async () => {
    const token = by.token()
    expect(await admit(bearer(token), at())).toEqual(await admit(bearer(mirrored(token)), at()))
  })

  test(
    'of thousands of changes to a good token none verifies',
    seeded(async (random) => {
      const token = by.token()
      expect((await admit(bearer(token), at())).ok).toBe(true)
      for (let round = 0; round < 4000; round += 1) {
        const changed = mutated(random, token)
        if (changed.trimStart() === token) continue
        const said = await admit(bearer(changed), at())
        if (said.ok) throw new Error(`admitted after a change: ${changed}`)
      }
      expect((await admit(bearer(token), at())).ok).toBe(true)
      expect(server.asked).toBe(1)
    }),
    20_000,
  )
})

describe('as keys come and go', () => {
  let server: KeyServer
  let keys: KeySource
  let admit: UserAdmission['admit']
  beforeEach(async () => {
    server = await keyServer([by.jwk])
    keys = source(server)
    admit = userAdmission([issuerOf(SETTINGS, keys)], identify, everything).admit
  })
  afterEach(() => server.close())
  const code = async (token: string, now = at()): Promise<string> => {
    const said = await admit(bearer(token), now)
    return said.ok ? 'admitted' : said.code
  }
  /** Any unknown kid after the cooldown makes the source read the set again. */
  const reread = () => keys.lookup('nobody', afterCooldown())

  test('200 first requests with one token are one read of the key set', async () => {
    const token = by.token()
    const said = await Promise.all(Array.from({ length: 200 }, () => code(token)))
    expect(new Set(said)).toEqual(new Set(['admitted']))
    expect(server.asked).toBe(1)
  })

  test('a remembered token is refused as soon as its key has left the set', async () => {
    const token = by.token()
    const next = mint('key-2')
    expect(await code(token)).toBe('admitted')
    server.serve([next.jwk])
    expect(await code(next.token(), at(NOW, afterCooldown()))).toBe('admitted')
    expect(await code(token)).toBe('invalid_token')
  })

  test('a remembered token is refused as soon as its kid has another key', async () => {
    const token = by.token()
    const usurper = mint(by.kid)
    expect(await code(token)).toBe('admitted')
    server.serve([usurper.jwk])
    await reread()
    expect(await code(token)).toBe('invalid_token')
    expect(await code(usurper.token())).toBe('admitted')
  })

  test('a remembered token survives a rotation that keeps its key', async () => {
    const token = by.token()
    const next = mint('key-2')
    expect(await code(token)).toBe('admitted')
    server.serve([next.jwk, by.jwk])
    await reread()
    expect([await code(token), await code(next.token())]).toEqual(['admitted', 'admitted'])
  })

  test('a remembered token outlives an outage, but not the longest one', async () => {
    keys = source(server, { maxStaleMs: 60_000 })
    admit = userAdmission([issuerOf(SETTINGS, keys)], identify, everything).admit
    const token = by.token()
    expect(await code(token)).toBe('admitted')
    server.respond((_request, response) => void response.writeHead(500).end())
    expect(await code(token, at(NOW, performance.now() + 59_000))).toBe('admitted')
    expect(await code(token, at(NOW, performance.now() + 60_001))).toBe('keys_unavailable')
  })

  test('with no key set ever read the answer is 503 and when to come again, for a token of good form', async () => {
    server.respond((_request, response) => void response.writeHead(500).end())
    expect(await admit(bearer(by.token()), at())).toMatchObject({
      code: 'keys_unavailable',
      retryAfterSeconds: 5,
    })
    expect(await code('a.b.c')).toBe('invalid_token')
  })
})

/** (r, n - s) verifies wherever (r, s) does: ECDSA has it so, and JWS does not forbid it. */
function mirrored(token: string): string {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const [header, claims, signature = ''] = token.split('.')
  const bytes = Buffer.from(signature, 'base64url')
  const s = order - BigInt(`0x${bytes.toString('hex', 32)}`)
  bytes.write(s.toString(16).padStart(64, '0'), 32, 'hex')
  return `${header}.${claims}.${base64url(bytes)}`
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n\0,~é'

function mutated({ int, pick }: Random, token: string): string {
  const at = int(token.length + 1)
  const letter = pick([...LETTERS])
  switch (int(5)) {
    case 0:
      return token.slice(0, at) + letter + token.slice(at)
    case 1:
      return token.slice(0, at) + token.slice(at + 1)
    case 2: {
      const swapped = token[at + 1] ?? ''
      return token.slice(0, at) + swapped + (token[at] ?? '') + token.slice(at + 2)
    }
    default:
      return token.slice(0, at) + letter + token.slice(at + 1)
  }
}
