// Several issuers at once: each token is its own issuer's, by every measure, and nobody else's.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type Issuers, issuers } from '../../src/admit/issuers.ts'
import { issuerMistakes, type IssuerSettings } from '../../src/admit/issuer-settings.ts'
import type { PolicyOf } from '../../src/policy/select.ts'
import { identifier } from '../../src/token/identity.ts'
import { collector, ask, type KeyServer, keyServer, silent } from '../support/keys.ts'
import { type Json, mint, NOW, SETTINGS } from '../support/mint.ts'
import { signer } from '../support/signers.ts'
import { everything } from '../support/admitted.ts'

const A = 'https://a.example'
const B = 'https://b.example/'
const at = (epochSeconds = NOW) => ({ epochSeconds, monotonicMs: performance.now() })
const bearer = (token: string) => ({ authorization: `Bearer ${token}`, query: '' })
const identify = identifier(undefined)

const byA = mint('shared')
const byB = signer('RS256', { kid: 'shared' })
let [a, b]: KeyServer[] = []
let all: Issuers
const settingsOf = (more: Partial<IssuerSettings>): IssuerSettings => ({
  ...SETTINGS,
  scope: undefined,
  ...more,
})
beforeAll(async () => {
  a = await keyServer([byA.jwk])
  b = await keyServer([byB.jwk])
  all = issuers(
    [
      settingsOf({ name: 'a', issuer: A, jwksUrl: a.url, audiences: ['for-a'] }),
      settingsOf({
        name: 'b',
        issuer: B,
        jwksUrl: b.url,
        audiences: ['for-b'],
        scope: { name: 'use' },
        groupsClaim: 'groups',
      }),
    ],
    { ask, identify, policyOf: everything, log: silent },
  )
})
afterAll(async () => {
  await a?.close()
  await b?.close()
})

const ofA = (claims: Json = {}): string => byA.token({ iss: A, aud: 'for-a', ...claims })
const ofB = (claims: Json = {}, header: Json = {}): string =>
  byB.token({ iss: B, aud: 'for-b', scope: 'use', ...claims }, header)
const say = async (token: string, now = at()): Promise<string> => {
  const said = await all.admit(bearer(token), now)
  return said.ok ? (said.value.issuer ?? '') : `${said.code}: ${said.reason ?? said.message}`
}

test('each is admitted under the name of its own', async () => {
  expect([await say(ofA()), await say(ofB())]).toEqual(['a', 'b'])
})

test('one sub at two issuers is two people', async () => {
  const [one, other] = [await all.admit(bearer(ofA()), at()), await all.admit(bearer(ofB()), at())]
  if (!one.ok || !other.ok) throw new Error('refused')
  expect(one.value.identity).toBe(identify(A, 'user-1'))
  expect(other.value.identity).toBe(identify(B, 'user-1'))
  expect(one.value.identity).not.toBe(other.value.identity)
})

describe("never by another issuer's", () => {
  test('key, under the same kid', async () => {
    expect(await say(byA.token({ iss: B, aud: 'for-b', scope: 'use' }))).toBe(
      'invalid_token: signature is wrong',
    )
    expect(await say(byB.token({ iss: A, aud: 'for-a' }))).toBe('invalid_token: signature is wrong')
  })
  test('audience', async () => {
    expect(await say(ofA({ aud: 'for-b' }))).toBe('invalid_token: aud is another')
    expect(await say(ofB({ aud: 'for-a' }))).toBe('invalid_token: aud is another')
  })
  test('scope', async () => {
    expect(await say(ofA({ scope: 'use' }))).toBe('insufficient_scope: inference scope required')
    expect(await say(ofB({ scope: 'inference' }))).toBe('insufficient_scope: use scope required')
  })
  test('scope, in the challenge (RFC 6750 §3)', async () => {
    const said = await all.admit(bearer(ofB({ scope: 'inference' })), at())
    expect(said).toMatchObject({ scope: 'use' })
  })
})

test('an iss must match to the letter, before any keys are requested', async () => {
  const [before, beside] = [a?.asked, b?.asked]
  for (const iss of [
    `${A}/`,
    B.slice(0, -1),
    A.toUpperCase(),
    `${A} `,
    '',
    null,
    undefined,
    [A],
    { toString: A },
    'constructor',
    '__proto__',
  ]) {
    expect(await say(ofA({ iss }))).toBe('invalid_token: iss is another')
    expect(await say(byA.token({ iss }, { kid: crypto.randomUUID() }))).toBe(
      'invalid_token: iss is another',
    )
  }
  expect([a?.asked, b?.asked]).toEqual([before, beside])
})

test('a known token of any issuer is admitted without a promise', async () => {
  for (const token of [ofA({ sub: 'known' }), ofB({ sub: 'known' })]) {
    const first = all.admit(bearer(token), at())
    expect(first).toBeInstanceOf(Promise)
    const decided = await first
    // The very same object: a known token costs no new one.
    expect(all.admit(bearer(token), at())).toBe(decided)
  }
})

test("groups come from the issuer's configured claim", async () => {
  const groupsOf = async (token: string): Promise<unknown> => {
    const said = await all.admit(bearer(token), at())
    return said.ok ? said.value.groups : said.reason
  }
  expect(await groupsOf(ofA({ groups: ['x'] }))).toEqual([])
  expect(await groupsOf(ofB({ groups: ['x', 'y'] }))).toEqual(['x', 'y'])
  expect(await groupsOf(ofB({ groups: 'x y' }))).toEqual(['x y'])
  expect(await groupsOf(ofB())).toEqual([])
  expect(await groupsOf(ofB({ groups: [] }))).toEqual([])
})

test('a token that leaves its groups out is refused', async () => {
  for (const claims of [
    { groups: 7 },
    // Read by its keys, this would make an administrator of whoever is none.
    { groups: { admin: false } },
    { groups: { x: true } },
    { groups: [{ name: 'x' }] },
    { groups: [['x']] },
    { groups: ['x', 7] },
    { groups: null },
    { _claim_names: { groups: 'src1' }, _claim_sources: { src1: { endpoint: 'https://x' } } },
    { hasgroups: true },
  ]) {
    expect(await say(ofB(claims))).toStartWith('invalid_token: groups are')
  }
})

test('users with the same groups share one list', async () => {
  const listOf = async (sub: string): Promise<unknown> => {
    const said = await all.admit(bearer(ofB({ sub, groups: ['staff', 'ops'] })), at())
    return said.ok && said.value.groups
  }
  expect(await listOf('one')).toBe(await listOf('two'))
})

test('an issuer without keys is 503 for its own users alone, and the gate stays ready', async () => {
  const down = await keyServer()
  down.respond((_request, response) => void response.writeHead(500).end())
  const { log, text } = collector()
  const both = issuers(
    [
      settingsOf({ name: 'up', issuer: A, jwksUrl: a?.url, audiences: ['for-a'] }),
      settingsOf({ name: 'down', issuer: B, jwksUrl: down.url, audiences: ['for-b'] }),
    ],
    { ask, identify, policyOf: everything, log },
  )
  expect(both.ready(performance.now())).toBe(false)
  expect(await both.admit(bearer(ofB()), at())).toMatchObject({ code: 'keys_unavailable' })
  expect(both.ready(performance.now())).toBe(false)
  expect(await both.admit(bearer(ofA()), at())).toHaveProperty('ok', true)
  expect(both.ready(performance.now())).toBe(true)
  expect(JSON.parse(text().trim().split('\n')[0] ?? '')).toMatchObject({ issuer: 'down' })
  await down.close()
})

test('an enrolment reads the claims of a token of any of them', async () => {
  const said = await all.enrolling(bearer(ofB({ org: 'acme' })), at())
  expect(said).toMatchObject({ ok: true, value: { identity: identify(B, 'user-1') } })
  expect(said.ok && said.value.claims['org']).toBe('acme')
  expect(await all.enrolling(bearer(ofB({ scope: 'x' })), at())).toMatchObject({
    code: 'insufficient_scope',
  })
})

describe('in the place of others', () => {
  const only = (name: string, issuer: string, server: KeyServer | undefined, audience: string) =>
    settingsOf({ name, issuer, jwksUrl: server?.url, audiences: [audience] })
  let held: Issuers
  const code = async (token: string): Promise<string> => {
    const said = await held.admit(bearer(token), at())
    return said.ok ? 'admitted' : said.code
  }
  const ofBPlain = (): string => ofB({ scope: 'inference' })

  test('an issuer that stays keeps its keys, a removed one is unknown, and a new one is asked for keys', async () => {
    held = issuers([only('a', A, a, 'for-a')], {
      ask,
      identify,
      policyOf: everything,
      log: silent,
    })
    const token = ofA({ sub: 'stays' })
    expect([await code(token), await code(ofBPlain())]).toEqual(['admitted', 'invalid_token'])
    const [before, beside] = [a?.asked, b?.asked ?? 0]
    held.prepare([only('a', A, a, 'for-a'), only('b', B, b, 'for-b')], everything)()
    expect([await code(token), await code(ofBPlain())]).toEqual(['admitted', 'admitted'])
    expect([a?.asked, b?.asked]).toEqual([before, beside + 1])
    held.prepare([only('b', B, b, 'for-b')], everything)()
    expect([await code(token), await code(ofBPlain())]).toEqual(['invalid_token', 'admitted'])
    expect(b?.asked).toBe(beside + 1)
  })

  test('decisions about remembered tokens are made again', async () => {
    held.prepare([only('b', B, b, 'for-b')], everything)()
    expect(await code(ofBPlain())).toBe('admitted')
    held.prepare([only('b', B, b, 'for-another')], everything)()
    expect(await code(ofBPlain())).toBe('invalid_token')
    held.prepare([only('b', B, b, 'for-b')], () => undefined)()
    expect(await code(ofBPlain())).toBe('policy_unknown')
  })

  test('an issuer that is removed while its keys are awaited is unknown', async () => {
    const slow = issuers([only('a', A, a, 'for-a')], {
      ask,
      identify,
      policyOf: everything,
      log: silent,
    })
    const token = ofA({ sub: 'meanwhile' })
    const [asked, enrolling] = [
      slow.admit(bearer(token), at()),
      slow.enrolling(bearer(token), at()),
    ]
    slow.prepare([only('b', B, b, 'for-b')], everything)()
    expect((await Promise.all([asked, enrolling])).map(({ ok }) => ok)).toEqual([false, false])
    // Nor is one judged under the name that it had, by rules that no longer know it.
    let name = 'a'
    const policyOf: PolicyOf = ({ issuer }) => (issuer === name ? everything() : undefined)
    const other = issuers([only('a', A, a, 'for-a')], { ask, identify, policyOf, log: silent })
    const before = other.admit(bearer(token), at())
    other.prepare([only('renamed', A, a, 'for-a')], policyOf)()
    name = 'renamed'
    const found = await before
    expect(found.ok && found.value.issuer).toBe('renamed')
  })

  test('with a mistake changes nothing', async () => {
    held.prepare([only('b', B, b, 'for-b')], everything)()
    expect(() => held.prepare([only('a', A, a, '')], everything)).toThrow('has no audience')
    expect([await code(ofBPlain()), await code(ofA())]).toEqual(['admitted', 'invalid_token'])
  })
})

describe('all mistakes of settings are reported at once, and nothing starts', () => {
  const mistakes = (more: Partial<IssuerSettings>): string[] =>
    issuerMistakes([settingsOf({ name: 'x', issuer: A, ...more })])
  test('none', () => expect(mistakes({})).toEqual([]))
  for (const [name, more, what] of [
    ['no issuer', { issuer: '', jwksUrl: new URL('https://k') }, 'has no issuer'],
    ['no URL, and no key set', { issuer: 'accounts.google.com' }, 'give its jwks_url'],
    ['plain http', { issuer: 'http://id.example' }, 'give its jwks_url'],
    ['no audience', { audiences: [] }, 'has no audience'],
    ['an empty audience', { audiences: [''] }, 'has no audience'],
    ['no audience claim', { audienceClaims: [] }, 'an audience claim other than'],
    ['another audience claim', { audienceClaims: ['sub'] as never }, 'an audience claim other'],
    ['HS256', { algorithms: ['HS256'] as never }, 'an algorithm other than'],
    ['none', { algorithms: ['none'] as never }, 'an algorithm other than'],
    ['no algorithm', { algorithms: [] }, 'an algorithm other than'],
    ['two scopes', { scope: { name: 'a b' } }, 'a scope that is not a scope'],
    ['a scope that ends a header', { scope: { name: 'a"\r\nx' } }, 'a scope that is not a scope'],
    ['no scope claim', { scope: { claims: [] } }, 'an empty list of scope claims'],
    [
      'GitHub Actions without a required claim',
      { issuer: 'https://token.actions.githubusercontent.com' },
      'require a claim, as in repository_owner=acme',
    ],
    ['a required claim without a value', { requiredClaims: ['hd='] }, 'not NAME=VALUE'],
    ['a required claim without a name', { requiredClaims: ['=x'] }, 'not NAME=VALUE'],
    ['a required claim that is neither', { requiredClaims: ['hd'] }, 'not NAME=VALUE'],
    ['no required claim in a list of them', { requiredClaims: [] }, 'not NAME=VALUE'],
    ['a wrong path for groups', { groupsClaim: 'a..b' }, 'not a name or path'],
    ['a wrong path for the subject', { subjectClaim: '' }, 'not a name or path'],
    ['a wrong path for the scope', { scope: { claims: ['scope', '.'] } }, 'not a name or path'],
  ] as const) {
    test(name, () => {
      expect(mistakes(more as Partial<IssuerSettings>)).toEqual([expect.stringContaining(what)])
    })
  }
  test('one issuer twice', () => {
    const twice = [settingsOf({ name: 'x', issuer: A }), settingsOf({ name: 'y', issuer: A })]
    expect(issuerMistakes(twice)).toEqual(['issuer y: has the issuer of x; merge the two'])
    expect(() => issuers(twice, { ask, identify, policyOf: everything, log: silent })).toThrow(
      'merge the two',
    )
  })
  test('several', () => {
    expect(mistakes({ audiences: [], groupsClaim: '.', scope: { name: '' } })).toHaveLength(3)
  })
})
