// The list of models as a token with a list of its own sees it.

import { describe, expect, test } from 'bun:test'
import { hiddenModel, listedModels } from '../../src/dispatch/model-list.ts'

const model = (id: string) => ({ type: 'model', id, display_name: id.toUpperCase() })
const ALL = ['claude-a-1', 'claude-b-1', 'claude-a-2', 'other-1', 'claude-a-3']
const upstream = (over: object = {}): Uint8Array =>
  Buffer.from(
    JSON.stringify({
      data: ALL.map(model),
      has_more: false,
      first_id: ALL[0],
      last_id: ALL.at(-1),
      ...over,
    }),
  )

function seen(search: string, body = upstream(), patterns = ['claude-a-*']): unknown {
  const listed = listedModels('/v1/models', search, patterns)
  if (!listed.ok) return listed.message
  const rewritten = listed.value?.rewrite(body)
  if (!rewritten?.ok) return rewritten?.message ?? rewritten?.code
  return JSON.parse(Buffer.from(rewritten.value).toString())
}
const list = (ids: readonly string[], hasMore = false): object => ({
  data: ids.map(model),
  has_more: hasMore,
  first_id: ids[0] ?? null,
  last_id: ids.at(-1) ?? null,
})
const MINE = ['claude-a-1', 'claude-a-2', 'claude-a-3']

describe('the model list of a token', () => {
  test('is listed, with all that the API says of it', () => expect(seen('')).toEqual(list(MINE)))
  test('comes in pages of its own', () => {
    expect(seen('?limit=2')).toEqual(list(MINE.slice(0, 2), true))
    expect(seen('?limit=2&after_id=claude-a-2')).toEqual(list(['claude-a-3']))
    expect(seen('?limit=1&after_id=claude-a-1')).toEqual(list(['claude-a-2'], true))
    expect(seen('?limit=2&before_id=claude-a-3')).toEqual(list(MINE.slice(0, 2)))
    expect(seen('?limit=1&before_id=claude-a-3')).toEqual(list(['claude-a-2'], true))
    expect(seen('?limit=1000')).toEqual(list(MINE))
  })
  test('is empty if the token may use no model', () =>
    expect(seen('', upstream(), ['none'])).toEqual(list([])))
  test('is requested as a whole, with the other members of the query', () => {
    const listed = listedModels('/v1/models', '?beta=true&limit=2&after_id=x', ['a'])
    expect(listed.ok && listed.value?.search).toBe('?beta=true&limit=1000')
  })
  test("keeps the shape of another API's list", () => {
    const body = Buffer.from(JSON.stringify({ object: 'list', data: ALL.map((id) => ({ id })) }))
    expect(seen('', body)).toEqual({ object: 'list', data: MINE.map((id) => ({ id })) })
  })
  test('holds nothing that has no name', () => {
    const data = [
      null,
      1,
      'claude-a-1',
      [],
      {},
      { id: 1 },
      { id: ['claude-a-1'] },
      model('claude-a-1'),
    ]
    expect(seen('', upstream({ data }))).toEqual(list(['claude-a-1']))
  })
})

test.each([
  ['limit=0', 'limit must be'],
  ['limit=1001', 'limit must be'],
  ['limit=x', 'limit must be'],
  ['limit=', 'limit must be'],
  ['after_id=claude-b-1', 'no model of this list'],
  ['before_id=unknown', 'no model of this list'],
  ['before_id=claude-a-1&after_id=claude-a-2', 'together'],
])('%s is refused in words', (query, words) => expect(seen(`?${query}`)).toContain(words))

test.each([
  ['no JSON', Buffer.from('<html>')],
  ['no object', Buffer.from('[]')],
  ['null', Buffer.from('null')],
  ['no list in it', Buffer.from('{"data":{}}')],
  ['no UTF-8', Buffer.from([0x7b, 0xff, 0x7d])],
  ['more than was asked for', upstream({ has_more: true })],
])('an answer that is %s is not passed', (_, body) =>
  expect(seen('', body)).toContain('cannot tell'),
)

test('an upstream whose list is nested deeper than it could be written again has none', () => {
  const deep = '['.repeat(45_000) + ']'.repeat(45_000)
  for (const mark of ['', '\ufeff']) {
    const body = Buffer.from(`${mark}{"data":[{"id":"claude-a-1","x":${deep}}]}`)
    expect(seen('', body)).toContain('cannot be read')
  }
})

test('a token that may use all of them gets the answer as it is', () => {
  for (const patterns of [undefined, ['*'], ['a', '*']]) {
    expect(listedModels('/v1/models', '?limit=x', patterns)).toEqual({ ok: true, value: undefined })
    expect(hiddenModel('/v1/models/any', patterns)).toBeUndefined()
  }
})

test('one model that is not on the list does not exist', () => {
  expect(hiddenModel('/v1/models/claude-a-1', ['claude-a-*'])).toBeUndefined()
  expect(hiddenModel('/v1/models/claude-b-1', ['claude-a-*'])?.code).toBe('model_not_allowed')
  expect(hiddenModel('/v1/messages', ['claude-a-*'])).toBeUndefined()
})
