// Attacks 21 to 25 over the wire, in short: the decisions themselves have tests of their own. Here
// the point is what a stranger sees of them, which is always the same, and what they cause, which
// is nothing.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { createHmac, createPublicKey } from 'node:crypto'
import { base64url, type Forge, startForge } from '../support/forge.ts'
import { type Scene, scene } from '../support/gate.ts'
import { startRawUpstream } from '../support/raw-upstream.ts'
import { bearer, errorOf, forget, reachedUpstream } from '../support/sink.ts'
import { howMany } from '../support/long.ts'

let at: Scene
let forge: Forge
beforeAll(async () => {
  forge = await startForge()
  const made = await scene({ env: forge.env })
  at = { ...made, token: forge.token() }
})
afterAll(async () => {
  await at.close()
  await forge.close()
})
beforeEach(() => forget(at))

const ask = (token: string): Promise<Response> =>
  fetch(`${at.gate.url}/v1/models?token`, { headers: bearer(token) })
const es256 = (more: object): Record<string, unknown> => ({
  alg: 'ES256',
  typ: 'JWT',
  kid: forge.kid,
  ...more,
})
const parts = (token: string): [string, string, string] => token.split('.') as never
/** ES256's header with another algorithm, and the signature that this algorithm would have. */
function hs256(): string {
  const signed = `${base64url(JSON.stringify(es256({ alg: 'HS256' })))}.${parts(forge.token())[1]}`
  const pem = createPublicKey({ key: forge.jwk as never, format: 'jwk' }).export({
    type: 'spki',
    format: 'pem',
  })
  return `${signed}.${createHmac('sha256', pem).update(signed).digest('base64url')}`
}
function unsigned(alg: string): string {
  const [, claims] = parts(forge.token())
  return `${base64url(JSON.stringify(es256({ alg })))}.${claims}.`
}
function withSignature(signature: Buffer): string {
  const [header, claims] = parts(forge.token())
  return `${header}.${claims}.${base64url(signature)}`
}
const at61 = (): number => Math.floor(Date.now() / 1000) + 3600

const ATTACKS: Readonly<Record<string, () => string>> = {
  '21: alg none': () => unsigned('none'),
  '21: alg None': () => unsigned('None'),
  '21: alg none with a signature': () => forge.token(forge.claims(), es256({ alg: 'none' })),
  '21: HS256 with the public key': hs256,
  '21: ES384': () => forge.token(forge.claims(), es256({ alg: 'ES384' })),
  '21: r = s = 0': () => withSignature(Buffer.alloc(64)),
  '21: a signature in DER': () =>
    withSignature(Buffer.concat([Buffer.from([0x30, 68]), Buffer.alloc(68, 1)])),
  '21: no signature': () => `${parts(forge.token()).slice(0, 2).join('.')}.`,
  '21: two segments': () => parts(forge.token()).slice(0, 2).join('.'),
  '21: four segments': () => `${forge.token()}.e30`,
  '21: five segments': () => `${forge.token()}.e30.e30`,
  '21: crit': () => forge.token(forge.claims(), es256({ crit: ['exp'] })),
  '21: b64': () => forge.token(forge.claims(), es256({ b64: false, crit: ['b64'] })),
  '21: jwk': () => forge.token(forge.claims(), es256({ jwk: forge.jwk })),
  '21: jku': () => forge.token(forge.claims(), es256({ jku: `${forge.issuer}/evil.json` })),
  '21: x5u': () => forge.token(forge.claims(), es256({ x5u: `${forge.issuer}/evil.pem` })),
  '21: another typ': () => forge.token(forge.claims(), es256({ typ: 'dpop+jwt' })),
  '21: no kid': () => forge.token(forge.claims(), { alg: 'ES256' }),
  '21: another kid': () => forge.token(forge.claims(), es256({ kid: 'another' })),
  '21: a claim changed after signing': () => {
    const [header, , signature] = parts(forge.token())
    return `${header}.${base64url(JSON.stringify(forge.claims({ sub: 'admin' })))}.${signature}`
  },
  '22: padding': () => `${forge.token()}==`,
  '22: base64url that is not canonical': () => {
    const token = forge.token()
    const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    return token.slice(0, -1) + last[last.indexOf(token.at(-1) ?? '') ^ 1]
  },
  '22: a member twice in the claims': () =>
    forge.token(JSON.stringify(forge.claims()).replace('{', '{"sub":"admin",')),
  '22: a member twice in the header': () =>
    forge.token(forge.claims(), JSON.stringify(es256({})).replace('{', '{"alg":"none",')),
  '22: exp of 1e308': () => forge.token(forge.claims({ exp: 1e308 })),
  '22: exp in a hundred years': () => forge.token(forge.claims({ exp: at61() + 3.2e9 })),
  '22: no exp': () => forge.token(forge.claims({ exp: undefined })),
  '22: exp as text': () => forge.token(forge.claims({ exp: '9999999999' })),
  '22: iat in the future': () => forge.token(forge.claims({ iat: at61() })),
  '22: nbf in the future': () => forge.token(forge.claims({ nbf: at61() })),
  '22: no sub': () => forge.token(forge.claims({ sub: undefined })),
  '22: an empty sub': () => forge.token(forge.claims({ sub: '' })),
  '22: sub as a number': () => forge.token(forge.claims({ sub: 1 })),
  '22: sub of 2 KB': () => forge.token(forge.claims({ sub: 'x'.repeat(2048) })),
  '22: scope as a list': () => forge.token(forge.claims({ scope: ['inference'] })),
  '23: another issuer': () => forge.token(forge.claims({ iss: 'https://evil.test' })),
  '23: another audience': () => forge.token(forge.claims({ aud: 'another' })),
  '23: no audience': () => forge.token(forge.claims({ aud: undefined })),
  '23: a number among the audiences': () => forge.token(forge.claims({ aud: [forge.audience, 1] })),
  "23: development mode's issuer": () =>
    forge.token(forge.claims({ iss: 'http://127.0.0.1:5382' })),
  'no token at all': () => 'abc',
  'bytes that are no JSON': () => forge.token('nonsense'),
  'claims that are a list': () => forge.token('[]'),
}

describe('attack 21 to 24: no response says what is wrong with a token', () => {
  test('a good one passes', async () => {
    expect((await ask(forge.token())).status).toBe(200)
    await reachedUpstream(at)
  })

  /** All that a stranger sees, but for what is another with every answer. */
  const seen = async (response: Response): Promise<unknown> => ({
    status: response.status,
    body: await response.text(),
    headers: [...response.headers].filter(([name]) => name !== 'x-request-id' && name !== 'date'),
  })
  for (const [name, token] of Object.entries(ATTACKS)) {
    test(`attack ${name} is 401, the same 401 as all the others`, async () => {
      const uniform = {
        message: 'invalid token',
        type: 'authentication_error',
        code: 'invalid_token',
        param: null,
      }
      const response = await ask(token())
      const id = response.headers.get('x-request-id') ?? ''
      expect(await seen(response)).toEqual({
        status: 401,
        body: JSON.stringify({ error: uniform }),
        headers: [
          ['cache-control', 'no-store'],
          ['content-length', '103'],
          ['content-type', 'application/json'],
          [
            'www-authenticate',
            'Bearer realm="postern", error="invalid_token", error_description="invalid token"',
          ],
          ['x-protocol-version', '1'],
        ],
      })
      // The operator is told.
      expect((await at.gate.logged(id))['reason']).toBeString()
      expect(await reachedUpstream(at)).toEqual([])
    })
  }

  test('an expired one is reported as expired, which the caller can mend', async () => {
    const response = await ask(forge.token(forge.claims({ exp: at61() - 3600 - 61 })))
    expect(response.status).toBe(401)
    expect(errorOf(await response.text())).toMatchObject({ message: 'token has expired' })
  })

  test('attack 24: the refusal of a token beyond 16 KiB states the maximum', async () => {
    const response = await ask(forge.token(forge.claims({ padding: 'x'.repeat(12_288) })))
    expect(response.status).toBe(401)
    expect(errorOf(await response.text())).toMatchObject({
      code: 'invalid_token',
      message: expect.stringContaining('more than 16384 bytes'),
    })
    expect(await reachedUpstream(at)).toEqual([])
    expect((await ask(forge.token(forge.claims({ padding: 'x'.repeat(11_264) })))).status).toBe(200)
    await reachedUpstream(at)
  })

  test('none of them made the gate ask anybody anything: no jku, no x5u', () => {
    expect(forge.asked.every((path) => path === '/jwks.json')).toBe(true)
  })

  test('a token without the scope is 403 and names it', async () => {
    for (const scope of [undefined, '', 'inferenc', 'inferences', 'INFERENCE', 'a,inference']) {
      const response = await ask(forge.token(forge.claims({ scope })))
      expect(response.status).toBe(403)
      expect(response.headers.get('www-authenticate')).toBe(
        'Bearer realm="postern", error="insufficient_scope", ' +
          'error_description="inference scope required", scope="inference"',
      )
      expect(errorOf(await response.text())).toEqual({
        message: 'inference scope required',
        type: 'permission_error',
        code: 'insufficient_scope',
        param: null,
      })
    }
    expect(await reachedUpstream(at)).toEqual([])
  })
})

test('attack 25: ten thousand random kids cause one look at the key set at the most', async () => {
  const before = forge.asked.length
  const [, claims, signature] = parts(forge.token())
  const one = async (): Promise<number> => {
    const header = base64url(JSON.stringify(es256({ kid: crypto.randomUUID() })))
    const response = await ask(`${header}.${claims}.${signature}`)
    await response.bytes()
    return response.status
  }
  const statuses = new Set<number>()
  const worker = async (): Promise<void> => {
    for (let count = 0; count < howMany(40, 200); count += 1) statuses.add(await one())
  }
  await Promise.all(Array.from({ length: 50 }, worker))
  expect([...statuses]).toEqual([401])
  expect(forge.asked.length - before).toBeLessThanOrEqual(1)
  expect((await ask(forge.token())).status).toBe(200)
  await reachedUpstream(at)
})

test('attack 20: no proxy of the environment is asked, for inference or for the key set', async () => {
  const proxy = await startRawUpstream()
  proxy.answer('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
  const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY']
  const env = Object.fromEntries(
    [...names, ...names.map((name) => name.toLowerCase())].map((name) => [name, proxy.url]),
  )
  const diverted = await scene({ env })
  try {
    for (const path of ['/v1/models', '/.well-known/hpke-keys', '/attestation']) {
      const response = await fetch(diverted.gate.url + path, { headers: bearer(diverted.token) })
      expect(response.status).toBe(200)
    }
    expect(diverted.upstream.seen).toHaveLength(3)
    expect(proxy.connections).toEqual([])
  } finally {
    await diverted.close()
    await proxy.close()
  }
})
