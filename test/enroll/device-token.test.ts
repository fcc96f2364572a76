// Which texts are a device's token, and which only look like one.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { CompactSign, decodeJwt, decodeProtectedHeader } from 'jose'
import pino from 'pino'
import { issuers } from '../../src/admit/issuers.ts'
import { ask } from '../support/keys.ts'
import { Secret } from '../../src/secret.ts'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { parseCompact } from '../../src/token/compact.ts'
import { ownToken } from '../../src/token/bare.ts'
import { deviceKeys } from '../../src/enroll/keys.ts'
import { rememberedTokens } from '../../src/enroll/remembered.ts'
import { at, claimsOf, identify, outcome, type Scene, scene, SECRET } from './scene.ts'
import { everything } from '../support/admitted.ts'

let world: Scene
let token: string
let issuer: DevIssuer

beforeAll(async () => {
  world = scene()
  token = await world.enrolled()
  issuer = await startIssuer()
})
afterAll(async () => {
  world[Symbol.dispose]()
  await issuer.close()
})

const verdict = async (text: string, seconds = 0): Promise<string> =>
  outcome(await world.gate.verify(text, at(seconds)))

const bytes = (value: unknown): Buffer =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))

/** A token under our own secret, header and claims as somebody would like them. */
async function forged(
  claims: unknown = {},
  header: object = {},
  secret: Secret = SECRET,
): Promise<string> {
  const payload =
    typeof claims === 'string' ? claims : { ...decodeJwt(token), ...(claims as object) }
  return new CompactSign(bytes(payload))
    .setProtectedHeader({ ...decodeProtectedHeader(token), alg: 'HS256', ...header })
    .sign(bytes(secret.reveal()))
}

test('carries the claims of system C and a kind of its own', async () => {
  const terms = {
    models: ['claude-sonnet-*'],
    rateLimit: 30,
    spendCap: 12.5,
    policy: 'staff',
    orgId: 'acme',
  }
  const rich = await world.enrolled('laptop', { entitlements: { ...terms, userId: 'ann' } })
  expect(decodeProtectedHeader(rich)).toMatchObject({ alg: 'HS256', typ: 'postern-device+jwt' })
  const claims = decodeJwt(rich)
  expect(claims).toMatchObject({
    iss: 'postern',
    aud: 'postern-device',
    device_id: 'laptop',
    user_id: 'ann',
    org_id: 'acme',
    policy: 'staff',
    models: ['claude-sonnet-*'],
    rate_limit: 30,
    spend_cap: 12.5,
  })
  expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBe(86_400)
  expect(claims.jti).toMatch(/^tok_[0-9a-f]{32}$/)
  expect(claims['family']).toMatch(/^fam_[0-9a-f]{32}$/)
  const device = await claimsOf(world.gate, rich)
  expect(device).toMatchObject({ deviceId: 'laptop', ...terms, userId: 'ann' })
  expect(device.deviceHash).toMatch(/^[0-9a-f]{64}$/)
})

test('is taken with the prefix sk-ant-proxy- and without, and with it once', async () => {
  expect(await verdict(token)).toBe('granted')
  expect(await verdict(`sk-ant-proxy-${token}`)).toBe('granted')
  expect(await verdict(`sk-ant-proxy-sk-ant-proxy-${token}`)).toBe('invalid_token')
  expect(await verdict(`SK-ANT-PROXY-${token}`)).toBe('invalid_token')
  expect(outcome(await world.gate.refresh(`sk-ant-proxy-${await world.enrolled()}`, at(0)))).toBe(
    'granted',
  )
})

test('is dead at its exp to the second, remembered or not', async () => {
  const fresh = await world.enrolled()
  expect(await verdict(fresh, 86_399)).toBe('granted')
  expect(await verdict(fresh, 86_400)).toBe('token_expired')
  expect(await verdict(fresh, 86_400)).toBe('token_expired')
})

test('attack 22: tokens that jose alone would accept', async () => {
  const [header = '', claims = '', signature = ''] = token.split('.')
  const claimsText = Buffer.from(claims, 'base64url').toString()
  const others = {
    padded: `${token}==`,
    'a space behind it': `${token} `,
    'a newline behind it': `${token}\n`,
    'non-canonical trailing bits': `${header}.${claims}.${loosened(signature)}`,
    'two segments': `${header}.${claims}`,
    'four segments': `${token}.${signature}`,
    'five segments': `${token}.a.b`,
    'no signature': `${header}.${claims}.`,
    'a repeated claim': await forged(claimsText.replace('{', '{"device_id":"another",')),
    'claims that are an array': await forged('[]'),
    'exp 1e308': await forged(claimsText.replace(/"exp":\d+/, '"exp":1e308')),
    'exp in 100 years': await forged({ exp: at(100 * 365 * 86_400).epochSeconds }),
    'exp as text': await forged({ exp: String(at(60).epochSeconds) }),
    'no exp': await forged({ exp: undefined }),
    'iat in the future': await forged({ iat: at(61).epochSeconds }),
    'sub of another type': await forged({ sub: 7 }),
    'an empty sub': await forged({ sub: '' }),
    'a device_id over its bound': await forged({ device_id: 'x'.repeat(201) }),
    'a device_id with a line break': await forged({ device_id: 'a\nb' }),
    'a jti that is none of ours': await forged({ jti: 'x' }),
    'models that are a string': await forged({ models: 'claude-*' }),
    'no model at all': await forged({ models: [] }),
    'a rate of 0': await forged({ rate_limit: 0 }),
    'a negative cap': await forged({ spend_cap: -1 }),
    'a cap as text': await forged({ spend_cap: '10' }),
  }
  for (const [name, text] of Object.entries(others)) {
    expect([name, await verdict(text)]).toEqual([name, 'invalid_token'])
  }
  expect(await verdict(await forged())).toBe('granted')
})

/** The same bytes with unused bits set: 32 bytes leave two of the last digit's six. */
function loosened(signature: string): string {
  const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = digits.indexOf(signature.at(-1) ?? '')
  return signature.slice(0, -1) + (digits[last + 1] ?? '')
}

test('attack 21: headers that choose their own verification', async () => {
  const [, claims = '', signature = ''] = token.split('.')
  const { kid: known } = decodeProtectedHeader(token)
  const headed = (header: object): string =>
    `${bytes({ typ: 'postern-device+jwt', kid: known, ...header }).toString('base64url')}.${claims}.${signature}`
  for (const alg of ['none', 'None', 'NONE', 'nOnE', 'HS384', 'HS512', 'ES256', 'RS256', 'hs256']) {
    expect(await verdict(headed({ alg }))).toBe('invalid_token')
  }
  const jwk = { kty: 'oct', k: Buffer.alloc(32).toString('base64url') }
  for (const more of [{ jwk }, { jku: 'https://x' }, { x5u: 'https://x' }, { zip: 'DEF' }]) {
    expect(await verdict(await forged({}, more))).toBe('invalid_token')
  }
  for (const kid of [undefined, '', '__proto__', 'x'.repeat(500), 7]) {
    expect(await verdict(await forged({}, { kid }))).toBe('invalid_token')
  }
  expect(await verdict(await forged({}, {}, new Secret('x'.repeat(42))))).toBe('invalid_token')
})

test('attack 23: neither kind of token passes for the other', async () => {
  const user = await issuer.token()
  expect(await verdict(user)).toBe('invalid_token')
  expect(outcome(await world.gate.refresh(user, at(0)))).toBe('invalid_token')

  const log = pino({ level: 'silent' })
  const url = new URL(issuer.jwksUrl)
  const by = {
    name: 'test',
    issuer: issuer.issuer,
    jwksUrl: url,
    audiences: [issuer.audience],
    refreshSeconds: 60,
    maxStaleSeconds: 60,
  }
  const { admit } = issuers([by], { ask, identify, policyOf: everything, log })
  const asUser = async (text: string): Promise<boolean> =>
    (await admit({ authorization: `Bearer ${text}`, query: '' }, at(0))).ok
  expect(await asUser(user)).toBe(true)
  expect(await asUser(token)).toBe(false)
  const kid = decodeProtectedHeader(user).kid ?? ''
  const dressed = { iss: issuer.issuer, aud: issuer.audience, scope: 'inference' }
  expect(await asUser(await forged(dressed, { typ: 'JWT', kid }))).toBe(false)
})

test('attack 23: a token of system C, or of another program with the same secret', async () => {
  const systemC = { device_id: 'd', models: ['claude-*'], iat: 1, exp: at(60).epochSeconds }
  const plain = JSON.stringify(systemC)
  expect(await verdict(await forged(plain, { typ: 'JWT' }))).toBe('invalid_token')
  expect(await verdict(await forged(plain))).toBe('invalid_token')
  for (const typ of [undefined, 'JWT', 'at+jwt', 'dpop+jwt', 'POSTERN-DEVICE+JWT']) {
    expect(await verdict(await forged({}, { typ }))).toBe('invalid_token')
  }
  for (const claims of [
    { iss: 'another' },
    { iss: undefined },
    { aud: 'another' },
    { aud: ['postern-device'] },
    { aud: undefined },
  ]) {
    expect(await verdict(await forged(claims))).toBe('invalid_token')
  }
})

test('a token that asks for a proof of possession is no bearer token', async () => {
  expect(await verdict(await forged({ cnf: { jkt: 'x' } }))).toBe('invalid_token')
})

test('the form is refused before jose sees it, each fault by its own check', () => {
  const rules = { HS256: [32, 32] } as const
  const [header = '', claims = '', signature = ''] = token.split('.')
  const segment = (value: unknown): string => bytes(value).toString('base64url')
  const reasonOf = (...segments: string[]): string => {
    const parsed = parseCompact(segments.join('.'), rules)
    return parsed.ok ? 'well formed' : parsed.reason
  }
  expect(reasonOf(header, claims, signature)).toBe('well formed')
  expect(reasonOf(segment({ alg: 'HS384' }), claims, signature)).toBe('alg is not HS256')
  const short = Buffer.alloc(31, 1).toString('base64url')
  const long = Buffer.alloc(64, 1).toString('base64url')
  expect(reasonOf(header, claims, short)).toBe('signature is not 32 bytes')
  expect(reasonOf(header, claims, long)).toBe('signature is not 32 bytes')
  expect(reasonOf(segment({ alg: 'HS256', crit: [] }), claims, signature)).toBe('header has crit')
  expect(reasonOf(header, `${claims}=`, signature)).toBe('not canonical base64url')
  expect(reasonOf('a'.repeat(16_385))).toBe('too long')
})

test('attack 24: 8 KiB and not a byte more is looked at', async () => {
  expect(await verdict('a'.repeat(8193))).toBe('invalid_token')
  expect(await verdict(`sk-ant-proxy-${'a'.repeat(1_000_000)}`)).toBe('invalid_token')
  const result = await world.gate.verify('a'.repeat(8193), at(0))
  expect(result).toMatchObject({ reason: 'too long' })
  expect(ownToken('a'.repeat(8193))).toBeUndefined()
  expect(ownToken(`sk-ant-proxy-${'a'.repeat(8192)}`)).toHaveLength(8192)
})

test('the largest entitlements there are still make a token that is taken', async () => {
  const models = Array.from({ length: 64 }, (_, n) => `${'m'.repeat(43)}${n}`.slice(0, 44))
  const id = '~'.repeat(200)
  const limits = { rateLimit: 1_000_000, spendCap: 1_000_000_000 }
  const entitlements = { models, policy: 'p'.repeat(64), orgId: id, userId: id, ...limits }
  const large = await world.enrolled('~'.repeat(200), { entitlements })
  expect(large.length).toBeLessThanOrEqual(8192)
  expect(await verdict(large)).toBe('granted')
})

test('rotation: the first secret signs, all verify, one that is gone does not', async () => {
  const second = new Secret('second-secret-of-the-tests-0123456789abcdef')
  const both = world.another({ secrets: [second, SECRET] })
  expect(outcome(await both.verify(token, at(0)))).toBe('granted')
  const renewed = await both.refresh(await world.enrolled(), at(0))
  const { wrapper_token: next } = renewed.ok ? renewed.value : { wrapper_token: '' }
  expect(await verdict(next)).toBe('invalid_token')
  const later = world.another({ secrets: [second] })
  expect(outcome(await later.verify(next, at(0)))).toBe('granted')
  expect(outcome(await later.verify(token, at(0)))).toBe('invalid_token')
})

test('a secret under 32 bytes, or none, starts nothing', () => {
  expect(() => deviceKeys([new Secret('x'.repeat(31))])).toThrow('shorter than 32 bytes')
  expect(() => deviceKeys([SECRET, new Secret('short')])).toThrow('shorter than 32 bytes')
  expect(() => deviceKeys([])).toThrow('no secret')
  expect(() => deviceKeys([new Secret('é'.repeat(16))])).not.toThrow()
})

test('the kid gives away neither the secret nor its plain hash', () => {
  const { kid } = deviceKeys([SECRET]).signing
  expect(kid).toMatch(/^[A-Za-z0-9_-]{16}$/)
  const hashed = Bun.CryptoHasher.hash('sha256', SECRET.reveal(), 'base64')
  expect(hashed.startsWith(kid)).toBe(false)
})

test('the memory of verified tokens is bounded and keyed by the whole token', async () => {
  const memory = rememberedTokens(3)
  const claims = await claimsOf(world.gate, token)
  for (const text of ['aa', 'ab', 'ac', 'ad']) memory.remember(text, claims)
  expect(memory.recall('aa', 0)).toBeUndefined()
  for (const text of ['ab', 'ac']) expect(memory.recall(text, 0)?.claims).toBe(claims)
  expect(memory.recall('ad', 0)?.claims).toBe(claims)
  expect(memory.recall('ad', claims.expiresAt)).toBeUndefined()
  expect(memory.recall('ad', 0)).toBeUndefined()
  // One digit of the signature changed, after the good token was remembered.
  expect(await verdict(token)).toBe('granted')
  const flipped = token.slice(0, -2) + (token.at(-2) === 'A' ? 'B' : 'A') + (token.at(-1) ?? '')
  expect(await verdict(flipped)).toBe('invalid_token')
})
