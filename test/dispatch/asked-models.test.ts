// Upstreams that are chosen by the models that they list themselves: which they are, who waits for a
// list, and what a dead one means.

import { describe, expect, test } from 'bun:test'
import { askedModels, someAsk } from '../../src/dispatch/asked-models.ts'
import { isDecided, permittedOf, type Served, servedModel } from '../../src/dispatch/choose.ts'
import { modelLists } from '../../src/dispatch/model-lists.ts'
import type { AskAt, Reply } from '../../src/http1/ask.ts'
import { openAi } from '../../src/upstream/openai/openai.ts'

const served = (name: string, models?: readonly string[], asks = true): Served => ({
  upstream: openAi({
    name,
    baseUrl: new URL(`https://${name}.example/v1`),
    apiKey: undefined,
    keyHeader: 'authorization',
    headers: [],
    routes: ['chat'],
    hasFiles: false,
    maxBodyBytes: 1,
  }),
  breaker: {} as Served['breaker'],
  callers: ['user'],
  models,
  asks,
})

/** By name: its models; undefined for one that is dead, `wait` for one that answers later. */
function scene(lists: Record<string, readonly string[] | undefined | Promise<readonly string[]>>) {
  const asked: string[] = []
  const ask: AskAt = async (to): Promise<Reply> => {
    const [name = ''] = to.origin.hostname.split('.')
    asked.push(name)
    const list = await lists[name]
    if (list === undefined) return { ok: false, kind: 'unreachable', reason: 'ECONNREFUSED' }
    const body = Buffer.from(JSON.stringify({ data: list.map((id) => ({ id })) }))
    return { ok: true, status: 200, headers: {}, body }
  }
  const models = askedModels(modelLists(ask))
  const told = async (among: readonly Served[], now = 0) => models.told(among, 'openai', now)
  const chosen = async (among: readonly Served[], model: string, now = 0) => {
    const found = servedModel(await told(among, now), model)
    return found.ok ? found.value.upstream.name : found.code
  }
  const having = async (among: readonly Served[], model: string) => {
    const found = await models.having(among, model, 'openai', 0)
    return found.ok ? found.value.upstream.name : found.code
  }
  return { lists, asked, models, told, chosen, having }
}

describe('a request', () => {
  test('goes to the first that lists its model, as far as the settings let it', async () => {
    const { chosen } = scene({ a: ['x', 'y'], b: ['y', 'z', 'gpt-1'], c: ['w'] })
    const among = [served('a'), served('b', ['gpt-*', 'y']), served('c', undefined, false)]
    expect(await chosen(among, 'x')).toBe('a')
    expect(await chosen(among, 'y')).toBe('a')
    expect(await chosen(among, 'gpt-1')).toBe('b')
    // It is not asked, and so serves everything.
    expect(await chosen(among, 'z')).toBe('c')
    expect(await chosen(among.slice(0, 2), 'z')).toBe('not_found')
  })

  test('goes to no server that lists a pattern instead of the model', async () => {
    const { chosen } = scene({ a: ['*', 'gpt-*', 'x'], b: ['gpt-1', 'y'] })
    const among = [served('a'), served('b')]
    expect(await chosen(among, 'gpt-1')).toBe('b')
    expect(await chosen(among, 'y')).toBe('b')
    expect(await chosen(among, 'x')).toBe('a')
    expect(await chosen(among, 'z')).toBe('not_found')
  })

  test('needs no decision with one candidate, unless that upstream is asked for its models', () => {
    expect(isDecided([served('a', undefined, false)])).toBe(true)
    expect(isDecided([served('a')])).toBe(false)
    expect([someAsk([served('a', undefined, false)]), someAsk([served('a')])]).toEqual([
      false,
      true,
    ])
    const sealed = { sealed: true, hasBody: true, policy: { upstreams: undefined } }
    expect(permittedOf([served('a')], sealed)).toEqual([])
  })

  test('waits for the first list alone, and gets the same object for the same list', async () => {
    let answer: (list: readonly string[]) => void = () => {}
    const { lists, asked, models, chosen } = scene({ a: ['x'] })
    const among = [served('a')]
    expect(models.told(among, 'openai', 0)).toBeInstanceOf(Promise)
    expect(await chosen(among, 'x')).toBe('a')
    lists['a'] = new Promise((resolve) => (answer = resolve))
    const [now, again] = [61_000, 61_001].map((at) => models.told(among, 'openai', at))
    expect(now).not.toBeInstanceOf(Promise)
    expect((now as readonly Served[])[0]).toBe((again as readonly Served[])[0] as Served)
    await new Promise(setImmediate)
    expect(asked).toEqual(['a', 'a'])
    answer(['y'])
    await new Promise(setImmediate)
    expect(await chosen(among, 'y', 61_002)).toBe('a')
    expect(await chosen(among, 'x', 61_003)).toBe('not_found')
  })

  test('a dead upstream takes nothing from the others, keeps its last list, and is no 404', async () => {
    const { lists, asked, chosen } = scene({ a: undefined, b: ['z'] })
    const among = [served('a'), served('b')]
    expect(await chosen(among, 'z')).toBe('b')
    expect(await chosen(among, 'x')).toBe('upstream_unavailable')
    expect(asked).toEqual(['a', 'b'])
    lists['a'] = ['x']
    expect(await chosen(among, 'x', 5001)).toBe('upstream_unavailable')
    await new Promise(setImmediate)
    expect(await chosen(among, 'x', 5002)).toBe('a')
    lists['a'] = undefined
    await chosen(among, 'x', 66_000)
    await new Promise(setImmediate)
    expect(await chosen(among, 'x', 66_001)).toBe('a')
  })

  test('after a reload of `models`, an upstream is not asked again', async () => {
    const { chosen, asked } = scene({ a: ['x', 'y'] })
    const on = served('a')
    expect(await chosen([on], 'x')).toBe('a')
    expect(await chosen([{ ...on, models: ['y'] }], 'x')).toBe('not_found')
    expect(asked).toEqual(['a'])
  })
})

describe('one model, by its path', () => {
  test('is asked of the first that lists it, and else of the first that may have it', async () => {
    const { having } = scene({ a: ['x'], b: ['y'], c: ['y', 'z'] })
    const among = [served('a', undefined, false), served('b', ['y*'], false), served('c')]
    expect(await having(among, 'x')).toBe('a')
    expect(await having(among, 'y')).toBe('b')
    expect(await having(among, 'z')).toBe('c')
    expect(await having(among, 'alias')).toBe('a')
    expect(await having(among.slice(1), 'alias')).toBe('not_found')
    expect(await having(among.slice(1), 'y-alias')).toBe('b')
  })

  test('needs no list if only one upstream may have it', async () => {
    const { having, asked } = scene({ a: ['x'], b: ['y'] })
    const among = [served('a', ['x'], false), served('b', ['y'], false)]
    expect([await having(among, 'y'), await having(among, 'z')]).toEqual(['b', 'not_found'])
    expect(asked).toEqual([])
  })

  test('a dead upstream is skipped if another one has the model', async () => {
    const { having } = scene({ a: undefined, b: ['y'] })
    expect(await having([served('a', undefined, false), served('b')], 'y')).toBe('b')
    expect(await having([served('a'), served('b')], 'x')).toBe('upstream_unavailable')
  })
})
