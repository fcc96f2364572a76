// The lists of several upstreams in one: what each caller sees of it, and what a dead upstream leaves.

import { expect, test } from 'bun:test'
import type { Served } from '../../src/dispatch/choose.ts'
import { isMerged, mergingModels } from '../../src/dispatch/merged-models.ts'
import { modelLists } from '../../src/dispatch/model-lists.ts'
import type { AskAt, Reply } from '../../src/http1/ask.ts'
import type { Dialect } from '../../src/refusal.ts'
import { Secret } from '../../src/secret.ts'
import { anthropic } from '../../src/upstream/anthropic/anthropic.ts'
import { openAi } from '../../src/upstream/openai/openai.ts'

const KEY = 'sk-canary-0123456789abcdef'

function served(name: string, models?: readonly string[], dialect: Dialect = 'openai'): Served {
  const apiKey = new Secret(KEY)
  const baseUrl = new URL(`https://${name}.example/v1`)
  const upstream =
    dialect === 'openai'
      ? openAi({
          name,
          baseUrl,
          apiKey,
          keyHeader: 'authorization',
          headers: [],
          routes: ['models'],
          hasFiles: false,
          maxBodyBytes: 1,
        })
      : anthropic({
          name,
          baseUrl: new URL('/', baseUrl),
          apiKey,
          keyHeader: 'x-api-key',
          headers: [],
          routes: ['models'],
          hasFiles: false,
          maxBodyBytes: 1,
        })
  return { upstream, breaker: {} as Served['breaker'], callers: ['user'], models, asks: false }
}

/** By host: models, or a body, or nothing for one that is dead. */
function scene(lists: Record<string, readonly string[] | object | undefined>) {
  const asked: string[] = []
  const ask: AskAt = async (to, { headers }): Promise<Reply> => {
    const host = to.origin.hostname
    asked.push(`${host.split('.')[0]} ${to.opening.split(' ')[0]}`)
    expect(headers['authorization'] ?? headers['x-api-key']).toContain(KEY)
    const list = await lists[host.split('.')[0] ?? '']
    if (list === undefined) return { ok: false, kind: 'unreachable', reason: 'ECONNREFUSED' }
    const data = Array.isArray(list) ? list.map((id) => ({ id, object: 'model', own: host })) : list
    const body = Buffer.from(JSON.stringify(Array.isArray(list) ? { data } : list))
    return { ok: true, status: 200, headers: {}, body }
  }
  const merge = mergingModels(modelLists(ask))
  const ids = async (
    among: readonly Served[],
    { patterns = undefined as readonly string[] | undefined, now = 0 } = {},
  ) => {
    const merged = await merge(among, { dialect: 'openai', search: '', patterns }, now)
    if (!merged.ok) return merged.code
    const { data } = JSON.parse(Buffer.from(merged.value).toString())
    return data.map(
      (model: { id: string; own: string }) => `${model.id}@${model.own.split('.')[0]}`,
    )
  }
  return { lists, asked, merge, ids }
}

test('in the settings’ order, each model once, if its upstream serves it and the caller may use it', async () => {
  const { ids } = scene({ a: ['x', 'y', 'gpt-1'], b: ['y', 'z', 'gpt-2'] })
  const [a, b] = [served('a'), served('b')]
  expect(await ids([a, b])).toEqual(['x@a', 'y@a', 'gpt-1@a', 'z@b', 'gpt-2@b'])
  expect(await ids([b, a])).toEqual(['y@b', 'z@b', 'gpt-2@b', 'x@a', 'gpt-1@a'])
  expect(await ids([a, b], { patterns: ['gpt-*', 'z'] })).toEqual(['gpt-1@a', 'z@b', 'gpt-2@b'])
  expect(await ids([a, b], { patterns: [] })).toEqual([])
  const limited = [served('a', ['x']), served('b', ['gpt-*'])]
  expect(await ids(limited)).toEqual(['x@a', 'gpt-2@b'])
})

test('each upstream is asked once a minute for all callers, and again after seconds if it fails', async () => {
  const { ids, asked, lists } = scene({ a: ['x'], b: undefined })
  const among = [served('a'), served('b')]
  await Promise.all([ids(among), ids(among), ids(among, { patterns: ['x'] })])
  expect(asked).toEqual(['a /v1/models', 'b /v1/models'])
  await ids(among, { now: 6000 })
  expect(asked.slice(2)).toEqual(['b /v1/models'])
  lists['b'] = ['z']
  expect(await ids(among, { now: 61_000 })).toEqual(['x@a', 'z@b'])
})

test('a dead upstream keeps its last list and does not hide others; if all are dead, the response says so', async () => {
  const { ids, lists } = scene({ a: ['x'], b: ['z'] })
  const among = [served('a'), served('b')]
  expect(await ids(among)).toEqual(['x@a', 'z@b'])
  lists['b'] = undefined
  expect(await ids(among, { now: 61_000 })).toEqual(['x@a', 'z@b'])
  expect(await ids(among, { now: 70_000 })).toEqual(['x@a', 'z@b'])
  const dead = scene({ b: ['z'] })
  expect(await dead.ids(among)).toEqual(['z@b'])
  expect(await scene({}).ids(among)).toBe('upstream_unavailable')
})

test('an upstream that failed before and now hangs delays nobody for its whole deadline', async () => {
  const { lists, asked, ids } = scene({ a: ['x'], b: undefined })
  const among = [served('a'), served('b')]
  expect(await ids(among)).toEqual(['x@a'])
  lists['b'] = new Promise<never>(() => {})
  const both = await Promise.all([ids(among, { now: 6000 }), ids(among, { now: 6001 })])
  expect(both).toEqual([['x@a'], ['x@a']])
  expect(asked.slice(2)).toEqual(['b /v1/models'])
})

test('a response that is not a list, not complete, or quotes the key is left out', async () => {
  for (const list of [
    { error: 'x' },
    { data: 'x' },
    { data: [{ id: 'y' }], has_more: true },
    { data: [{ id: 'y', note: KEY }] },
  ]) {
    expect(await scene({ a: ['x'], b: list }).ids([served('a'), served('b')])).toEqual(['x@a'])
  }
  const odd = { data: [{ id: 7 }, null, { name: 'y' }] }
  expect(await scene({ a: ['x'], b: odd }).ids([served('a'), served('b')])).toEqual(['x@a'])
})

test("in Anthropic's dialect the whole is asked for and cut into its pages", async () => {
  const { merge, asked } = scene({ a: ['m1', 'm2'], b: ['m3', 'm4'] })
  const among = [served('a', undefined, 'anthropic'), served('b', undefined, 'anthropic')]
  const page = async (search: string) => {
    const merged = await merge(among, { dialect: 'anthropic', search, patterns: undefined }, 0)
    if (!merged.ok) return merged.code
    const list = JSON.parse(Buffer.from(merged.value).toString())
    return [list.data.map(({ id }: { id: string }) => id), list.has_more, list.last_id]
  }
  expect(await page('?limit=3')).toEqual([['m1', 'm2', 'm3'], true, 'm3'])
  expect(await page('?limit=3&after_id=m3')).toEqual([['m4'], false, 'm4'])
  expect(await page('?limit=0')).toBe('bad_request')
  expect(asked).toEqual(['a /v1/models?limit=1000', 'b /v1/models?limit=1000'])
})

test('the list of an account is merged with no other', () => {
  const [a, b] = [served('a'), served('b')]
  expect([isMerged([a]), isMerged([a, b])]).toEqual([false, true])
  const own = { ...b, upstream: { ...b.upstream, credential: async () => ({}) as never } }
  expect(isMerged([a, own])).toBe(false)
})
