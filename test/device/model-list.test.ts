// `/v1/models` through the compiled binary: a token with a list sees what it may use, as its clients
// read it, and nobody else's answer is touched.

import Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { anthropicScene, type DeviceScene, VERSION } from '../support/anthropic.ts'
import { bearer } from '../support/sink.ts'
import type { Respond } from '../support/upstream.ts'

const IDS = Array.from({ length: 60 }, (_, index) => `claude-${index % 3}-${index}`)
const LIST = JSON.stringify({
  data: IDS.map((id) => ({
    type: 'model',
    id,
    display_name: `Ä ${id}`,
    created_at: '2025-01-01T00:00:00Z',
  })),
  has_more: false,
  first_id: IDS[0],
  last_id: IDS.at(-1),
})

let on: DeviceScene
let limited: string
let unlimited: string
beforeAll(async () => {
  on = await anthropicScene()
  limited = await on.device('--models', 'claude-1-*')
  unlimited = await on.device()
})
afterAll(() => on.close())
beforeEach(() => {
  on.upstream.seen.length = 0
  answered((_, response) => void response.writeHead(200, JSON_TYPE).end(LIST))
})

const JSON_TYPE = { 'content-type': 'application/json' }
const MINE = IDS.filter((id) => id.startsWith('claude-1-'))
const answered = (respond: Respond): void => on.upstream.respond(respond)
const ask = (token: string, path: string, headers: Record<string, string> = {}) =>
  fetch(`${on.gate.url}${path}`, { headers: { ...bearer(token), ...VERSION, ...headers } })

test("the SDK's pages go through all of it and nothing else", async () => {
  const client = new Anthropic({ baseURL: on.gate.url, apiKey: limited })
  const ids: string[] = []
  for await (const { id } of client.models.list({ limit: 7 })) ids.push(id)
  expect(ids).toEqual(MINE)
  expect(new Set(on.upstream.seen.map(({ url }) => url))).toEqual(
    new Set(['/v1/models?limit=1000']),
  )
})

test("as Claude Code's discovery asks", async () => {
  const response = await ask(limited, '/v1/models?limit=1000')
  expect(response.headers.get('content-type')).toBe('application/json')
  const list = (await response.json()) as { data: { id: string; display_name: string }[] }
  expect(list.data.map(({ id }) => id)).toEqual(MINE)
  expect(list.data[0]?.display_name).toBe('Ä claude-1-1')
  expect(on.upstream.seen[0]?.headers['accept-encoding']).toBe('identity')
})

test.each([
  ['gzip', gzipSync(LIST)],
  ['br', brotliCompressSync(LIST)],
])('an upstream that answers in %s all the same is read', async (coding, body) => {
  answered((_, response) => {
    response.writeHead(200, { ...JSON_TYPE, 'content-encoding': coding }).end(body)
  })
  const response = await ask(limited, '/v1/models?limit=1000')
  expect(response.headers.has('content-encoding')).toBe(false)
  expect(((await response.json()) as { data: unknown[] }).data).toHaveLength(MINE.length)
})

describe('fails closed, in words', () => {
  test.each<[string, Respond]>([
    ['a page of HTML', (_, response) => void response.end('<html>claude-0-0</html>')],
    [
      'an unknown coding',
      (_, response) => void response.writeHead(200, { 'content-encoding': 'x' }).end(LIST),
    ],
    [
      'a list beyond every bound',
      (_, response) => void response.end(`{"data":["${'x'.repeat(2e6)}"]}`),
    ],
    [
      'a list that is cut',
      (_, response) => {
        response.writeHead(200, { ...JSON_TYPE, 'content-length': '1000' })
        response.write('{"data":[', () => response.destroy())
      },
    ],
  ])('%s', async (_, respond) => {
    answered(respond)
    const response = await ask(limited, '/v1/models')
    const body = await response.text()
    expect(response.status).toBe(502)
    expect(JSON.parse(body)).toMatchObject({ type: 'error', error: { type: 'api_error' } })
    expect(body).not.toContain('claude-0')
  })
})

test('an error of the API passes unchanged', async () => {
  const error = '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
  answered((_, response) => void response.writeHead(529, JSON_TYPE).end(error))
  const response = await ask(limited, '/v1/models')
  expect([response.status, await response.text()]).toEqual([529, error])
})

test("an unlimited token's query, encoding and bytes are untouched", async () => {
  const raw = gzipSync(LIST)
  answered((_, response) => {
    response.writeHead(200, { ...JSON_TYPE, 'content-encoding': 'gzip' }).end(raw)
  })
  const response = await fetch(`${on.gate.url}/v1/models?limit=3&after_id=x`, {
    headers: { ...bearer(unlimited), ...VERSION, 'accept-encoding': 'gzip' },
    decompress: false,
  })
  expect(Buffer.from(await response.arrayBuffer()).equals(raw)).toBe(true)
  const [seen] = on.upstream.seen
  expect([seen?.url, seen?.headers['accept-encoding']]).toEqual([
    '/v1/models?limit=3&after_id=x',
    'gzip',
  ])
})

test('one model that the token may not use is 404 without an upstream request', async () => {
  const response = await ask(limited, '/v1/models/claude-0-0')
  expect(response.status).toBe(404)
  expect(await response.json()).toMatchObject({ error: { type: 'not_found_error' } })
  expect(on.upstream.seen).toEqual([])
  expect((await ask(limited, '/v1/models/claude-1-1')).status).toBe(200)
  expect((await ask(unlimited, '/v1/models/claude-0-0')).status).toBe(200)
})
