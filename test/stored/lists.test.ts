// Lists of what the callers' own requests made, over the compiled binary by the official clients: each
// sees all of their own once, in order, and nothing of anybody else's, whoever made what in between.

import Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI, { toFile } from 'openai'
import { startIssuer } from '../../src/dev/issuer.ts'
import { start } from '../support/binary.ts'
import { startObjectServer } from '../support/object-server.ts'
import { eventually } from '../support/sink.ts'
import { HASH_KEY, UNLIMITED } from '../support/settings.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-lists-'))
const path = join(folder, 'postern.yaml')
const issuer = await startIssuer()
const first = await startObjectServer('first')
const second = await startObjectServer('second')
const ROUTES = 'chat, stored_chat, batches, files, vector_stores, containers, fine_tuning'

writeFileSync(
  path,
  `issuers:
  - issuer: ${issuer.issuer}
    jwks_url: ${issuer.jwksUrl}
    audiences: [${issuer.audience}]
    groups_claim: groups
upstreams:
  - name: first
    kind: openai
    base_url: ${first.upstream.url}/v1
    api_key: \${KEY}
    callers: [user]
    routes: [${ROUTES}]
  - name: second
    kind: openai
    base_url: ${second.upstream.url}/v1
    api_key: \${KEY}
    callers: [user]
    routes: [${ROUTES}]
  - kind: anthropic
    base_url: ${first.upstream.url}
    api_key: \${KEY}
    callers: [user]
    routes: [messages, batches, files]
policies:
  - { name: both, routes: [messages, ${ROUTES}] }
  - { name: one, routes: [messages, ${ROUTES}], upstreams: [first, anthropic] }
  - { name: other, routes: [messages, ${ROUTES}], upstreams: [second, anthropic] }
  - { name: tight, routes: [containers], upstreams: [first], concurrency: 1 }
  - { name: none, routes: [messages] }
rules:
  - { kind: user, group: both, policy: both }
  - { kind: user, group: one, policy: one }
  - { kind: user, group: other, policy: other }
  - { kind: user, group: tight, policy: tight }
  - { kind: user, policy: none }
ledger:
  database_url: sqlite:${join(folder, 'postern.db')}
  identity_hash_key: \${IHK}
log: { format: json }
`,
)

let gate: Awaited<ReturnType<typeof start>>
const clientOf = async (sub: string, ...groups: string[]): Promise<OpenAI> => {
  const apiKey = await issuer.token({ sub, groups })
  return new OpenAI({ apiKey, baseURL: `${gate.url}/v1`, maxRetries: 0 })
}
const anthropicOf = (of: OpenAI): Anthropic =>
  new Anthropic({ authToken: of.apiKey, apiKey: null, baseURL: gate.url, maxRetries: 0 })

/** The same users, as they reach one upstream and both. */
const users: Record<string, Record<'one' | 'other' | 'both', OpenAI>> = {}

beforeAll(async () => {
  gate = await start({
    ...UNLIMITED,
    POSTERN_CONFIG: path,
    IHK: HASH_KEY,
    KEY: 'key-of-the-operator-canary',
    JWT_SECRET: 'jb14c1c0cb6f6712bb79b1472159b7b51',
    DATABASE_URL: '',
  })
  for (const name of ['anna', 'bert', 'carl']) {
    const [one, other, both] = await Promise.all(
      ['one', 'other', 'both'].map((group) => clientOf(name, group)),
    )
    users[name] = { one, other, both } as never
  }
})
afterAll(async () => {
  await gate.stop()
  await first.upstream.close()
  await second.upstream.close()
  await issuer.close()
  rmSync(folder, { recursive: true })
})

const of = (name: string): Record<'one' | 'other' | 'both', OpenAI> => users[name] as never
async function walked<T extends { id: string }>(list: AsyncIterable<T>): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of list) ids.push(id)
  return ids
}

/** Between each two, some that nobody made through the gate. */
async function interleaved(
  at: (typeof first)['made'],
  list: string,
  make: (of: 'anna' | 'bert') => Promise<{ id: string }>,
  rounds: number,
): Promise<Record<'anna' | 'bert', string[]>> {
  const made = { anna: [] as string[], bert: [] as string[] }
  for (let round = 0; round < rounds; round += 1) {
    const who = round % 3 === 0 ? 'bert' : 'anna'
    made[who].unshift((await make(who)).id)
    const all = at.getOrInsert(list, [])
    for (let more = 0; more < 4; more += 1) all.push({ id: `nobodys-${list}-${round}-${more}` })
  }
  return made
}

const text = (of: OpenAI, asked: string): Promise<[number, string]> =>
  fetch(`${gate.url}${asked}`, { headers: { authorization: `Bearer ${of.apiKey}` } }).then(
    async (answer) => [answer.status, await answer.text()],
  )

describe('OpenAI’s', () => {
  test('are walked by the client: all of one’s own once, in order, with pages of any size', async () => {
    const make = (who: 'anna' | 'bert') =>
      of(who).one.vectorStores.create({ name: `secret of ${who}` })
    const made = await interleaved(first.made, '/v1/vector_stores', make, 60)
    for (const who of ['anna', 'bert'] as const) {
      for (const limit of [undefined, 1, 7, 39, 100]) {
        const { vectorStores } = of(who).one
        const query = limit === undefined ? {} : { limit }
        expect(await walked(vectorStores.list(query))).toEqual(made[who])
        const asc = vectorStores.list({ ...query, order: 'asc' })
        expect(await walked(asc)).toEqual(made[who].toReversed())
      }
    }
    expect(await walked(of('carl').one.vectorStores.list())).toEqual([])
    const { data, has_more, last_id } = JSON.parse(
      (await text(of('anna').one, '/v1/vector_stores?limit=5'))[1],
    )
    expect([data.length, has_more, last_id]).toEqual([5, true, made.anna[4]])
    const before = await of('anna').one.vectorStores.list({
      before: made.anna[9] as string,
      limit: 4,
    })
    expect(before.data.map(({ id }) => id)).toEqual(made.anna.slice(5, 9))
    expect(before.has_more).toBe(true)
    const all = await of('anna').one.vectorStores.list({ before: made.anna[3] as string })
    expect([all.data.length, all.has_more]).toEqual([3, false])
  })

  test('no byte of an answer is about what others made', async () => {
    const [status, said] = await text(of('bert').one, '/v1/vector_stores?limit=100')
    expect(status).toBe(200)
    expect(said).not.toMatch(/nobodys|anna/)
    expect(JSON.parse(said).has_more).toBe(false)
    expect(await text(of('carl').one, '/v1/vector_stores')).toEqual([
      200,
      '{"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false}',
    ])
  })

  test('each list that the API has, with the callers’ own filters', async () => {
    const file = await toFile(Buffer.from('{}'), 'a.jsonl')
    const lists: readonly [
      make: (of: OpenAI) => Promise<{ id: string }>,
      list: (of: OpenAI) => AsyncIterable<{ id: string }>,
      query: string,
    ][] = [
      [
        (by) => by.files.create({ file, purpose: 'batch' }),
        (by) => by.files.list({ purpose: 'batch' }),
        'purpose=batch',
      ],
      [
        async (by) => {
          const { id } = await by.files.create({ file, purpose: 'batch' })
          const asked = { endpoint: '/v1/responses', input_file_id: id } as const
          return by.batches.create({ ...asked, completion_window: '24h' })
        },
        (by) => by.batches.list(),
        '',
      ],
      [
        (by) => by.containers.create({ name: 'c' }),
        (by) => by.containers.list({ order: 'desc' }),
        'order=desc',
      ],
      [
        async (by) => {
          const { id } = await by.files.create({ file, purpose: 'fine-tune' })
          return by.fineTuning.jobs.create({ model: 'gpt-4o', training_file: id })
        },
        (by) => by.fineTuning.jobs.list({ metadata: { a: 'b' } }),
        'metadata%5Ba%5D=b',
      ],
      [
        (by) => by.chat.completions.create({ model: 'm', messages: [], store: true }),
        (by) => by.chat.completions.list({ model: 'm' }),
        'model=m',
      ],
    ]
    for (const [make, list, query] of lists) {
      const [annas, berts] = [await make(of('anna').one), await make(of('bert').one)]
      first.upstream.seen.length = 0
      expect(await walked(list(of('anna').one))).toContain(annas.id)
      const [{ url, headers } = { url: '', headers: {} }] = first.upstream.seen
      expect(url).toContain(query)
      expect(headers['authorization']).toBe('Bearer key-of-the-operator-canary')
      expect(await walked(list(of('anna').one))).not.toContain(berts.id)
      expect(await walked(list(of('carl').one))).toEqual([])
    }
  })

  test('of several upstreams are one, in the settings’ order, and what is deleted is gone', async () => {
    const made: string[] = []
    for (const way of ['other', 'one'] as const) {
      for (let each = 0; each < 5; each += 1) {
        made.unshift((await of('carl')[way].containers.create({ name: 'c' })).id)
      }
    }
    for (const limit of [1, 3, 5, 20]) {
      expect(await walked(of('carl').both.containers.list({ limit }))).toEqual(made)
    }
    await of('carl').both.containers.delete(made[4] as string)
    const left = made.toSpliced(4, 1)
    expect(await walked(of('carl').both.containers.list({ limit: 3 }))).toEqual(left)
  })

  test('attack: the place to go on from is the caller’s own, and nothing else is asked', async () => {
    const theirs = (await of('bert').one.containers.create({ name: 'c' })).id
    first.upstream.seen.length = 0
    for (const [query, status] of [
      [`after=${theirs}`, 404],
      ['after=cntr_nobody', 404],
      ['after=', 404],
      ['limit=0', 400],
      ['limit=101', 400],
      ['limit=1&limit=2', 400],
      ['order=other', 400],
      ['user=bert', 400],
      ['before=x', 400],
    ] as const) {
      const [got, said] = await text(of('anna').one, `/v1/containers?${query}`)
      expect([query, got]).toEqual([query, status])
      expect(said).not.toContain('cntr_')
    }
    const denied = await text(await clientOf('dora'), '/v1/containers')
    expect(denied[0]).toBe(403)
    expect(first.upstream.seen).toEqual([])
  })

  test('a list holds one slot until it ends, however it ends', async () => {
    const tim = await clientOf('tim', 'tight')
    const { resolve: release, promise: held } = Promise.withResolvers<void>()
    const { resolve: came, promise: asked } = Promise.withResolvers<void>()
    first.hold(async () => {
      came()
      await held
    })
    const leaving = new AbortController()
    const headers = { authorization: `Bearer ${tim.apiKey}` }
    const left = fetch(`${gate.url}/v1/containers`, { headers, signal: leaving.signal })
    const gone = left.catch(() => 'gone')
    await asked
    expect((await text(tim, '/v1/containers'))[0]).toBe(429)
    leaving.abort()
    expect(await gone).toBe('gone')
    first.hold(undefined)
    release()
    await eventually(async () => (await text(tim, '/v1/containers'))[0] === 200)
    for (const [query, status] of [
      ['', 200],
      ['?limit=0', 400],
      ['?after=x', 404],
      ['', 200],
    ] as const) {
      expect((await text(tim, `/v1/containers${query}`))[0]).toBe(status)
    }
  })

  test('a list is one request in the log, with its upstream and no usage', async () => {
    await of('anna').one.batches.list()
    const lines = await gate.relayed('/v1/batches')
    const { upstream, status, input_tokens } = lines.at(-1) as Record<string, unknown>
    expect([upstream, status, input_tokens]).toEqual(['first', 200, undefined])
  })
})

describe('Anthropic’s', () => {
  test('batches are walked in both directions', async () => {
    const make = (who: 'anna' | 'bert') =>
      anthropicOf(of(who).both).messages.batches.create({
        requests: [
          { custom_id: 'a', params: { model: 'claude-sonnet-5', max_tokens: 5, messages: [] } },
        ],
      })
    const made = await interleaved(first.made, '/v1/messages/batches', make, 12)
    for (const who of ['anna', 'bert'] as const) {
      const { batches } = anthropicOf(of(who).both).messages
      for (const limit of [1, 3, 20])
        expect(await walked(batches.list({ limit }))).toEqual(made[who])
      const last = made[who].at(-1) as string
      const back = await walked(batches.list({ before_id: last, limit: 100 }))
      expect(back).toEqual(made[who].slice(0, -1))
    }
  })

  test('files are walked by the names of pages, which tell nothing', async () => {
    const file = await toFile(Buffer.from('x'), 'x')
    const make = (who: 'anna' | 'bert') => anthropicOf(of(who).both).files.upload({ file })
    const made = await interleaved(first.made, '/v1/files', make, 12)
    // Beyond the upstream's first page.
    const all = first.made.get('/v1/files') ?? []
    const last = all.findIndex(({ id }) => id === made.anna.at(-1))
    const more = Array.from({ length: 2500 }, (_, at) => ({ id: `nobodys-${at}` }))
    all.splice(last + 1, 0, ...more)
    for (const who of ['anna', 'bert'] as const) {
      const { files } = anthropicOf(of(who).both)
      for (const limit of [1, 3, 1000]) {
        expect(await walked(files.list({ limit }))).toEqual(made[who])
      }
    }
    const berts = anthropicOf(of('bert').both).files
    const { next_page } = await anthropicOf(of('anna').both).files.list({ limit: 1 })
    const page = next_page ?? ''
    expect(Buffer.from(page, 'base64url').toString('latin1')).not.toMatch(/file|nobody/)
    await expect(walked(berts.list({ page }))).rejects.toThrow('400')
    const own = Buffer.from(made.bert[0] as string).toString('base64url')
    await expect(walked(berts.list({ page: own }))).rejects.toThrow('400')
    first.upstream.seen.length = 0
    const some = [made.bert[1], made.anna[0], 'nobodys-1', made.bert[0]] as string[]
    expect(await walked(berts.list({ ids: some }))).toEqual(made.bert.slice(0, 2))
    expect(first.upstream.seen.map(({ url }) => url).join()).not.toMatch(/nobody/)
    expect(await walked(berts.list({ ids: made.anna }))).toEqual([])
    expect(first.upstream.seen).toHaveLength(1)
    for await (const { id } of anthropicOf(of('anna').both).files.list({ limit: 2 })) {
      await anthropicOf(of('anna').both).files.delete(id)
    }
    expect(await walked(anthropicOf(of('anna').both).files.list())).toEqual([])
  })
})
