// Which changes of settings can be taken by a running gate.

import { expect, test } from 'bun:test'
import type { Environment } from '../../src/config/given.ts'
import { KEYS, settingOf } from '../../src/config/table.ts'
import { changeOf } from '../../src/gate/reload.ts'
import { HASH_KEY } from '../support/settings.ts'
import { PRODUCTION, settings } from './reading.ts'

const ADMIN = `a1${HASH_KEY.slice(2)}`
const BASE: Environment = { ...PRODUCTION, ADMIN_TOKEN: ADMIN, UPSTREAM_PROXY: 'http://u:p@proxy' }
const change = (env: Environment) => changeOf(settings([], BASE), settings([], { ...BASE, ...env }))

test('nothing, and what is the same in other words', () => {
  expect(change({})).toEqual({ kind: 'none' })
  expect(change({ REQUIRE_EHBP: 'yes', RATE_LIMIT_RPM: '60' })).toEqual({ kind: 'none' })
})

test('keys, the operator token and issuers are exchanged', () => {
  const exchanged = (env: Environment): readonly string[] => {
    const made = change(env)
    return made.kind === 'exchange' ? made.names : []
  }
  expect(exchanged({ TINFOIL_API_KEY: 'tk-2' })).toEqual(['TINFOIL_API_KEY'])
  expect(exchanged({ ADMIN_TOKEN: `b2${ADMIN.slice(2)}` })).toEqual(['ADMIN_TOKEN'])
  expect(exchanged({ ISSUER: 'https://b.example' })).toEqual(['ISSUER', 'issuers'])
})

const POLICIES = new Set(['RATE_LIMIT_RPM', 'MAX_IDENTITY_CONCURRENCY'])

test('what policies are made of is exchanged, a cap that was not there too', () => {
  const changed = { RATE_LIMIT_RPM: '7', MAX_IDENTITY_CONCURRENCY: '3', ORG_SPEND_CAP: '5' }
  expect(change(changed).kind).toBe('exchange')
  expect(change({ ...changed, PORT: '9' })).toEqual({ kind: 'restart', names: ['PORT'] })
})

test('that there is one, or none, needs a restart', () => {
  expect(change({ ADMIN_TOKEN: '' })).toEqual({ kind: 'restart', names: ['ADMIN_TOKEN'] })
})

test('everything else needs one, secrets within a value too, and takes the rest along', () => {
  const restart = { kind: 'restart' as const }
  expect(change({ PORT: '1' })).toEqual({ ...restart, names: ['PORT'] })
  expect(change({ PORT: '1', TINFOIL_API_KEY: 'x' })).toEqual({ ...restart, names: ['PORT'] })
  expect(change({ IDENTITY_HASH_KEY: `c3${HASH_KEY.slice(2)}` })).toEqual({
    ...restart,
    names: ['IDENTITY_HASH_KEY'],
  })
  const proxy = { UPSTREAM_PROXY: 'http://u:other@proxy' }
  expect(change(proxy)).toEqual({ ...restart, names: ['UPSTREAM_PROXY'] })
  for (const key of KEYS) {
    const { env, kind } = settingOf(key)
    if (
      kind.shape.type !== 'integer' ||
      POLICIES.has(env) ||
      /^(JWKS|RATE_LIMIT_(MAX|WINDOW)|REDIS)/.test(env)
    )
      continue
    const text = String((kind.shape.minimum ?? 0) + 3)
    expect([env, change({ [env]: text }).kind]).toEqual([env, 'restart'])
  }
})
