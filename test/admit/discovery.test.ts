// Where an issuer's keys are, as it says itself, over real sockets: what is believed of it, what is not,
// and that a failure is a failure of the keys, tried again like them.

import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { discoverKeySet, discoveryUrl } from '../../src/admit/discovery.ts'
import { type Issuers, issuers } from '../../src/admit/issuers.ts'
import { identifier } from '../../src/token/identity.ts'
import { until } from '../support/binary.ts'
import { ask, collector, silent } from '../support/keys.ts'
import { mint, NOW, SETTINGS } from '../support/mint.ts'
import { type Respond, startUpstream, type Upstream } from '../support/upstream.ts'
import { everything } from '../support/admitted.ts'

const by = mint('key-1')
const at = () => ({ epochSeconds: NOW, monotonicMs: performance.now() })
const DOCUMENT = '/.well-known/openid-configuration'

let provider: Upstream
let issuer: string
let document: unknown
let keys: readonly unknown[]
beforeEach(async () => {
  provider = await startUpstream()
  issuer = provider.url
  document = { issuer, jwks_uri: `${issuer}/jwks`, response_types_supported: ['code'] }
  keys = [by.jwk]
  serve()
})
afterEach(() => provider.close())

function serve(other: Respond = (_request, response) => void response.writeHead(404).end()): void {
  provider.respond((request, response, read) => {
    const body =
      request.url === DOCUMENT ? document : request.url === '/jwks' ? { keys } : undefined
    if (body === undefined) return other(request, response, read)
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  })
}
const paths = (): (string | undefined)[] => provider.seen.map(({ url }) => url)
const settings = () => ({ ...SETTINGS, issuer, jwksUrl: undefined })
const opened = (log = silent): Issuers =>
  issuers([settings()], { ask, identify: identifier(undefined), policyOf: everything, log })
const admitted = async (of: Issuers, token = by.token({ iss: issuer })): Promise<string> => {
  const said = await of.admit({ authorization: `Bearer ${token}`, query: '' }, at())
  return said.ok ? 'admitted' : said.code
}

test('the issuer alone is enough', async () => {
  const found = opened()
  expect(await admitted(found)).toBe('admitted')
  expect(paths()).toEqual([DOCUMENT, '/jwks'])
  expect(found.ready(performance.now())).toBe(true)
})

test('200 first requests are one document and one set', async () => {
  const found = opened()
  const said = await Promise.all(Array.from({ length: 200 }, () => admitted(found)))
  expect(new Set(said)).toEqual(new Set(['admitted']))
  expect(paths()).toEqual([DOCUMENT, '/jwks'])
})

describe('believes no document', () => {
  const key = (more: object): unknown => ({ issuer, jwks_uri: `${issuer}/jwks`, ...more })
  const cases: Readonly<Record<string, readonly [() => unknown, string]>> = {
    'whose issuer has a slash more': [() => key({ issuer: `${issuer}/` }), 'something else'],
    'whose issuer is in another case': [
      () => key({ issuer: issuer.toUpperCase() }),
      'something else',
    ],
    'of another issuer': [() => key({ issuer: 'https://evil.example' }), 'something else'],
    'without an issuer': [() => key({ issuer: undefined }), 'something else'],
    'with its issuer in a list': [() => key({ issuer: [issuer] }), 'something else'],
    'with two issuers': [
      () => `{"issuer":"https://evil.example","issuer":"${issuer}","jwks_uri":"${issuer}/jwks"}`,
      'a member twice',
    ],
    'without a jwks_uri': [() => key({ jwks_uri: undefined }), 'jwks_uri'],
    'whose jwks_uri is not a URL': [() => key({ jwks_uri: '/jwks' }), 'jwks_uri'],
    'whose jwks_uri is a file': [() => key({ jwks_uri: 'file:///etc/passwd' }), 'jwks_uri'],
    'whose jwks_uri is plain': [() => key({ jwks_uri: 'http://keys.example/jwks' }), 'jwks_uri'],
    'whose jwks_uri has a password': [
      () => key({ jwks_uri: 'https://a:b@keys.example/jwks' }),
      'jwks_uri',
    ],
    'that is a list': [() => [key({})], 'no JSON object'],
    'that is a web page': [() => '<html>', 'no JSON object'],
  }
  for (const [name, [make, why]] of Object.entries(cases)) {
    test(name, async () => {
      document = make()
      await expect(discoverKeySet(ask, { issuer })).rejects.toThrow(why)
      expect(await admitted(opened())).toBe('keys_unavailable')
      expect(paths()).not.toContain('/jwks')
    })
  }

  for (const [name, respond, why] of [
    ['404', (_q, r) => void r.writeHead(404).end(), 'status 404'],
    [
      'a redirect',
      (_q, r) => void r.writeHead(302, { location: '/elsewhere' }).end(),
      'redirects are not followed',
    ],
    ['two megabytes', (_q, r) => void r.writeHead(200).end(' '.repeat(2_097_152)), 'larger than'],
    ['a reset', (_q, r) => void r.destroy(), 'discovery: '],
  ] satisfies [string, Respond, string][]) {
    test(name, async () => {
      document = undefined
      serve(respond)
      await expect(discoverKeySet(ask, { issuer })).rejects.toThrow(why)
      expect(await admitted(opened())).toBe('keys_unavailable')
      expect(paths()).not.toContain('/elsewhere')
    })
  }

  test('that takes too long', async () => {
    document = undefined
    serve(() => {})
    await expect(discoverKeySet(ask, { issuer }, 50)).rejects.toThrow('discovery: TimeoutError')
  })
})

test('a failure is retried by itself, its end is logged, and the log has no URL', async () => {
  const { log, text } = collector()
  const good = document
  document = { issuer: `${issuer}/`, jwks_uri: `${issuer}/jwks` }
  const found = opened(log)
  found.start()
  await until(() => text().includes('key set cannot be read'))
  expect(found.ready(performance.now())).toBe(false)
  expect(text()).toContain('discovery: the document calls its issuer something else')
  expect(text()).not.toContain(issuer)
  document = good
  await until(() => text().includes('key set is back'))
  expect(await admitted(found)).toBe('admitted')
  found.stop()
})

test('the known keys serve while the document is away', async () => {
  const found = opened()
  expect(await admitted(found)).toBe('admitted')
  document = undefined
  expect(await admitted(found)).toBe('admitted')
  expect(await admitted(found, by.token({ iss: issuer, sub: 'another' }))).toBe('admitted')
})

test('the document is at the issuer, whose slash at the end is not doubled', () => {
  for (const [of, url] of [
    ['https://id.example', 'https://id.example/.well-known/openid-configuration'],
    ['https://id.example/', 'https://id.example/.well-known/openid-configuration'],
    ['https://id.example/a/b', 'https://id.example/a/b/.well-known/openid-configuration'],
    ['http://127.0.0.1:9/', 'http://127.0.0.1:9/.well-known/openid-configuration'],
    ['http://id.example', undefined],
    ['accounts.google.com', undefined],
    ['https://a:b@id.example', undefined],
    ['https://id.example?a', undefined],
    ['urn:issuer', undefined],
    ['', undefined],
  ] as const) {
    expect([of, discoveryUrl(of)?.href]).toEqual([of, url])
  }
})

test('http is for loopback, and for hosts that the settings name', () => {
  const at = (issuer: string) => discoveryUrl(issuer, ['id', '.svc.cluster.local'])?.hostname
  expect(at('http://id')).toBe('id')
  expect(at('http://id.auth.svc.cluster.local/realms/x')).toBe('id.auth.svc.cluster.local')
  expect(at('http://id.example')).toBeUndefined()
  expect(at('http://svc.cluster.local')).toBeUndefined()
})
