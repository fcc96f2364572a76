// Users' tokens, segment by segment, against an oracle that shares no code with ours: what jose says
// of signature and claims, and the strict rules (RFC 7515 §2 and §4, RFC 8725 §3, RFC 9068 §2.1)
// written as a list, on a JSON reader of the test's own.

import { beforeAll, expect, test } from 'bun:test'
import { type CryptoKey, importJWK, jwtVerify } from 'jose'
import { userAdmission } from '../../src/admit/admit.ts'
import { issuerOf } from '../../src/admit/issuer-settings.ts'
import { identifier } from '../../src/token/identity.ts'
import { parseKeySet } from '../../src/admit/key-set.ts'
import type { KeySource, VerifyKey } from '../../src/admit/jwks.ts'
import {
  AUDIENCE,
  base64url,
  goodClaims,
  ISSUER,
  type Mint,
  mint,
  NOW,
  SETTINGS,
} from '../support/mint.ts'
import type { Random } from '../support/random.ts'
import { chance, fuzz, FUZZ_MS, mangled } from './fuzz.ts'
import { strictJson } from './strict-reader.ts'
import { everything } from '../support/admitted.ts'

const DAY = 86_400
const SKEW = 60
const ours = mint('ours')
const second = mint('second')
const stranger = mint('ours')

const keys = new Map<string, VerifyKey>()
const imported = new Map<string, CryptoKey>()
beforeAll(async () => {
  for (const { kid, jwk } of [ours, second]) {
    const [key] = (await parseKeySet(JSON.stringify({ keys: [jwk] }))).keys
    if (key) keys.set(kid, key)
    imported.set(kid, (await importJWK(jwk, 'ES256')) as CryptoKey)
  }
})
const source: KeySource = {
  ready: () => true,
  current: (kid) => keys.get(kid),
  lookup: async (kid) => {
    const value = keys.get(kid)
    return value ? { ok: true, value } : { ok: false, code: 'unknown_kid' }
  },
  start() {},
  stop() {},
}
const admission = userAdmission([issuerOf(SETTINGS, source)], identifier(undefined), everything)

const STRANGE: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  '',
  ' ',
  'x',
  [],
  {},
  [''],
  { a: 1 },
  'é'.repeat(513),
  'x'.repeat(1024),
  'x'.repeat(1025),
  '\u0000',
  '__proto__',
]

function headerOf(random: Random, by: Mint): Record<string, unknown> {
  const header: Record<string, unknown> = { ...by.header }
  if (chance(random, 0.75)) return header
  const typs = [
    'JWT',
    'jwt',
    'at+jwt',
    'AT+JWT',
    'application/at+jwt',
    'dpop+jwt',
    'JWS',
    undefined,
  ]
  const members: readonly (readonly [string, readonly unknown[]])[] = [
    ['typ', typs],
    ['alg', ['ES256', 'es256', 'none', 'HS256', 'ES384', ['ES256'], undefined]],
    ['kid', ['ours', 'second', 'third', '__proto__', 'constructor', 'k'.repeat(257), undefined]],
    ['crit', [['exp'], [], ['b64']]],
    ['b64', [true, false]],
    ...['jwk', 'jku', 'x5u', 'x5c', 'zip', 'enc'].map((name) => [name, ['x', {}]] as const),
    ['cty', ['JWT', 'x']],
    ['x5t', ['x']],
  ]
  const [name, values] = random.pick(members)
  header[name] = chance(random, 0.15) ? random.pick(STRANGE) : random.pick(values)
  return header
}

function claimsOf(random: Random, now: number): Record<string, unknown> {
  const claims: Record<string, unknown> = { ...goodClaims(now), exp: now + 900 - random.int(1100) }
  if (chance(random, 0.5)) return claims
  const about = (to: number): number => to + random.pick([-1.5, -1, -0.5, 0, 0.5, 1, 1.5])
  const members: readonly (readonly [string, readonly unknown[]])[] = [
    ['iss', [ISSUER, `${ISSUER}/`, [ISSUER], undefined]],
    ['aud', [AUDIENCE, 'other-gate', [AUDIENCE], ['x', AUDIENCE], ['x'], [AUDIENCE, 1], [], {}]],
    ['sub', ['user', 'x'.repeat(1024), 'é'.repeat(512), `${'é'.repeat(512)}x`, '', 7, undefined]],
    ['exp', [about(now - SKEW), about(now), about(now + 366 * DAY), String(now), undefined]],
    ['nbf', [about(now + SKEW), about(now), 0, '0', undefined]],
    ['iat', [about(now + SKEW), about(now), 0, '0', undefined]],
    [
      'scope',
      ['inference', 'a inference  b', 'inferences', 'INFERENCE', '', ['inference'], undefined],
    ],
    ['jti', ['x']],
  ]
  for (let times = 1 + random.int(2); times > 0; times -= 1) {
    const [name, values] = random.pick(members)
    claims[name] = chance(random, 0.1) ? random.pick(STRANGE) : random.pick(values)
  }
  return claims
}

/** Mostly as JSON has it; sometimes with a member twice, or not quite JSON. */
function textOf(random: Random, value: Record<string, unknown>): string {
  const text = JSON.stringify(value)
  if (chance(random, 0.9)) return text
  const doubled = random.pick(['"sub":"x"', '"alg":"none"', '"a":{"b":1,"b":2}', '"\\u0065xp":1'])
  return random.pick([
    text.replace('{', `{${doubled},`),
    text.replace(/}$/, `,${doubled}}`),
    ` ${text}\n`,
    `\ufeff${text}`,
    `[${text}]`,
    mangled(random, text, [
      '"',
      '\\',
      '{',
      '}',
      ',',
      ':',
      '0',
      '\u0000',
      'é',
      ' ',
      '\\u0000',
      '//',
    ]),
  ])
}

const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

function segmentOf(random: Random, text: string): string {
  const segment = base64url(text)
  if (chance(random, 0.93)) return segment
  const last = BASE64URL.indexOf(segment.at(-1) ?? 'A')
  return random.pick([
    `${segment}=`,
    segment.slice(0, -1) + BASE64URL[(last + 1) % 64],
    Buffer.from(text).toString('base64'),
    mangled(random, segment, ['=', '+', '/', '.', ' ', '\n', 'A', '_']),
    Buffer.from(text, 'latin1').toString('base64url'),
  ])
}

function signatureOf(random: Random, by: Mint, input: string): string {
  const good = by.signature(input)
  if (chance(random, 0.85)) return good.toString('base64url')
  const bytes = random.pick([
    by.signature(input, 'der'),
    by.signature(`${input} `),
    Buffer.alloc(64),
    good.subarray(0, 63),
    Buffer.concat([good, Buffer.from([0])]),
    Buffer.from(good.map((byte, at) => (at === 5 ? byte ^ 1 : byte))),
    Buffer.alloc(0),
  ])
  return segmentOf(random, bytes.toString('latin1'))
}

function tokenOf(random: Random, now: number): string {
  const by = random.pick([ours, ours, ours, second, stranger])
  const header = segmentOf(random, textOf(random, headerOf(random, by)))
  const claims = segmentOf(random, textOf(random, claimsOf(random, now)))
  const input = `${header}.${claims}`
  const token = `${input}.${signatureOf(random, by, input)}`
  if (chance(random, 0.96)) return token
  return random.pick([
    `${token}.`,
    `${token}.${header}`,
    input,
    mangled(random, token, ['.', '=', '~', 'A']),
    by.token({ padding: 'x'.repeat(16_384 - random.int(1000)) }),
  ])
}

type Verdict = 'ok' | 'token_expired' | 'insufficient_scope' | 'refused'

/** RFC 7515 §2: the alphabet, no padding, and no bits left over that are not zero. */
function decoded(segment: string): Buffer | undefined {
  if (segment === '' || segment.length % 4 === 1) return undefined
  let bits = 0
  let value = 0
  const bytes: number[] = []
  for (const letter of segment) {
    const six = BASE64URL.indexOf(letter)
    if (six === -1) return undefined
    value = (value << 6) | six
    bits += 6
    if (bits < 8) continue
    bits -= 8
    bytes.push((value >> bits) & 255)
    value &= (1 << bits) - 1
  }
  return value === 0 ? Buffer.from(bytes) : undefined
}

const isDate = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0

const FORBIDDEN = ['crit', 'b64', 'jwk', 'jku', 'x5u', 'x5c', 'zip', 'enc']

async function oracle(token: string, now: number): Promise<Verdict> {
  const segments = token.split('.').map(decoded)
  if (token.length > 16_384 || segments.length !== 3) return 'refused'
  const [header, claims] = segments.map((bytes) => bytes && strictJson(bytes))
  if (!header || !claims || segments[2]?.byteLength !== 64) return 'refused'
  if (FORBIDDEN.some((name) => name in header)) return 'refused'
  const { typ, kid } = header
  if (typeof (typ ?? '') !== 'string' || typ === null || typeof kid !== 'string') return 'refused'
  if (typ !== undefined && !/^(jwt|(application\/)?at\+jwt)$/i.test(String(typ))) return 'refused'
  const key = kid.length <= 256 ? imported.get(kid) : undefined
  if (!key) return 'refused'

  const { aud, sub, exp, nbf, iat, scope } = claims
  const audiences = Array.isArray(aud) ? aud : [aud]
  if (audiences.some((each) => typeof each !== 'string')) return 'refused'
  if (typeof sub !== 'string' || sub === '' || Buffer.byteLength(sub) > 1024) return 'refused'
  if (!isDate(exp) || exp > now + 366 * DAY) return 'refused'
  for (const at of [nbf, iat]) {
    if (at !== undefined && (!isDate(at) || at > now + SKEW)) return 'refused'
  }
  if (scope !== undefined && typeof scope !== 'string') return 'refused'
  try {
    await jwtVerify(token, key, {
      algorithms: ['ES256'],
      issuer: ISSUER,
      audience: [...SETTINGS.audiences],
      requiredClaims: ['sub', 'exp'],
      currentDate: new Date(now * 1000),
      // What is too old is told apart below; jose refuses at the very second.
      clockTolerance: 10 * DAY * 365,
    })
  } catch {
    return 'refused'
  }
  if (exp < now - SKEW) return 'token_expired'
  return (scope ?? '').split(' ').includes('inference') ? 'ok' : 'insufficient_scope'
}

test(
  'a token is admitted exactly if jose and the strict rules both accept it',
  fuzz('jwt', 250, async (random) => {
    const token = tokenOf(random, NOW)
    // What was verified once is remembered: asked again, and later, it is judged as if it were new.
    const times = [NOW, NOW, NOW + random.int(2000)]
    for (const now of times) {
      const expected = await oracle(token, now)
      const credentials = { authorization: `Bearer ${token}`, query: '' }
      const decided = await admission.admit(credentials, { monotonicMs: 0, epochSeconds: now })
      const said = decided.ok ? 'ok' : decided.code
      // Of several things that are wrong, which is told is nobody's promise.
      const told = said === 'token_expired' && expected === 'refused' ? 'refused' : said
      const verdict = SPOKEN.has(told) ? told : 'refused'
      expect([token, now, verdict]).toEqual([token, now, expected])
      if (!decided.ok) expect(REFUSALS).toContain(decided.code)
    }
  }),
  FUZZ_MS,
)

const SPOKEN = new Set<string>(['ok', 'token_expired', 'insufficient_scope'])
const REFUSALS = new Set([
  'invalid_token',
  'token_expired',
  'insufficient_scope',
  // Characters that no bearer token has.
  'malformed_authorization',
  'missing_token',
  'ambiguous_credentials',
])
