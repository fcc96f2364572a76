// Upstreams of kind `anthropic` at other servers of its dialect: by the environment, by a document, and
// what is refused of each.

import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readInvocation } from '../../src/config/command-line.ts'
import { openDocument } from '../../src/config/document/open.ts'
import { printDocument } from '../../src/config/document/print.ts'
import type { ProcessEnvironment } from '../../src/config/given.ts'
import { HASH_KEY } from '../support/settings.ts'
import { mistakes, settings, upstreamOf, wrong } from './reading.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-anthropic-config-'))
afterAll(() => rmSync(folder, { recursive: true }))

const DEVICES = { JWT_SECRET: '8f3a61c2d94be7055f1e0c7ab36d2948aa01', IDENTITY_HASH_KEY: HASH_KEY }
const KEYED = { ...DEVICES, ANTHROPIC_API_KEY: 'sk-ant-0' }
const KEYLESS = {
  ...DEVICES,
  ANTHROPIC_KEY_HEADER: 'none',
  ANTHROPIC_BASE_URL: 'http://127.0.0.1:8080',
}
const of = (env: ProcessEnvironment) => upstreamOf(settings([], env), 'anthropic')

describe('by the environment', () => {
  test('defaults are as before', () => {
    expect(of(KEYED)).toMatchObject({ keyHeader: 'x-api-key', callers: ['device', 'key'] })
    expect(of(KEYED)?.headers).toBeUndefined()
    expect(of(KEYED)?.baseUrl.href).toBe('https://api.anthropic.com/')
  })

  test('without devices among its callers it needs no secret for their tokens', () => {
    const env = { ...KEYED, JWT_SECRET: '' }
    expect(of({ ...env, ANTHROPIC_CALLERS: 'key' })?.callers).toEqual(['key'])
    expect(wrong([], env)).toEqual(['JWT_SECRET'])
  })

  test('a header for the key, fixed headers and a query', () => {
    const found = of({
      ...KEYED,
      ANTHROPIC_BASE_URL: 'https://x.example/anthropic?api-version=1',
      ANTHROPIC_KEY_HEADER: 'authorization',
      ANTHROPIC_HEADERS: 'X-Title: my gate',
    })
    expect(found).toMatchObject({
      keyHeader: 'authorization',
      headers: [['x-title', 'my gate']],
    })
    expect(found?.baseUrl.search).toBe('?api-version=1')
  })

  test('a server without a key must be declared; its address alone is a mistake', () => {
    expect(of(KEYLESS)).toMatchObject({ name: 'anthropic', keyHeader: 'none' })
    expect(of(KEYLESS)?.apiKey).toBeUndefined()
    const { ANTHROPIC_KEY_HEADER: _, ...shared } = KEYLESS
    expect(wrong([], shared)).toContain('TINFOIL_API_KEY')
    expect(wrong([], { ...KEYLESS, JWT_SECRET: '' })).toEqual(['JWT_SECRET'])
    const dev = { DEV_MODE: 'true', ...KEYLESS, JWT_SECRET: '', IDENTITY_HASH_KEY: '' }
    expect(of(dev)?.baseUrl.port).toBe('8080')
  })

  test.each<[string, ProcessEnvironment, string]>([
    ['a header that carries no key', { ...KEYED, ANTHROPIC_KEY_HEADER: 'cookie' }, 'KEY_HEADER'],
    ['a key among the headers', { ...KEYED, ANTHROPIC_HEADERS: 'X-Api-Key: x' }, 'HEADERS'],
    ['http to another host', { ...KEYED, ANTHROPIC_BASE_URL: 'http://x.example' }, 'BASE_URL'],
    ['a key for a server without one', { ...KEYLESS, ANTHROPIC_API_KEY: 'sk-ant-0' }, 'KEY_HEADER'],
    ['no key for Anthropic itself', { ...KEYLESS, ANTHROPIC_BASE_URL: '' }, 'KEY_HEADER'],
  ])('%s is refused', (_, env, name) => {
    expect(mistakes([], env).map(({ setting }) => setting)).toEqual([`ANTHROPIC_${name}`])
  })

  test('a gate with sign-in has only one Anthropic', () => {
    const found = wrong([], { ...KEYLESS, CLIENT_ID: 'c' })
    expect(found).toContain('ANTHROPIC_KEY_HEADER')
  })
})

describe('by a document', () => {
  let files = 0
  const read = (text: string) => {
    const path = join(folder, `${(files += 1)}.yaml`)
    writeFileSync(path, text, { mode: 0o600 })
    return readInvocation([], { POSTERN_CONFIG: path, ...DEVICES, A: 'key-a' }, openDocument)
  }
  const LOCAL = '{ kind: anthropic, name: local, base_url: "http://127.0.0.1:1", key_header: none }'
  const ROUTER =
    '{ kind: anthropic, name: router, base_url: "https://r.example/api?v=1", api_key: "${A}", key_header: authorization, headers: ["X-Y: z"] }'

  test.each([
    ['one without a key', [LOCAL], ['local none']],
    ['several', [LOCAL, ROUTER], ['local none', 'router authorization']],
  ])('%s, which can be printed and read again', (_, entries, expected) => {
    let text = `upstreams:\n${entries.map((each) => `  - ${each}`).join('\n')}\n`
    for (const _ of ['as it is', 'as it is printed']) {
      const invocation = read(text)
      if (invocation.kind !== 'run') throw new Error(JSON.stringify(invocation))
      expect(
        invocation.settings.upstreams.map((each) =>
          'keyHeader' in each ? `${each.name} ${each.keyHeader}` : each.name,
        ),
      ).toEqual(expected)
      text = printDocument(invocation)
      expect(text).not.toContain('key-a')
    }
  })

  test('a key that is left out by a slip is a mistake', () => {
    for (const entries of [[ROUTER], [ROUTER, LOCAL]]) {
      const text = entries.map((each) => `  - ${each.replace('api_key: "${A}", ', '')}`)
      const invocation = read(`upstreams:\n${text.join('\n')}\n`)
      if (invocation.kind !== 'mistakes') throw new Error('no mistake')
      expect(invocation.mistakes.map(({ message }) => message)).toContain('lacks api_key')
    }
  })
})
