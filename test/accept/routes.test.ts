// The table of routes: exact paths and methods, and nothing that a stranger's path could inherit.

import type { UpstreamKind } from '../../src/names.ts'
import { describe, expect, test } from 'bun:test'
import { answers } from '../../src/accept/answers.ts'
import { gate } from '../../src/accept/app.ts'
import { isSilent } from '../../src/accept/probes.ts'
import { routeFinder } from '../../src/accept/route-table.ts'
import { RELAYED_ROUTES } from '../../src/accept/routes.ts'
import type { Exchange } from '../../src/exchange.ts'
import { refused } from '../../src/refusal.ts'
import { EVERY_ROUTE, partsWith, routesWith } from '../support/routes.ts'
import { servedBy as relayedBy } from '../support/served.ts'

const find = routeFinder(EVERY_ROUTE)
const real = (path: string): string =>
  path.replace(':id', 'claude-sonnet-4-5').replace(':item', 'an-item')

test('every route is there under its own path and method', () => {
  for (const route of EVERY_ROUTE) {
    const found = find(real(route.path))
    expect(found?.pattern).toBe(route.path)
    expect(found?.methods.has(route.method)).toBe(true)
  }
})

test('no two routes share method and path, and each says in whose words it answers', () => {
  const names = EVERY_ROUTE.map(({ method, path }) => `${method} ${path}`)
  expect(new Set(names).size).toBe(names.length)
  expect(EVERY_ROUTE.filter(({ dialects }) => dialects.length === 0)).toEqual([])
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
  expect(RELAYED_ROUTES).toHaveLength(90)
  const own = EVERY_ROUTE.filter(({ access }) => access === 'own').map(({ path }) => path)
  expect(own).toEqual(['/admin/usage', '/admin/stats'])
})

test('an environment opens each upstream to its own kinds of callers', () => {
  const kinds = (...upstreams: UpstreamKind[]) =>
    new Set(relayedBy(...upstreams).flatMap((route) => route.kinds))
  expect(kinds('tinfoil')).toEqual(new Set(['user']))
  expect(kinds('anthropic')).toEqual(new Set(['device', 'key']))
  expect(kinds('anthropic-oauth')).toEqual(new Set(['session']))
  expect(kinds('openai')).toEqual(new Set(['user', 'key']))
})

test('only probes are not logged, and only probes and listed routes answer HEAD', () => {
  const silent = EVERY_ROUTE.filter(({ path }) => isSilent(path)).map(({ path }) => path)
  expect(silent).toEqual(['/health', '/healthz', '/readyz'])
  const listed = new Set(EVERY_ROUTE.filter((each) => each.method === 'HEAD').map((r) => r.path))
  expect([...listed]).toEqual(['/', '/api/hello'])
  for (const { path } of EVERY_ROUTE) {
    const head = isSilent(path) || listed.has(path)
    expect([path, find(real(path))?.methods.has('HEAD')]).toEqual([path, head])
  }
  expect(find('/')?.methods.has('GET')).toBe(false)
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
    '/v1/chat/completions/x/y',
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
    'a/b/c',
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

  test('may have one slash', () => {
    expect(find('/v1/models/a/b')?.pattern).toBe('/v1/models/:id/:item')
  })
  test('stands under no other path', () => {
    for (const path of ['/v1/a', '/a', '/v1/messages/a', '/admin/a', 'a']) {
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
  ])('%p is not', (path) => expect(find(path)).toBeUndefined())
})

describe('a gate serves the configured routes', () => {
  const servedBy = (...kinds: UpstreamKind[]) => routeFinder(routesWith(...kinds))
  test('a gate without Anthropic has none of its routes', () => {
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
    expect(only('/v1/models')?.dialect).toBe('openai')
  })
  test('with a sign-in there is all of the API and no enrolment, and with a key no more than it', () => {
    const signedIn = servedBy('anthropic-oauth')
    for (const path of ['/v1/messages', '/v1/models/a', '/v1/files/a', '/', '/api/hello']) {
      expect([path, signedIn(path)?.dialect]).toEqual([path, 'anthropic'])
    }
    for (const path of ['/bootstrap', '/refresh', '/v1/chat/completions']) {
      expect([path, signedIn(path)]).toEqual([path, undefined])
    }
    // Where the settings and a policy name them.
    expect(servedBy('anthropic')('/v1/files')?.dialect).toBe('anthropic')
    expect(servedBy('anthropic')('/v1/messages/batches')?.dialect).toBe('anthropic')
  })
  test('a gate without Tinfoil has none of its routes', () => {
    const only = servedBy('anthropic')
    for (const path of ['/v1/chat/completions', '/attestation', '/.well-known/hpke-keys']) {
      expect([path, only(path)]).toEqual([path, undefined])
    }
    expect(only('/v1/models')?.dialect).toBe('anthropic')
  })
})

describe('the dialect', () => {
  const asked = async (
    path: string,
    headers: Record<string, string> = {},
    kinds: readonly UpstreamKind[] = ['tinfoil', 'anthropic'],
  ): Promise<Exchange & { readonly admission: string | undefined }> => {
    const exchanges: Exchange[] = []
    let admission: string | undefined
    const said = answers((exchange) => void exchanges.push(exchange))
    const admitting = (kind: string) => () => {
      admission = kind
      return refused('missing_authorization')
    }
    const { inference, admin, open, ...parts } = partsWith(...kinds)
    const app = gate({
      ...parts,
      answers: said,
      open: { ...open, answers: said },
      admin: admin && { ...admin, answers: said },
      inference: {
        ...inference,
        answers: said,
        admissions: {
          user: admitting('user'),
          device: admitting('device'),
          key: admitting('key'),
          session: admitting('session'),
        },
      },
    })
    await app.handle(
      new Request(`http://gate.test${path}`, { headers: { host: 'gate.test', ...headers } }),
    )
    const [exchange] = exchanges
    if (exchanges.length !== 1 || !exchange) throw new Error('not answered once')
    return { ...exchange, admission }
  }
  const VERSION = { 'anthropic-version': '2023-06-01' }

  test('of a path that two dialects share is decided by anthropic-version, whatever its value', async () => {
    for (const [headers, admission, dialect] of [
      [{}, 'user', 'openai'],
      [VERSION, 'device', 'anthropic'],
      [{ 'anthropic-version': '' }, 'device', 'anthropic'],
      [{ 'x-anthropic-version': '1', 'anthropic-beta': 'x' }, 'user', 'openai'],
    ] as const) {
      expect(await asked('/v1/models', headers)).toMatchObject({ admission, dialect })
    }
  })
  test('of a path that one has is its own, whatever is sent', async () => {
    expect((await asked('/v1/models/a')).dialect).toBe('anthropic')
    expect((await asked('/admin/stats')).dialect).toBe('anthropic')
    expect((await asked('/attestation', VERSION)).dialect).toBe('openai')
  })
  test("of an unknown path is decided by the request's headers", async () => {
    expect((await asked('/nowhere')).dialect).toBe('openai')
    expect((await asked('/nowhere', VERSION)).dialect).toBe('anthropic')
  })
  test('with one of the two served, that one answers both', async () => {
    expect((await asked('/v1/models', VERSION, ['tinfoil'])).admission).toBe('user')
  })
  test("a model's name is in no log: the route is", async () => {
    expect((await asked('/v1/models/secret-model')).route).toBe('/v1/models/:id')
  })
  test('an invalid name in a path is 404, and is not logged', async () => {
    for (const name of ['-a', '_a', '%61', 'a%2eb', ':id', 'x'.repeat(129), 'a+b']) {
      const { route, status, code } = await asked(`/v1/models/${name}`)
      expect([name, route, status, code]).toEqual([name, '-', 404, 'not_found'])
    }
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
