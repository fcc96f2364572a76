// Upstreams of kind `openai`: by the environment, by a document, and what is refused of each.

import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readInvocation } from '../../src/config/command-line.ts'
import { openDocument } from '../../src/config/document/open.ts'
import { printDocument } from '../../src/config/document/print.ts'
import type { ProcessEnvironment } from '../../src/config/given.ts'
import { mistakes, PRODUCTION, settings, upstreamOf, wrong } from './reading.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-openai-config-'))
afterAll(() => rmSync(folder, { recursive: true }))

const { TINFOIL_API_KEY: _, ...USERS } = PRODUCTION
const ADDRESS = { OPENAI_UPSTREAM_URL: 'https://api.openai.com/v1' }
const of = (env: ProcessEnvironment) => upstreamOf(settings([], { ...USERS, ...env }), 'openai')

describe('by the environment', () => {
  test('a base URL alone is enough: no key, the usual callers, the routes that report usage', () => {
    expect(of(ADDRESS)).toMatchObject({
      kind: 'openai',
      name: 'openai',
      keyHeader: 'authorization',
      callers: ['user', 'key'],
      routes: ['models', 'chat', 'completions', 'responses', 'embeddings', 'moderations', 'images'],
    })
    expect(of(ADDRESS)?.apiKey).toBeUndefined()
    expect(of(ADDRESS)?.baseUrl.href).toBe('https://api.openai.com/v1')
  })

  test('a key, its header, headers, routes and callers', () => {
    const found = of({
      OPENAI_UPSTREAM_URL: 'https://x.openai.azure.com/openai/v1?api-version=preview',
      OPENAI_UPSTREAM_KEY: 'key-0',
      OPENAI_UPSTREAM_KEY_HEADER: 'api-key',
      OPENAI_UPSTREAM_HEADERS: 'X-Title: my gate, OpenAI-Project: p',
      OPENAI_UPSTREAM_ROUTES: 'audio,chat',
      OPENAI_UPSTREAM_CALLERS: 'key',
    })
    expect(found?.apiKey?.reveal()).toBe('key-0')
    expect(found).toMatchObject({
      keyHeader: 'api-key',
      headers: [
        ['x-title', 'my gate'],
        ['openai-project', 'p'],
      ],
      routes: ['chat', 'audio'],
      callers: ['key'],
    })
    expect(found?.baseUrl.search).toBe('?api-version=preview')
  })

  test('names that other programs share choose nothing', () => {
    const shared = { OPENAI_API_KEY: 'sk', OPENAI_BASE_URL: 'https://x.example/v1' }
    expect(wrong([], { ...USERS, ...shared })).toEqual(['TINFOIL_API_KEY'])
  })

  test('users need an issuer, devices a secret for their tokens, keys nothing', () => {
    expect(wrong([], { ...USERS, ...ADDRESS, OPENAI_UPSTREAM_CALLERS: 'device' })).toEqual([
      'JWT_SECRET',
    ])
    expect(wrong([], ADDRESS)).toEqual(['JWKS_URL', 'ISSUER', 'AUDIENCES'])
    expect(settings([], { ...ADDRESS, OPENAI_UPSTREAM_CALLERS: 'key' }).issuers).toEqual([])
  })

  test.each([
    ['OPENAI_UPSTREAM_URL', 'http://vllm.example/v1'],
    ['OPENAI_UPSTREAM_URL', 'https://user:pw@x.example/v1'],
    ['OPENAI_UPSTREAM_KEY', 'changeme'],
    ['OPENAI_UPSTREAM_KEY_HEADER', 'x-api-key'],
    ['OPENAI_UPSTREAM_HEADERS', 'no header'],
    ['OPENAI_UPSTREAM_HEADERS', 'Authorization: Bearer x'],
    ['OPENAI_UPSTREAM_HEADERS', 'Content-Length: 3'],
    ['OPENAI_UPSTREAM_HEADERS', 'Host: elsewhere'],
    ['OPENAI_UPSTREAM_HEADERS', 'X-A: 1, x-a: 2'],
    ['OPENAI_UPSTREAM_HEADERS', 'X-A: ü'],
    ['OPENAI_UPSTREAM_ROUTES', 'chat,messages'],
    ['OPENAI_UPSTREAM_CALLERS', 'session'],
  ])('%s is refused as %p', (name, value) => {
    const found = mistakes([], { ...USERS, ...ADDRESS, [name]: value })
    expect(found.map(({ setting }) => setting)).toEqual([name])
    expect(JSON.stringify(found)).not.toContain('Bearer x')
  })

  test('http for hosts that are named, and on loopback', () => {
    const vllm = { OPENAI_UPSTREAM_URL: 'http://vllm:8000/v1' }
    expect(of({ ...vllm, PLAIN_HTTP_HOSTS: 'vllm' })?.baseUrl.host).toBe('vllm:8000')
    expect(of({ OPENAI_UPSTREAM_URL: 'http://127.0.0.1:11434/v1' })).toBeDefined()
  })
})

describe('by a document', () => {
  let files = 0
  const read = (text: string) => {
    const path = join(folder, `${(files += 1)}.yaml`)
    writeFileSync(path, text, { mode: 0o600 })
    const env = { POSTERN_CONFIG: path, A: 'key-a', T: 'tk' }
    return { path, invocation: readInvocation([], env, openDocument) }
  }
  const ISSUERS = 'issuers: [{ issuer: "https://id.example", audiences: [gate] }]'
  const document = (upstreams: string): string => `${ISSUERS}\nupstreams:\n${upstreams}`

  test('several, each with its own, which can be printed and read again', () => {
    let text = document(`
  - { kind: openai, name: a, base_url: "https://a.example/v1", api_key: "\${A}", models: [a-*] }
  - { kind: openai, name: b, base_url: "http://localhost:8000/v1", headers: ["X-Y: z"] }
  - { kind: tinfoil, api_key: "\${T}", require_ehbp: false }`)
    for (const _ of ['as it is', 'as it is printed']) {
      const { invocation } = read(text)
      if (invocation.kind !== 'run') throw new Error(JSON.stringify(invocation))
      const { upstreams } = invocation.settings
      expect(upstreams.map(({ name }) => name)).toEqual(['a', 'b', 'tinfoil'])
      expect(upstreams[0]).toMatchObject({ models: ['a-*'], keyHeader: 'authorization' })
      expect(upstreams[1]).toMatchObject({ headers: [['x-y', 'z']] })
      text = printDocument(invocation)
      expect(text).not.toContain('key-a')
    }
  })

  test('upstreams with ask_models can be printed and read again', () => {
    let text = document(`
  - { kind: openai, name: a, base_url: "https://a.example/v1", ask_models: true, models: [a-*] }
  - { kind: openai, name: b, base_url: "https://b.example/v1", ask_models: false }
  - { kind: openai, name: c, base_url: "https://c.example/v1" }`)
    for (const _ of ['as it is', 'as it is printed']) {
      const { invocation } = read(text)
      if (invocation.kind !== 'run') throw new Error(JSON.stringify(invocation))
      const { upstreams } = invocation.settings
      expect(upstreams.map(({ askModels }) => askModels)).toEqual([true, false, undefined])
      expect(upstreams[0]?.models).toEqual(['a-*'])
      text = printDocument(invocation)
    }
  })

  test.each([
    ['{ kind: tinfoil, api_key: "${T}", ask_models: true }', 'has ask_models, and takes sealed'],
    ['{ kind: anthropic-oauth, client_id: c, ask_models: true }', 'ask_models is not known'],
    ['{ kind: openai, base_url: "https://a.example/v1", ask_models: often }', 'ask_models is'],
  ])('%s is a mistake', (entry, said) => {
    const { invocation } = read(document(`  - ${entry}`))
    if (invocation.kind !== 'mistakes') throw new Error('no mistake')
    const all = invocation.mistakes.map(({ setting, message }) => `${setting} ${message}`)
    expect(all.join('\n')).toContain(said)
  })

  test('an upstream without a URL, or with plain http, is reported by its place', () => {
    const { path, invocation } = read(
      document(`
  - { kind: openai, name: a, api_key: "\${A}" }
  - { kind: openai, name: b, base_url: "http://b.example/v1" }`),
    )
    if (invocation.kind !== 'mistakes') throw new Error('no mistake')
    const found = invocation.mistakes.map(({ setting, message }) =>
      `${setting} ${message}`.replace(path, ''),
    )
    expect(found).toEqual([
      ':4:5 upstreams[0] lacks base_url',
      ':5:40 upstreams[1].base_url is not https',
    ])
  })
})
