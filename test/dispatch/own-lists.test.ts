// What an upstream's pages may look like, and what of them a caller gets: their own objects, byte for
// byte, or a refusal. Where the walk over the pages ends.

import { expect, test } from 'bun:test'
import { breaker } from '../../src/budget/breaker.ts'
import type { Served } from '../../src/dispatch/choose.ts'
import { askingPages } from '../../src/dispatch/object-pages.ts'
import { type ListAsked, listingOwn } from '../../src/dispatch/own-lists.ts'
import type { AskAt, Reply } from '../../src/http1/ask.ts'
import { granted } from '../../src/refusal.ts'
import { Secret } from '../../src/secret.ts'
import { namesResults, withOwnResults } from '../../src/upstream/anthropic/results-url.ts'
import { openAi } from '../../src/upstream/openai/openai.ts'

const KEY = 'sk-canary-0123456789abcdef'
const served = (name: string): Served => ({
  upstream: openAi({
    name,
    baseUrl: new URL(`https://${name}.example/v1`),
    apiKey: new Secret(KEY),
    keyHeader: 'authorization',
    headers: [],
    routes: ['files', 'batches', 'vector_stores'],
    hasFiles: true,
    maxBodyBytes: 1,
  }),
  breaker: breaker(),
  callers: ['user'],
  models: undefined,
  asks: false,
})

/** Ids that begin with `mine` are the caller's at `a`, with `was` under a former identity. */
function scene(answer: (search: URLSearchParams, host: string) => string | Partial<Reply>) {
  const asked: string[] = []
  const refusals: number[] = []
  const ask: AskAt = async (to, { headers }): Promise<Reply> => {
    const host = to.origin.hostname.split('.')[0] ?? ''
    const [path = ''] = to.opening.split(' ')
    asked.push(path)
    expect(Object.keys(headers).toSorted()).toEqual(['accept', 'authorization'])
    const said = answer(new URL(path, 'http://x').searchParams, host)
    if (typeof said === 'object') {
      return { ok: true, status: 200, headers: {}, body: new Uint8Array(), ...said } as Reply
    }
    return { ok: true, status: 200, headers: {}, body: Buffer.from(said) }
  }
  const ownerOf = (id: string) => {
    const identity = id.startsWith('mine') ? 'me' : id.startsWith('was') ? 'before' : 'other'
    return granted({ identity, upstream: id.endsWith('@b') ? 'b' : 'a' })
  }
  const keyRefused = (_of: object, status: number) => void refusals.push(status)
  const list = listingOwn(askingPages(ask, keyRefused), ownerOf)
  const [a, b] = [served('a'), served('b')]
  return {
    asked,
    refusals,
    async list(search = '', among: readonly Served[] = [a], more: Partial<ListAsked> = {}) {
      const [headers, { signal }] = [
        new Headers({ cookie: 'x', 'x-own': 'y' }),
        new AbortController(),
      ]
      const asks = {
        dialect: 'openai',
        path: '/v1/vector_stores',
        search,
        headers,
        signal,
      } as const
      const caller = { identity: 'me', former: ['before'] } as never
      const found = await list(among, { ...asks, ...more }, caller, () => {})
      return found.ok ? Buffer.from(found.value).toString() : found.code
    },
    among: [a, b],
  }
}

const page = (data: string, hasMore: unknown = false) => `{"data":[${data}],"has_more":${hasMore}}`
const of = (...data: string[]) =>
  `{"object":"list","data":[${data.join(',')}],"first_id":${idOf(data[0])},"last_id":${idOf(data.at(-1))},"has_more":false}`
const idOf = (text: string | undefined) => JSON.stringify(text ? JSON.parse(text).id : null)

test('an object passes as the upstream wrote it', async () => {
  const odd =
    '{"b" : 1e3, "n":12345678901234567890, "id":"mine-1","name":"\\u00e4ß","x":{"id":"o"} }'
  const was = '{"id":"was-1"}'
  const text = `  {"x":{"data":[1]},"data": [ ${odd} , {"id":"theirs"} ,${was}], "has_more":false}\n`
  expect(await scene(() => text).list()).toBe(of(odd, was))
})

test('attack: an item that parsers may read differently, or has no id, is left out', async () => {
  const own = '{"id":"mine-2"}'
  for (const item of [
    '{"id":"other","id":"mine-1"}',
    '{"id":"mine-1","id":"other"}',
    '{"id":"mine-1","Id":"other"}',
    '{"id":"mine-1","\\u0069d":"other"}',
    '{"ID":"mine-1"}',
    '{"id":["mine-1"]}',
    '{"id":""}',
    `{"id":"mine-${'x'.repeat(300)}"}`,
    '{"name":"mine-1"}',
    '{}',
    '["mine-1"]',
    '"mine-1"',
    'null',
    '{"id":"mine-1@b"}',
  ]) {
    expect([item, await scene(() => page(`${item},${own}`)).list()]).toEqual([item, of(own)])
  }
})

test('attack: what is no page is refused', async () => {
  const own = '{"id":"mine-1"}'
  for (const said of [
    '',
    'null',
    '[]',
    `[${own}]`,
    '{}',
    '{"data":null}',
    `{"data":${own}}`,
    `{"data":[${own}],"data":[]}`,
    `{"data":[${own}],"Data":[]}`,
    `{"data":[${own}],"has_more":true,"has_more":false}`,
    `{"data":[${own},]}`,
    `{"data":[${own}]`,
    `{"data":[${own}]}}`,
    `{"data":[{'id':"mine-1"}]}`,
    `{"data":[${own},${'['.repeat(600)}${']'.repeat(600)}]}`,
    `{"data":[{"id":"mine-1","key":"${KEY}"}]}`,
  ]) {
    expect([said, await scene(() => said).list()]).toEqual([said, 'upstream_invalid'])
  }
  const notText = Buffer.from(`{"data":[{"id":"mine-1","n":"\xff"}]}`, 'latin1')
  expect(await scene(() => ({ body: notText })).list()).toBe('upstream_invalid')
})

test('no error of an upstream passes', async () => {
  const body = Buffer.from('{"error":{"message":"theirs"}}')
  const told = async (reply: Partial<Reply>) => scene(() => reply).list()
  for (const [status, code] of [
    [201, 'upstream_invalid'],
    [302, 'upstream_redirect'],
    [400, 'bad_request'],
    [401, 'upstream_auth'],
    [404, 'not_found'],
    [418, 'upstream_invalid'],
    [429, 'upstream_unavailable'],
    [500, 'upstream_unavailable'],
  ] as const) {
    expect([status, await told({ status, body })]).toEqual([status, code])
  }
  const failed = (kind: string) => told({ ok: false, kind, reason: 'r' } as never)
  expect(await failed('unreachable')).toBe('upstream_unavailable')
  expect(await failed('late')).toBe('upstream_timeout')
  expect(await failed('too large')).toBe('upstream_invalid')
  const { list, refusals } = scene(() => ({ status: 401 }))
  await list()
  expect(refusals).toEqual([401])
})

test('one upstream that is down hides no list of another as if it were whole', async () => {
  const { list, among } = scene((_search, host) =>
    host === 'b' ? { status: 503 } : page('{"id":"mine-1"}'),
  )
  expect(await list('', among)).toBe('upstream_unavailable')
})

const numbered = (search: URLSearchParams, total: number, id: (at: number) => string) => {
  const from = Number(/\d+/.exec(search.get('after') ?? '')?.[0] ?? -1) + 1
  const [limit, left] = [Number(search.get('limit')), total - from]
  const ids = Array.from({ length: Math.min(limit, left) }, (_, at) => `{"id":"${id(from + at)}"}`)
  return page(ids.join(','), left > limit)
}

test('the walk is bounded, and says so: more where something was found, else a refusal', async () => {
  const theirs = scene((search) => numbered(search, 100_000, (at) => `theirs-${at}`))
  expect(await theirs.list()).toBe('list_too_long')
  expect(theirs.asked).toHaveLength(40)
  const early = scene((search) =>
    numbered(search, 100_000, (at) => (at === 5 ? 'mine-5' : `theirs-${at}`)),
  )
  const found = JSON.parse(await early.list())
  expect([found.data, found.has_more, early.asked.length]).toEqual([[{ id: 'mine-5' }], true, 10])
  const late = scene((search) =>
    numbered(search, 3950, (at) => (at === 3900 ? 'mine-3900' : `theirs-${at}`)),
  )
  expect(JSON.parse(await late.list()).data).toEqual([{ id: 'mine-3900' }])
})

test('there is more only where the caller has more', async () => {
  const mine = (at: number) => (at === 3 || at === 250 ? `mine-${at}` : `theirs-${at}`)
  const { list } = scene((search) => numbered(search, 400, mine))
  const first = JSON.parse(await list('?limit=1'))
  expect([first.last_id, first.has_more]).toEqual(['mine-3', true])
  const second = JSON.parse(await list('?limit=1&after=mine-3'))
  expect([second.last_id, second.has_more]).toEqual(['mine-250', false])
})

test('a server that knows no cursor, or repeats itself, is walked once', async () => {
  const all = page('{"id":"mine-1"},{"id":"theirs"},{"id":"mine-2"},{"id":"mine-3"}', true)
  const { list, asked } = scene(() => all)
  const ids = async (search: string) =>
    JSON.parse(await list(search)).data.map(({ id }: { id: string }) => id)
  expect(await ids('?limit=2')).toEqual(['mine-1', 'mine-2'])
  expect(await ids('?limit=2&after=mine-2')).toEqual(['mine-3'])
  expect(await ids('?limit=100')).toEqual(['mine-1', 'mine-2', 'mine-3'])
  expect(await ids('?limit=100&after=mine-3')).toEqual([])
  expect(asked.length).toBeLessThan(12)
})

test('a list before an object of a later upstream is refused', async () => {
  const { list, among, asked } = scene(() => page(''))
  expect(await list('?before=mine-1@b', among)).toBe('bad_request')
  expect(asked).toEqual([])
  expect(await list('?before=mine-1', among)).toBe(of())
  expect(asked).toHaveLength(1)
})

test('nobody is asked for a caller who has left', async () => {
  const { list, asked, among } = scene(() => page(''))
  expect(await list('', among, { signal: AbortSignal.abort() })).toBe('upstream_unavailable')
  expect(asked).toEqual([])
})

test('a batch in a list of Anthropic’s leads to its results at the gate, as it does alone', async () => {
  const batch = (id: string): string =>
    `{"id":"${id}", "results_url": "https://api.upstream.example/v1/messages/batches/${id}/results"}`
  const { list } = scene(() => `{"data":[${batch('mine1')},${batch('mine2')}],"has_more":false}`)
  const on = served('a')
  const rewriting = (method: string, path: string) =>
    namesResults(method, path) ? withOwnResults : undefined
  const found = await list('', [{ ...on, upstream: { ...on.upstream, rewriting } }], {
    dialect: 'anthropic',
    path: '/v1/messages/batches',
  })
  const text = JSON.stringify(found)
  expect(text).not.toContain('upstream.example')
  for (const id of ['mine1', 'mine2']) expect(text).toContain(`"/v1/messages/batches/${id}/results`)
})
