// The section `fallback` of a document: what it gives, and every mistake that it can have.

import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RELAYED_ROUTES } from '../../src/accept/routes.ts'
import { readInvocation } from '../../src/config/command-line.ts'
import { openDocument } from '../../src/config/document/open.ts'
import { printDocument } from '../../src/config/document/print.ts'
import { TINFOIL_GROUPS } from '../../src/config/fallback.ts'
import { plansOf } from '../../src/gate/fallback.ts'
import { changeOf } from '../../src/gate/reload-change.ts'
import { KINDS } from '../../src/gate/upstreams.ts'
import { FALLBACK_GROUPS } from '../../src/names.ts'
import { PRODUCTION } from './reading.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-fallback-document-'))
afterAll(() => rmSync(folder, { recursive: true }))

const { TINFOIL_API_KEY: _, ...ENV } = PRODUCTION
let files = 0
function read(text: string, env: Readonly<Record<string, string>> = {}) {
  const path = join(folder, `${(files += 1)}.yaml`)
  writeFileSync(path, text, { mode: 0o600 })
  return readInvocation(['--config', path], { ...ENV, ...env }, openDocument)
}
function run(text: string, env: Readonly<Record<string, string>> = {}) {
  const invocation = read(text, env)
  if (invocation.kind !== 'run') throw new Error(Bun.inspect(invocation))
  return invocation
}

const UPSTREAMS = `
upstreams:
  - { kind: openai, name: a, base_url: 'https://a.example/v1', api_key: a0 }
  - { kind: openai, name: b, base_url: 'https://b.example/v1', api_key: b0, routes: [chat, audio] }
  - { kind: openai, name: c, base_url: 'https://c.example/v1', api_key: c0 }
  - { kind: anthropic, name: claude, api_key: d0 }
  - { kind: tinfoil, name: sealed, api_key: e0, require_ehbp: true }
  - { kind: tinfoil, name: enclave, api_key: f0, require_ehbp: false }
devices: { signing_secrets: [jb14c1c0cb6f6712bb79b1472159b7b51] }
`
const section = (...entries: string[]): string =>
  `${UPSTREAMS}fallback:\n${entries.map((entry) => `  - { ${entry} }\n`).join('')}`

test('what the manual shows is a plan for both upstreams', () => {
  const page = readFileSync(new URL('../../docs/upstreams.md', import.meta.url), 'utf8')
  const [, yaml = ''] = /<!-- example: fallback -->\n\n```yaml\n([^]*?)```/.exec(page) ?? []
  const { settings } = run(yaml, { AZURE_KEY: 'az', ROUTER_KEY: 'ro' })
  const { planOf, spreads } = plansOf(settings.fallback) ?? {}
  expect(spreads).toBe(false)
  const plan = planOf?.('chat', 'azure')
  expect(plan).toMatchObject({ from: ['azure', 'router'], attempts: 2, withinMs: 20_000 })
  expect([...(plan?.on ?? [])]).toEqual(['unreachable', 'open', 'overloaded'])
  expect(planOf?.('chat', 'router')).toBe(plan)
  expect(planOf?.('responses', 'azure')).toBeUndefined()
  // As the manual calls them, they are what happens without a word.
  const { settings: short } = run(section('routes: [chat], from: [a, b]'))
  const { on, attempts, withinMs, againIfBilled } =
    plansOf(short.fallback)?.planOf('chat', 'a') ?? {}
  expect({ on, attempts, withinMs }).toEqual({ on: plan?.on, attempts: 2, withinMs: 20_000 })
  expect(againIfBilled).toBe(false)
})

test('what the manual shows for load spreads requests, and keeps conversations by a policy', () => {
  const page = readFileSync(new URL('../../docs/upstreams.md', import.meta.url), 'utf8')
  const [, yaml = ''] = /<!-- example: load -->\n\n```yaml\n([^]*?)```/.exec(page) ?? []
  const upstreams = ['east', 'west'].map(
    (name) => `  - { kind: openai, name: ${name}, base_url: 'https://${name}.example/v1' }\n`,
  )
  const { settings } = run(`upstreams:\n${upstreams.join('')}${yaml}`)
  const { planOf, spreads } = plansOf(settings.fallback) ?? {}
  expect([spreads, planOf?.('responses', 'west')?.first]).toEqual([true, 'fewest'])
  expect(settings.policies.policies).toMatchObject([{ keepsConversations: true }])
})

test('without the section there is no plan', () => {
  expect(plansOf(run(UPSTREAMS).settings.fallback)).toBeUndefined()
})

test('postern config prints it as it stands, and a reload takes it', () => {
  const entry = 'routes: [chat], from: [a, b], weights: [2, 1], again_if_billed: true, on: [5xx]'
  const invocation = run(section(entry))
  const printed = printDocument(invocation)
  expect(printed).toContain('again_if_billed: true')
  const again = run(printed, {
    ...Object.fromEntries('ABC'.split('').map((name) => [`OPENAI_UPSTREAM_KEY_${name}`, 'x0'])),
    ANTHROPIC_API_KEY: 'd0',
    TINFOIL_API_KEY_SEALED: 'e0',
    TINFOIL_API_KEY_ENCLAVE: 'f0',
    JWT_SECRET: 'jb14c1c0cb6f6712bb79b1472159b7b51',
  })
  expect(again.settings.fallback).toEqual(invocation.settings.fallback)
  const named = { contents: {} } as never
  const change = changeOf(
    { settings: run(UPSTREAMS).settings, named },
    { settings: invocation.settings, named },
  )
  expect(change).toMatchObject({ kind: 'exchange', names: ['fallback'] })
})

describe('a mistake', () => {
  test.each([
    ['from: [a, b]', ['lacks routes']],
    ['routes: [chat]', ['lacks from']],
    ['routes: [chat], from: [a]', ['names one upstream']],
    ['routes: [chat], from: []', ['is an empty list']],
    ['routes: [chat], from: [a, a]', ['is named twice']],
    ['routes: [chat], from: [a, d]', ['names an upstream that is not there']],
    ['routes: [chat], from: [a, claude]', ['names upstreams of different APIs']],
    ['routes: [chat], from: [a, sealed]', ['names an upstream that takes sealed bodies alone']],
    ['routes: [files], from: [a, b]', ['is not one of the choices']],
    ['routes: [models], from: [a, b]', ['is not one of the choices']],
    ['routes: [conversations], from: [a, b]', ['is not one of the choices']],
    ['routes: [chat, embeddings], from: [a, b]', ['is served by fewer than two']],
    ['routes: [chat], from: [a, b], on: [429]', ['is a number, and no text']],
    ['routes: [chat], from: [a, b], on: [timeout]', ['is not one of the choices']],
    ['routes: [chat], from: [a, b], on: [5xx]', ['is of requests that an upstream may bill']],
    [
      'routes: [chat], from: [a, b], on: [unanswered, 5xx]',
      ['is of requests that an upstream may bill', 'is of requests that an upstream may bill'],
    ],
    ['routes: [chat], from: [a, b], attempts: 1', ['is not a number in range']],
    ['routes: [chat], from: [a, b], attempts: 5', ['is not a number in range']],
    ['routes: [chat], from: [a, b], within_seconds: 0', ['is not a number in range']],
    ['routes: [chat], from: [a, b], again_if_billed: maybe', ['is neither true nor false']],
    ['routes: [chat], from: [a, b], weights: [1]', ['has not one weight for each of from']],
    ['routes: [chat], from: [a, b], weights: [1, 0]', ['is not a number in range']],
    ['routes: [chat], from: [a, b], order: weight', ['is not known']],
    // All at once.
    ['from: [a, x], on: [5xx], weights: [1]', ['lacks routes', 'not there', 'may bill', 'weight']],
  ])('%s', (entry, said) => {
    const invocation = read(section(entry))
    const mistakes = invocation.kind === 'mistakes' ? invocation.mistakes : []
    expect(mistakes.map(({ setting }) => setting.includes('fallback[0]'))).toEqual(
      said.map(() => true),
    )
    for (const [at, words] of said.entries()) expect(mistakes[at]?.message).toContain(words)
  })

  test('of the account of the caller, which nothing stands in for', () => {
    const invocation = read(`
upstreams:
  - { kind: anthropic-oauth, client_id: x }
  - { kind: anthropic, name: claude, api_key: d0 }
fallback: [{ routes: [messages], from: [anthropic-oauth, claude] }]
`)
    const mistakes = invocation.kind === 'mistakes' ? invocation.mistakes : []
    expect(mistakes.map(({ message }) => message).join()).toContain("account is the caller's own")
  })

  test('of two plans for one upstream and group', () => {
    const invocation = read(
      section(
        'routes: [chat], from: [a, b]',
        'routes: [embeddings], from: [a, c]',
        'routes: [chat], from: [c, a]',
      ),
    )
    const mistakes = invocation.kind === 'mistakes' ? invocation.mistakes : []
    expect(mistakes).toHaveLength(1)
    expect(mistakes[0]?.message).toContain('is said of a in')
  })

  test('of failures that cost nothing is none', () => {
    const entry = 'routes: [moderations], from: [a, c], on: [5xx, unanswered]'
    expect(
      plansOf(run(section(entry)).settings.fallback)?.planOf('moderations', 'a')?.againIfBilled,
    ).toBe(true)
  })
})

test('what a Tinfoil is said to serve is what it serves', () => {
  const served = FALLBACK_GROUPS.filter((group) =>
    RELAYED_ROUTES.some(
      ({ dialects, method, path, group: of }) =>
        of === group && dialects.some((dialect) => KINDS.tinfoil.serves({ dialect, method, path })),
    ),
  )
  expect([...TINFOIL_GROUPS].toSorted()).toEqual(served.toSorted())
})
