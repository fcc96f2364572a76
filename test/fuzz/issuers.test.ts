// Tokens of several issuers with several kinds of keys, their parts mixed up, against an oracle that
// shares no code with ours: jose's own choice of a key in its issuer's set, and the rules as a list.

import { beforeAll, expect, test } from 'bun:test'
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose'
import { userAdmission } from '../../src/admit/admit.ts'
import type { Algorithm } from '../../src/admit/algorithms.ts'
import { issuerOf, type IssuerSettings } from '../../src/admit/issuer-settings.ts'
import { parseKeySet } from '../../src/admit/key-set.ts'
import { identifier } from '../../src/token/identity.ts'
import { everything } from '../support/admitted.ts'
import { type Json, NOW } from '../support/mint.ts'
import { type Random, random } from '../support/random.ts'
import { signer, type Signer } from '../support/signers.ts'
import { chance, fuzz, FUZZ_MS } from './fuzz.ts'

const refresh = { refreshSeconds: 900, maxStaleSeconds: 900 }
const SETTINGS: readonly IssuerSettings[] = [
  { name: 'a', issuer: 'https://a.example', audiences: ['gate'], ...refresh },
  {
    name: 'b',
    issuer: 'https://a.example/',
    audiences: ['gate', 'app'],
    audienceClaims: ['aud', 'client_id'],
    algorithms: ['RS256', 'EdDSA'],
    scope: { name: 'use', claims: ['scp'] },
    groupsClaim: 'r.roles',
    ...refresh,
  },
  {
    name: 'c',
    issuer: 'urn:c',
    jwksUrl: new URL('https://c.example/keys'),
    audiences: ['app'],
    audienceClaims: ['azp'],
    scope: { optional: true },
    subjectClaim: 'r.id',
    requiredClaims: ['org=acme', 'org=emca'],
    ...refresh,
  },
]
const ALGS = ['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA'] as const satisfies Algorithm[]

/** Of each issuer one key for each algorithm, under the same kids as everybody else's. */
const signers = SETTINGS.map(() => ALGS.map((alg) => signer(alg)))
/** Some say no `alg`; jose then goes by their type, as we do. */
const published = signers.map((of, issuer) =>
  of.map(({ jwk }, at) => ((issuer + at) % 2 === 0 ? jwk : { ...jwk, alg: undefined })),
)
const sets = published.map((keys) => createLocalJWKSet({ keys } as unknown as JSONWebKeySet))
const lookups: ReturnType<typeof issuerOf>[] = []
beforeAll(async () => {
  for (const [at, settings] of SETTINGS.entries()) {
    const { keys } = await parseKeySet(JSON.stringify({ keys: published[at] }))
    const byKid = new Map(keys.map((key) => [key.kid, key]))
    lookups.push(
      issuerOf(settings, {
        current: (kid) => byKid.get(kid),
        async lookup(kid) {
          const value = byKid.get(kid)
          return value ? { ok: true, value } : { ok: false, code: 'unknown_kid' }
        },
      }),
    )
  }
})

function claimsOf(random: Random, { issuer, audiences }: IssuerSettings): Json {
  const other = random.pick(SETTINGS)
  const audience = random.pick([...audiences, ...other.audiences, 'another'])
  const members: readonly (readonly [string, readonly unknown[]])[] = [
    ['iss', [other.issuer, `${issuer}/`, undefined, [issuer]]],
    ['aud', [audience, [audience], undefined, [], ['x', audience]]],
    ['azp', [audience, [audience], undefined]],
    ['client_id', [audience, undefined]],
    ['scope', ['inference', 'x inference', 'use', undefined, ['inference']]],
    ['scp', ['use', ['use', 'x'], 'inference', undefined, 7]],
    ['permissions', [['inference'], undefined, {}]],
    ['org', ['acme', 'emca', ['x', 'acme'], 'Acme', undefined, { acme: 1 }]],
    ['r', [{ id: 'u', roles: ['x'] }, { id: 7 }, { id: 'u', roles: 7 }, undefined, 'r', []]],
    ['sub', ['u', undefined, '']],
  ]
  const [audience0] = audiences
  const claims: Record<string, unknown> = {
    iss: issuer,
    aud: audience0,
    azp: audience0,
    sub: 'u',
    org: 'acme',
    scope: 'inference',
    scp: 'use',
    r: { id: 'u', roles: ['x'] },
    iat: NOW,
    exp: NOW + 900,
  }
  for (let times = random.int(3); times > 0; times -= 1) {
    const [name, values] = random.pick(members)
    claims[name] = random.pick(values)
  }
  return claims
}

function tokenOf(random: Random): string {
  const at = random.int(SETTINGS.length)
  const by = random.pick(signers[chance(random, 0.85) ? at : random.int(SETTINGS.length)] ?? [])
  const header: Record<string, unknown> = {}
  if (chance(random, 0.15)) header['alg'] = random.pick([...ALGS, 'HS256', 'none'])
  if (chance(random, 0.15)) header['kid'] = random.pick([...ALGS, 'x'])
  return (by as Signer).token(claimsOf(random, SETTINGS[at] as IssuerSettings), header)
}

const texts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((each) => typeof each === 'string')

/** The name of the issuer, or why not. */
async function oracle(token: string): Promise<string> {
  const [, body = ''] = token.split('.')
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString())
  const at = SETTINGS.findIndex(({ issuer }) => issuer === claims.iss)
  const [settings, set] = [SETTINGS[at], sets[at]]
  if (!settings || !set) return 'invalid_token'
  try {
    await jwtVerify(token, set, {
      algorithms: [...(settings.algorithms ?? ALGS)],
      currentDate: new Date(NOW * 1000),
    })
  } catch {
    return 'invalid_token'
  }
  const { r } = claims
  if (settings.name === 'c') {
    if (claims.azp !== 'app' || typeof r?.id !== 'string') return 'invalid_token'
    const org = new Set([claims.org].flat())
    return org.has('acme') || org.has('emca') ? 'c' : 'invalid_token'
  }
  if (typeof claims.sub !== 'string' || claims.sub === '') return 'invalid_token'
  const isB = settings.name === 'b'
  const named = isB && claims.aud === undefined ? claims.client_id : claims.aud
  const audiences = named === claims.aud ? [named].flat() : [named]
  if (!audiences.some((each) => settings.audiences.includes(each))) return 'invalid_token'
  const said = (isB ? ['scp'] : ['scope', 'scp', 'permissions'])
    .map((name) => claims[name])
    .filter((each) => each !== undefined)
    .map((each) => (typeof each === 'string' ? each.split(' ') : each))
  if (!said.every(texts)) return 'invalid_token'
  const roles = isB && typeof r === 'object' ? r.roles : undefined
  if (roles !== undefined && !texts(roles)) return 'invalid_token'
  return said.flat().includes(isB ? 'use' : 'inference') ? settings.name : 'insufficient_scope'
}

const verdicts = new Set<string>()

async function judged(random: Random): Promise<void> {
  const { admit } = userAdmission(lookups, identifier(undefined), everything)
  const token = tokenOf(random)
  const expected = await oracle(token)
  verdicts.add(expected)
  for (let times = 0; times < 2; times += 1) {
    const credentials = { authorization: `Bearer ${token}`, query: '' }
    const said = await admit(credentials, { epochSeconds: NOW, monotonicMs: 0 })
    const verdict = said.ok ? (said.value.issuer ?? '') : said.code
    expect([token, verdict]).toEqual([token, expected])
  }
}

test(
  'a token is its own issuer’s by every measure, or nobody’s',
  fuzz('issuers', 150, judged),
  FUZZ_MS,
)

test('each verdict is among them, the rare one too', async () => {
  const all = ['a', 'b', 'c', 'insufficient_scope', 'invalid_token']
  for (let seed = 0; seed < 10_000 && verdicts.size < all.length; seed += 1) {
    await judged(random(seed))
  }
  expect([...verdicts].toSorted()).toEqual(all)
})
