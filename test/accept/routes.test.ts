// The table of routes: exact paths and methods, and nothing that a stranger's path could inherit.

import type { UpstreamKind } from '../../src/names.ts'
import { describe, expect, test } from 'bun:test'
import { arrive } from '../../src/accept/arrival.ts'
import { routeFinder } from '../../src/accept/route-finder.ts'
import { isSilent, RELAYED_ROUTES } from '../../src/accept/routes.ts'
import { EVERY_ROUTE, routesWith } from '../support/routes.ts'

const find = routeFinder(EVERY_ROUTE)
const real = (path: string): string => path.replace(':id', 'claude-sonnet-4-5')

test('every route is there under its own path and method', () => {
  for (const route of EVERY_ROUTE) {
    const found = find(real(route.path))
    expect(found?.pattern).toBe(route.path)
    expect(found?.methods.has(route.method)).toBe(true)
    expect(found?.routes(route.method)).toContain(route)
  }
})

test('no two routes share method, path and dialect', () => {
  const names = EVERY_ROUTE.map(({ method, path, dialect }) => `${method} ${path} ${dialect}`)
  expect(new Set(names).size).toBe(names.length)
  const relayed = RELAYED_ROUTES.map(({ method, path }) => `${method} ${path}`)
  expect(new Set(relayed).size).toBe(relayed.length)
})

test('everything under /v1/ is relayed, and /admin/ is protected, and /device, and nothing else is', () => {
  for (const { path, access } of EVERY_ROUTE) {
    const expected = path.startsWith('/v1/')
      ? ['relayed']
      : path.startsWith('/admin/')
        ? ['own', 'operator']
        : [path === '/device' ? 'caller' : 'public']
    expect([path, expected]).toEqual([path, expect.arrayContaining([access])])
  }
  expect(RELAYED_ROUTES).toHaveLength(26)
  const own = EVERY_ROUTE.filter(({ access }) => access === 'own').map(({ path }) => path)
  expect(own).toEqual(['/admin/usage', '/admin/stats'])
})

test('an environment opens each upstream to its own kinds of callers', () => {
  const kinds = (...upstreams: UpstreamKind[]) =>
    new Set(routesWith(...upstreams).flatMap(({ relay }) => relay?.kinds ?? []))
  expect(kinds('tinfoil')).toEqual(new Set(['user']))
  expect(kinds('anthropic')).toEqual(new Set(['device', 'key']))
  expect(kinds('anthropic-oauth')).toEqual(new Set(['session']))
  expect(kinds('openai')).toEqual(new Set(['user', 'key']))
})

test('only probes are silent, and HEAD is answered by them and where it is listed', () => {
  const silent = EVERY_ROUTE.filter(({ path }) => isSilent(path)).map(({ path }) => path)
  expect(silent).toEqual(['/health', '/healthz', '/readyz'])
  const listed = new Set(EVERY_ROUTE.filter((each) => each.method === 'HEAD').map((r) => r.path))
  expect([...listed]).toEqual(['/', '/api/hello'])
  for (const { path } of EVERY_ROUTE) {
    const head = isSilent(path) || listed.has(path)
    expect([path, find(real(path))?.methods.has('HEAD')]).toEqual([path, head])
    if (!head) expect(find(real(path))?.routes('HEAD')).toEqual([])
  }
  expect(find('/')?.routes('GET')).toEqual([])
})

describe('there is no such path', () => {
  test.each([
    '',
    '/V1/models',
    '/v1/models/',
    '/v1/models;a',
    '/v1//models',
    '//v1/models',
    '/v1/../admin',
    '/v1/%6dodels',
    '/v1%2fmodels',
    '/v1\\models',
    '/v1/models%00',
    '/v1/chat/completions/x',
    '/v1/chat',
    '/health.json',
    '/HEALTH',
    '/admin',
    '/admin/',
    '/Admin/usage',
    '/admin//usage',
    '/api/hello/',
    '__proto__',
    'constructor',
    '-',
  ])('%p', (path) => expect(find(path)).toBeUndefined())
})

describe("a model's name", () => {
  test.each([
    'a',
    '7',
    'claude-sonnet-4-5-20250929',
    'claude-3.5_x',
    'anthropic.claude-v2:1',
    'claude@20250929',
    'x'.repeat(128),
    'a..b',
    'models',
  ])('%p', (name) => {
    expect(find(`/v1/models/${name}`)?.pattern).toBe('/v1/models/:id')
  })
  test.each([
    '',
    '.',
    '..',
    '...',
    '-',
    '-a',
    '.a',
    ':id',
    '_a',
    '%2e',
    '%2e%2e',
    '%2E.',
    'a%2f..',
    'a%',
    'a/b',
    '../files',
    'a/..',
    'a/',
    '/a',
    '\\',
    'a\\b',
    'a b',
    'a\0',
    'a\n',
    'a;b',
    'a,b',
    'a?b',
    'a#b',
    'a+b',
    'a*',
    'a~b',
    '{a}',
    'é',
    'ａ',
    'x'.repeat(129),
  ])('is not %p', (name) => expect(find(`/v1/models/${name}`)).toBeUndefined())

  test('stands under no other path', () => {
    for (const path of ['/v1/a', '/a', '/v1/messages/a', '/admin/a', '/v1/models/a/b', 'a']) {
      expect(find(path)).toBeUndefined()
    }
  })
})

describe("a batch's and a file's", () => {
  test.each([
    ['/v1/messages/batches', 'POST,GET'],
    ['/v1/messages/batches/msgbatch_01', 'GET,DELETE'],
    ['/v1/messages/batches/msgbatch_01/cancel', 'POST'],
    ['/v1/messages/batches/msgbatch_01/results', 'GET'],
    ['/v1/files', 'POST,GET'],
    ['/v1/files/file_01', 'GET,DELETE'],
    ['/v1/files/file_01/content', 'GET'],
  ])('%p is there for %p', (path, methods) => {
    expect([...(find(path)?.methods ?? [])].join()).toBe(methods)
  })
  test.each([
    '/v1/messages/batches/',
    '/v1/messages/batches/../results',
    '/v1/messages/batches/%2e%2e/results',
    '/v1/messages/batches/a%2fb/results',
    '/v1/messages/batches//results',
    '/v1/messages/batches/:id',
    '/v1/messages/batches/:id/results',
    '/v1/messages/batches/a/results/',
    '/v1/messages/batches/a/results/b',
    '/v1/messages/batches/a/b/results',
    '/v1/messages/batches/a/delete',
    '/v1/messages/batches/a/content',
    '/v1/files/a/results',
    '/v1/files/..',
    '/v1/files/../content',
    '/v1/files/a/content/..',
    '/v1/files/a;b/content',
    '/v1/models/a/content',
  ])('%p is not', (path) => expect(find(path)).toBeUndefined())
})

describe('what is served is what is configured', () => {
  const servedBy = (...kinds: UpstreamKind[]) => routeFinder(routesWith(...kinds))
  test('without Anthropic there is none of its routes', () => {
    const only = servedBy('tinfoil')
    for (const path of [
      '/v1/messages',
      '/v1/models/a',
      '/v1/files',
      '/bootstrap',
      '/refresh',
      '/',
    ]) {
      expect([path, only(path)]).toEqual([path, undefined])
    }
    expect(
      only('/v1/models')
        ?.routes('GET')
        .map((each) => each.dialect),
    ).toEqual(['openai'])
  })
  test('with a sign-in there is all of the API and no enrolment, and with a key no more than it', () => {
    const signedIn = servedBy('anthropic-oauth')
    for (const path of ['/v1/messages', '/v1/models/a', '/v1/files/a', '/', '/api/hello']) {
      expect([path, signedIn(path)?.dialect]).toEqual([path, 'anthropic'])
    }
    for (const path of ['/bootstrap', '/refresh', '/v1/chat/completions']) {
      expect([path, signedIn(path)]).toEqual([path, undefined])
    }
    expect(servedBy('anthropic')('/v1/files')).toBeUndefined()
    expect(servedBy('anthropic')('/v1/messages/batches')).toBeUndefined()
  })
  test('without Tinfoil there is none of its routes', () => {
    const only = servedBy('anthropic')
    for (const path of ['/v1/chat/completions', '/attestation', '/.well-known/hpke-keys']) {
      expect([path, only(path)]).toEqual([path, undefined])
    }
    expect(
      only('/v1/models')
        ?.routes('GET')
        .map((each) => each.dialect),
    ).toEqual(['anthropic'])
  })
})

describe('the dialect', () => {
  const both = routeFinder(routesWith('tinfoil', 'anthropic'))
  const asked = (path: string, headers: Record<string, string> = {}, served = both) =>
    arrive(
      new Request(`http://gate.test${path}`, { headers: { host: 'gate.test', ...headers } }),
      served,
    )
  const VERSION = { 'anthropic-version': '2023-06-01' }

  test('of a path that two share is what anthropic-version says, whatever its value', () => {
    for (const [headers, kinds, dialect] of [
      [{}, ['user'], 'openai'],
      [VERSION, ['device', 'key'], 'anthropic'],
      [{ 'anthropic-version': '' }, ['device', 'key'], 'anthropic'],
      [{ 'x-anthropic-version': '1', 'anthropic-beta': 'x' }, ['user'], 'openai'],
    ] as const) {
      const { route, exchange } = asked('/v1/models', headers)
      expect([route?.relay?.kinds, exchange.dialect]).toEqual([kinds, dialect])
    }
  })
  test('of a path that one has is its own, whatever is sent', () => {
    expect(asked('/v1/models/a').exchange.dialect).toBe('anthropic')
    expect(asked('/admin/stats').exchange.dialect).toBe('anthropic')
    expect(asked('/attestation', VERSION).exchange.dialect).toBe('openai')
  })
  test('of no path is what the request speaks', () => {
    expect(asked('/nowhere').exchange.dialect).toBe('openai')
    expect(asked('/nowhere', VERSION).exchange.dialect).toBe('anthropic')
  })
  test('with one of the two served, that one answers both', () => {
    const tinfoil = routeFinder(routesWith('tinfoil'))
    expect(asked('/v1/models', VERSION, tinfoil).route?.relay?.kinds).toEqual(['user'])
  })
  test("a model's name is in no log: the route is", () => {
    expect(asked('/v1/models/secret-model').exchange.route).toBe('/v1/models/:id')
  })
})

test.each([
  ['/v1/messages', 'messages'],
  ['/v1/messages/count_tokens', 'messages'],
  ['/v1/messages/batches', 'batches'],
  ['/v1/messages/batches/:id/results', 'batches'],
  ['/v1/models/:id', 'models'],
  ['/v1/chat/completions', 'chat'],
  ['/v1/complete', 'completions'],
  ['/v1/audio/speech', 'audio'],
  ['/v1/files/:id', 'files'],
  ['/v1/messages2', undefined],
] as const)('%s is a route of the group %s', (path, group) => {
  expect(RELAYED_ROUTES.find((each) => each.path === path)?.group).toBe(group)
})
