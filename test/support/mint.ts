// Tokens of a test's own making: right, or wrong in whichever way an attack needs.

import { createHmac, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import type { IssuerSettings } from '../../src/admit/issuer-settings.ts'

export const ISSUER = 'https://id.example'
export const AUDIENCE = 'gate'
/** As the environment names one. */
export const SETTINGS: IssuerSettings = {
  name: 'test',
  issuer: ISSUER,
  audiences: [AUDIENCE, 'other-gate'],
  scope: { claims: ['scope'], textOnly: true },
  refreshSeconds: 900,
  maxStaleSeconds: 86_400,
}
/** 2026-01-01, in seconds. */
export const NOW = 1_767_225_600

export type Json = Readonly<Record<string, unknown>>

export const goodClaims = (now = NOW): Json => ({
  iss: ISSUER,
  aud: AUDIENCE,
  sub: 'user-1',
  scope: 'inference',
  iat: now,
  exp: now + 900,
})

export interface Mint {
  readonly kid: string
  readonly publicKey: KeyObject
  /** As a key set publishes it. */
  readonly jwk: Json
  readonly privateJwk: Json
  readonly header: Json
  /** Signed; what is undefined in `claims` or `header` is left out. */
  token(claims?: Json, header?: Json): string
  /** Signed, of whatever text. */
  signed(headerText: string, claimsText: string): string
  /** The signature of two segments, `ieee-p1363` being the one that JWS wants. */
  signature(input: string, dsaEncoding?: 'ieee-p1363' | 'der'): Buffer
}

export function mint(kid: string = randomUUID()): Mint {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { kty, crv, x, y } = publicKey.export({ format: 'jwk' })
  const jwk = { kty, crv, x, y, kid, use: 'sig', alg: 'ES256' }
  const header = { alg: 'ES256', typ: 'JWT', kid }
  const signature: Mint['signature'] = (input, dsaEncoding = 'ieee-p1363') =>
    sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding })
  const signed = (headerText: string, claimsText: string): string => {
    const input = `${base64url(headerText)}.${base64url(claimsText)}`
    return `${input}.${signature(input).toString('base64url')}`
  }
  return {
    kid,
    publicKey,
    jwk,
    privateJwk: { ...jwk, d: privateKey.export({ format: 'jwk' }).d },
    header,
    signed,
    signature,
    token: (claims = {}, more = {}) =>
      signed(
        JSON.stringify({ ...header, ...more }),
        JSON.stringify({ ...goodClaims(), ...claims }),
      ),
  }
}

export const base64url = (text: string | Buffer): string => Buffer.from(text).toString('base64url')

/** RFC 7515 §2: the last character of `segment` with an unused bit of it set. */
function withTrailingBit(segment: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  if (segment.length % 4 === 0) throw new Error('no unused bits')
  return segment.slice(0, -1) + alphabet[alphabet.indexOf(segment.at(-1) ?? '') + 1]
}

/** Every attack on the form of a token, each of them signed where a signature can help it. */
export function attacks(by: Mint): readonly (readonly [name: string, token: string])[] {
  const good = by.token()
  const [header = '', claims = '', signature = ''] = good.split('.')
  const claimsText = JSON.stringify(goodClaims())
  const headerText = JSON.stringify(by.header)
  const input = `${header}.${claims}`
  const unsigned = (more: Json): string =>
    `${base64url(JSON.stringify({ ...by.header, ...more }))}.${claims}.`
  const hs256 = (secret: string | Buffer): string => {
    const start = `${base64url(JSON.stringify({ ...by.header, alg: 'HS256' }))}.${claims}`
    return `${start}.${createHmac('sha256', secret).update(start).digest('base64url')}`
  }
  const withHeader = (more: Json): string => by.token({}, more)
  const withClaimsText = (text: string): string => by.signed(headerText, text)
  const zero = Buffer.alloc(32)
  const order = Buffer.from(
    'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551',
    'hex',
  )
  const raw = (bytes: Buffer): string => `${input}.${base64url(bytes)}`
  /** A claims text whose segment has unused bits. */
  const spare = withClaimsText(claimsText + ' '.repeat(((3 - (claimsText.length % 3)) % 3) + 1))
  const [, spareClaims = ''] = spare.split('.')
  const [, rsPart = ''] = [input, signature]

  return [
    ...['none', 'None', 'NONE', 'nOnE', 'none '].flatMap(
      (alg) =>
        [
          [`alg ${JSON.stringify(alg)} without a signature`, unsigned({ alg })],
          [`alg ${JSON.stringify(alg)} with a signature`, withHeader({ alg })],
        ] as const,
    ),
    ['alg none without its last dot', unsigned({ alg: 'none' }).slice(0, -1)],
    ['no alg', withHeader({ alg: undefined })],
    ['alg null', withHeader({ alg: null })],
    ['alg in an array', withHeader({ alg: ['ES256'] })],
    ['alg es256 in lower case', withHeader({ alg: 'es256' })],
    ['alg ES384 over an ES256 signature', withHeader({ alg: 'ES384' })],
    ['alg EdDSA', withHeader({ alg: 'EdDSA' })],
    [
      'HS256 with the public key as PEM',
      hs256(by.publicKey.export({ type: 'spki', format: 'pem' })),
    ],
    [
      'HS256 with the public key as DER',
      hs256(by.publicKey.export({ type: 'spki', format: 'der' })),
    ],
    ['HS256 with the public JWK', hs256(JSON.stringify(by.jwk))],
    ['HS256 with an empty secret', hs256('')],
    ['r = s = 0', raw(Buffer.alloc(64))],
    ['r = 0', raw(Buffer.concat([zero, Buffer.from(rsPart, 'base64url').subarray(32)]))],
    ['s = 0', raw(Buffer.concat([Buffer.from(rsPart, 'base64url').subarray(0, 32), zero]))],
    ['r = s = n', raw(Buffer.concat([order, order]))],
    ['all bits set', raw(Buffer.alloc(64, 255))],
    ['a DER signature', raw(by.signature(input, 'der'))],
    ['an empty signature', `${input}.`],
    ['a signature of 63 bytes', raw(Buffer.from(rsPart, 'base64url').subarray(0, 63))],
    [
      'a signature of 65 bytes',
      raw(Buffer.concat([Buffer.from(rsPart, 'base64url'), zero.subarray(31)])),
    ],
    ['crit', withHeader({ crit: ['exp'] })],
    ['an empty crit', withHeader({ crit: [] })],
    ['b64 false', withHeader({ crit: ['b64'], b64: false })],
    ['b64 true', withHeader({ b64: true })],
    ['jwk', withHeader({ jwk: by.jwk })],
    ['jku', withHeader({ jku: 'http://127.0.0.1:9/jwks.json' })],
    ['x5u', withHeader({ x5u: 'http://127.0.0.1:9/cert.pem' })],
    ['x5c', withHeader({ x5c: ['MIIB'] })],
    ['zip', withHeader({ zip: 'DEF' })],
    ['enc', withHeader({ enc: 'A256GCM' })],
    ['typ dpop+jwt', withHeader({ typ: 'dpop+jwt' })],
    ['typ logout+jwt', withHeader({ typ: 'logout+jwt' })],
    ['typ JWE', withHeader({ typ: 'JWE' })],
    ['typ null', withHeader({ typ: null })],
    ['typ an array', withHeader({ typ: ['JWT'] })],
    ['no kid', withHeader({ kid: undefined })],
    ['an empty kid', withHeader({ kid: '' })],
    ['kid a number', withHeader({ kid: 1 })],
    ['kid longer than 256', withHeader({ kid: 'k'.repeat(257) })],
    ['kid __proto__', withHeader({ kid: '__proto__' })],
    ['kid constructor', withHeader({ kid: 'constructor' })],
    ['a kid that is a path', withHeader({ kid: '../../dev/null' })],
    ['one segment', header],
    ['two segments', input],
    ['four segments', `${good}.${signature}`],
    ['five segments', `${good}.${signature}.${signature}`],
    ['an empty header', `.${claims}.${signature}`],
    ['empty claims', `${header}..${signature}`],
    ['dots alone', '..'],
    ['nothing', ''],
    ['padding on the signature', `${good}==`],
    ['padding on the header', `${header}==.${claims}.${signature}`],
    ['a space behind it', `${good} `],
    ['a space before it', ` ${good}`],
    ['a line break behind it', `${good}\n`],
    ['a line break inside', `${header}\n.${claims}.${signature}`],
    ['a NUL behind it', `${good}\0`],
    ['a zero-width space', `${good}\u200b`],
    ['an unused bit of the signature', `${input}.${withTrailingBit(signature)}`],
    [
      'an unused bit of the claims, signed',
      (() => {
        const start = `${header}.${withTrailingBit(spareClaims)}`
        return `${start}.${base64url(by.signature(start))}`
      })(),
    ],
    [
      'base64 instead of base64url, signed',
      (() => {
        const text = JSON.stringify({ ...goodClaims(), sub: 'user???>>>' })
        const start = `${header}.${Buffer.from(text).toString('base64').replace(/=+$/, '')}`
        return `${start}.${base64url(by.signature(start))}`
      })(),
    ],
    [
      'padded claims, signed',
      (() => {
        const start = `${header}.${Buffer.from('{"a":1}').toString('base64')}`
        return `${start}.${base64url(by.signature(start))}`
      })(),
    ],
    ['a doubled sub', withClaimsText(claimsText.replace('{', '{"sub":"admin",'))],
    [
      'a doubled sub behind an escape',
      withClaimsText(claimsText.replace('{', '{"su\\u0062":"admin",')),
    ],
    ['a doubled exp', withClaimsText(claimsText.replace('}', `,"exp":${NOW + 900}}`))],
    [
      'a doubled member deep inside',
      withClaimsText(claimsText.replace('{', '{"a":[{"b":{"c":1,"c":1}}],')),
    ],
    ['a doubled alg', by.signed(headerText.replace('{', '{"alg":"none",'), claimsText)],
    [
      'a doubled alg behind an escape',
      by.signed(headerText.replace('{', '{"\\u0061lg":"none",'), claimsText),
    ],
    [
      'a doubled __proto__',
      withClaimsText(claimsText.replace('{', '{"__proto__":1,"__proto__":2,')),
    ],
    ['claims in the prototype', withClaimsText(`{"__proto__":${claimsText}}`)],
    ['a header in the prototype', by.signed(`{"__proto__":${headerText}}`, claimsText)],
    ['claims in an array', withClaimsText(`[${claimsText}]`)],
    ['claims that are null', withClaimsText('null')],
    ['claims that are a string', withClaimsText('"claims"')],
    ['claims that are no JSON', withClaimsText('{iss:1}')],
    ['claims behind a byte order mark', withClaimsText(`\ufeff${claimsText}`)],
    ['claims with a comment', withClaimsText(`${claimsText}/**/`)],
    ['claims cut off', withClaimsText(claimsText.slice(0, -1))],
    [
      'claims that are not UTF-8',
      (() => {
        const bytes = Buffer.from(claimsText.replace('user-1', 'user-\u00ff'), 'latin1')
        const start = `${header}.${base64url(bytes)}`
        return `${start}.${base64url(by.signature(start))}`
      })(),
    ],
    ['a thousand brackets', withClaimsText(`{"a":${'['.repeat(1000)}`)],
    ['longer than 16 KiB', by.token({ padding: 'x'.repeat(16_384) })],
    ['a megabyte', 'a'.repeat(1_048_576)],
  ]
}

/** Signed and well-formed, and still nobody's access token for this gate. */
export const wrongClaims: readonly (readonly [name: string, claims: Json])[] = [
  ['another issuer', { iss: 'https://evil.example' }],
  ['an issuer with a slash more', { iss: `${ISSUER}/` }],
  ['an issuer in an array', { iss: [ISSUER] }],
  ['no issuer', { iss: undefined }],
  ['another audience', { aud: 'somebody-else' }],
  ['an audience that ours is a prefix of', { aud: `${AUDIENCE}-2` }],
  ['an audience in another case', { aud: AUDIENCE.toUpperCase() }],
  ['an array of other audiences', { aud: ['a', 'b'] }],
  ['a mixed array of audiences', { aud: [AUDIENCE, 1] }],
  ['a nested array of audiences', { aud: [[AUDIENCE]] }],
  ['an empty array of audiences', { aud: [] }],
  ['an audience that is an object', { aud: { 0: AUDIENCE } }],
  ['an audience that is null', { aud: null }],
  ['no audience', { aud: undefined }],
  ['no subject', { sub: undefined }],
  ['an empty subject', { sub: '' }],
  ['a subject that is a number', { sub: 7 }],
  ['a subject that is an object', { sub: { toString: 'user-1' } }],
  ['a subject in an array', { sub: ['user-1'] }],
  ['a subject of 1025 bytes', { sub: 'x'.repeat(1025) }],
  ['a subject of 1025 bytes in 513 characters', { sub: `${'é'.repeat(512)}x` }],
  ['no exp', { exp: undefined }],
  ['exp as text', { exp: '123' }],
  ['exp as a good number in text', { exp: String(NOW + 900) }],
  ['exp null', { exp: null }],
  ['exp true', { exp: true }],
  ['exp 1e308', { exp: 1e308 }],
  ['exp in milliseconds', { exp: (NOW + 900) * 1000 }],
  ['exp in a hundred years', { exp: NOW + 100 * 365.25 * 86_400 }],
  ['exp in a year and two days', { exp: NOW + 367 * 86_400 }],
  ['a negative exp', { exp: -1 }],
  ['iat 61 s ahead', { iat: NOW + 61 }],
  ['iat as text', { iat: String(NOW) }],
  ['iat null', { iat: null }],
  ['a negative iat', { iat: -1 }],
  ['nbf 61 s ahead', { nbf: NOW + 61 }],
  ['nbf as text', { nbf: '0' }],
  ['scope in an array', { scope: ['inference'] }],
  ['scope in an object', { scope: { inference: true } }],
  ['scope null', { scope: null }],
]
