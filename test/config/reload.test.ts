// Which changes of settings can be taken by a running gate.

import { expect, test } from 'bun:test'
import type { ProcessEnvironment } from '../../src/config/given.ts'
import { KEYS, settingOf } from '../../src/config/table.ts'
import type { UpstreamEntry } from '../../src/config/upstreams.ts'
import { Secret } from '../../src/secret.ts'
import { readNamedFiles } from '../../src/gate/named-files.ts'
import { type Change, changeOf, type Configuration } from '../../src/gate/reload-change.ts'
import { HASH_KEY } from '../support/settings.ts'
import { PRODUCTION, settings } from './reading.ts'

const ADMIN = `a1${HASH_KEY.slice(2)}`
const BASE: ProcessEnvironment = {
  ...PRODUCTION,
  ADMIN_TOKEN: ADMIN,
  UPSTREAM_PROXY: 'http://u:p@proxy',
}
const FILES = readNamedFiles({}, 0)
const taken = (env: ProcessEnvironment): Configuration => {
  if (!FILES.ok) throw new Error('no prices')
  return { settings: settings([], env), named: FILES.named }
}
const change = (env: ProcessEnvironment): Change =>
  changeOf(taken(BASE), taken({ ...BASE, ...env }))

test('no difference, and the same settings spelled differently', () => {
  expect(change({})).toEqual({ kind: 'none', names: [] })
  expect(change({ REQUIRE_EHBP: 'yes', RATE_LIMIT_RPM: '60' })).toEqual({ kind: 'none', names: [] })
})

test('keys, the operator token and issuers are exchanged', () => {
  const exchanged = (env: ProcessEnvironment): readonly string[] => {
    const made = change(env)
    return made.kind === 'exchange' ? made.names : []
  }
  expect(exchanged({ TINFOIL_API_KEY: 'tk-2' })).toEqual(['TINFOIL_API_KEY'])
  expect(exchanged({ ADMIN_TOKEN: `b2${ADMIN.slice(2)}` })).toEqual(['ADMIN_TOKEN'])
  expect(exchanged({ ISSUER: 'https://b.example' })).toEqual(['ISSUER', 'issuers'])
})

test('a secret within a value is exchanged', () => {
  expect(change({ UPSTREAM_PROXY: 'http://u:other@proxy' })).toEqual({
    kind: 'exchange',
    names: ['UPSTREAM_PROXY'],
  })
})

test('the settings of policies are exchanged, including a new cap', () => {
  const changed = { RATE_LIMIT_RPM: '7', MAX_IDENTITY_CONCURRENCY: '3', ORG_SPEND_CAP: '5' }
  expect(change(changed).kind).toBe('exchange')
  expect(change({ ...changed, PORT: '9' })).toEqual({
    kind: 'restart',
    names: ['PORT'],
    withheld: ['RATE_LIMIT_RPM', 'MAX_IDENTITY_CONCURRENCY', 'ORG_SPEND_CAP'],
  })
})

test('whatever changes of an upstream is exchanged, under the name by which an operator knows it', () => {
  const several = (first: object, second: object = {}): Configuration => {
    const entry = (name: string, more: object): UpstreamEntry => ({
      kind: 'anthropic',
      name,
      apiKey: new Secret(`${name}-1`),
      callers: ['key'],
      baseUrl: new URL('https://a.example'),
      keyHeader: 'x-api-key',
      routes: ['messages'],
      ...more,
    })
    const { settings, named } = taken(BASE)
    return { settings: { ...settings, upstreams: [entry('a', first), entry('b', second)] }, named }
  }
  const to = (first: object, second: object): Change =>
    changeOf(several({}), several(first, second))
  expect(to({}, { apiKey: new Secret('b-2') })).toEqual({
    kind: 'exchange',
    names: ['upstreams.b'],
  })
  expect(to({ models: ['a*'] }, {})).toEqual({ kind: 'exchange', names: ['upstreams.a'] })
  expect(to({ askModels: true }, {})).toEqual({ kind: 'exchange', names: ['upstreams.a'] })
  expect(to({ headers: [['x-a', '1']] }, {}).kind).toBe('exchange')
  expect(to({ keyHeader: 'authorization' }, {}).kind).toBe('exchange')
  expect(to({ callers: ['user'] }, {})).toEqual({ kind: 'exchange', names: ['upstreams.a'] })
  expect(to({}, { baseUrl: new URL('https://b.example') })).toEqual({
    kind: 'exchange',
    names: ['upstreams.b'],
  })
  expect(to({ apiKey: undefined }, {})).toEqual({ kind: 'exchange', names: ['upstreams.a'] })
  expect(to({ name: 'c' }, {})).toEqual({ kind: 'exchange', names: ['upstreams'] })
})

test('upstreams come, go and change places; the first that takes devices needs a restart', () => {
  const { settings, named } = taken(BASE)
  const those = (
    ...names: readonly (readonly [name: string, caller: 'key' | 'device'])[]
  ): Configuration => {
    const upstreams = names.map(
      ([name, caller]) => ({ kind: 'openai', name, callers: [caller] }) as never,
    )
    return { settings: { ...settings, upstreams }, named }
  }
  const exchange = { kind: 'exchange', names: ['upstreams'] }
  const [a, b] = [['a', 'key'] as const, ['b', 'key'] as const]
  expect(changeOf(those(a), those(a, b))).toEqual(exchange as Change)
  expect(changeOf(those(a, b), those(b, a))).toEqual(exchange as Change)
  expect(changeOf(those(a, b), those(b))).toEqual(exchange as Change)
  const restart = { kind: 'restart', names: ['upstreams'] }
  expect(changeOf(those(a), those(a, ['c', 'device']))).toEqual(restart as Change)
  expect(changeOf(those(a, ['c', 'device']), those(a))).toEqual(restart as Change)
})

test('setting or unsetting one needs a restart', () => {
  const names = ['IDENTITY_HASH_KEY']
  expect(change({ IDENTITY_HASH_KEY: '' })).toEqual({ kind: 'restart', names })
  expect(change({ ADMIN_TOKEN: '' })).toEqual({ kind: 'exchange', names: ['ADMIN_TOKEN'] })
})

test('everything else needs one, and takes the rest along', () => {
  const restart = { kind: 'restart' as const }
  expect(change({ PORT: '1' })).toEqual({ ...restart, names: ['PORT'] })
  expect(change({ PORT: '1', TINFOIL_API_KEY: 'x' })).toEqual({
    ...restart,
    names: ['PORT'],
    withheld: ['TINFOIL_API_KEY'],
  })
  expect(change({ IDENTITY_HASH_KEY: `c3${HASH_KEY.slice(2)}` })).toMatchObject({
    ...restart,
    names: ['IDENTITY_HASH_KEY'],
  })
})

test('what each number does is what the table says', () => {
  for (const key of KEYS) {
    const { env, kind } = settingOf(key)
    // The issuer's times are of a list, and the window is other words for rate and burst.
    if (kind.shape.type !== 'integer' || /^(JWKS|RATE_LIMIT_(MAX|WINDOW)|REDIS)/.test(env)) continue
    const text = String((kind.shape.minimum ?? 0) + 3)
    const kindOf = settingOf(key).reload === 'taken' ? 'exchange' : 'restart'
    expect([env, change({ [env]: text }).kind]).toEqual([env, kindOf])
  }
})
